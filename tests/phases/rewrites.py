"""A village whose search has ended, and what its target serves: shared by the tests of the rewrite."""

import copy
from typing import Any

from rightsizer_jobs.contract import TrialAssignment
from tests.phases.builders import Object, a_report, a_target
from tests.phases.village import Village, capacities

PLAY = capacities(as_is=2.5, int8=4.0, int4=3.0)
BASELINE_ARGS = a_target()["spec"]["template"]["spec"]["containers"][0]["args"]


def proposed(**changes: Any) -> Village:
    """A village whose search has ended with a proposal of two replicas of int8 instead of four."""
    village = Village(**{"script": PLAY, **changes})
    village.settle()
    assert village.status.proposal is not None
    assert not village.applied
    return village


def approved(**changes: Any) -> Village:
    village = proposed(**changes)
    village.approve()
    village.settle()
    return village


def engine(village: Village) -> Object:
    assert village.target is not None
    found: Object = village.target["spec"]["template"]["spec"]["containers"][0]
    return found


def replicas(village: Village) -> int:
    assert village.target is not None
    return int(village.target["spec"]["replicas"])


def serves_baseline(village: Village) -> bool:
    return engine(village)["args"] == BASELINE_ARGS and replicas(village) == 4


def verifying(outcome: str, part: str = "", times: int = 99) -> Any:
    """Verifications of that part end so."""
    seen = [0]

    def script(assignment: Any) -> Any:
        if not isinstance(assignment, TrialAssignment) or assignment.purpose != "Verify":
            return PLAY(assignment)
        if not assignment.candidate.endswith(part) or seen[0] >= times:
            return a_report(assignment, capacity=1000.0)
        seen[0] += 1
        if outcome == "MissedSLO":
            return a_report(assignment, capacity=1.0, reason="p95 itl 80 ms against 50 ms")
        if outcome == "no samples":
            return a_report(assignment, outcome="Succeeded", probes=())
        return a_report(assignment, outcome=outcome, reason="told so", probes=())

    return script


def restore_baseline(village: Village) -> None:
    """What ``kubectl apply`` of the old manifest does: values back, our annotations left."""
    assert village.target is not None
    fresh = a_target()
    container = village.target["spec"]["template"]["spec"]["containers"][0]
    container["args"] = list(fresh["spec"]["template"]["spec"]["containers"][0]["args"])
    container["volumeMounts"] = copy.deepcopy(fresh["spec"]["template"]["spec"]["containers"][0]["volumeMounts"])
    village.target["spec"]["replicas"] = 4
    village.roll()


def change_image(village: Village) -> None:
    engine(village)["image"] = "docker.example/vllm-openai:v0.12.0"
    village.roll()
