"""Every bad input is a condition with reason and remedy within one reconcile; nothing is started or changed."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from rightsizer_operator.actions import EmitEvent
from rightsizer_operator.phases import advance
from rightsizer_operator.resource.reasons import REASONS
from rightsizer_operator.resource.workload import WorkloadSpec
from rightsizer_operator.world import Rival
from tests.phases.builders import a_claim, a_spec, a_target, some_settings
from tests.phases.village import Village

Case = Callable[[], Village]


def with_target(**changes: Any) -> Village:
    return Village(target=a_target(**changes))


def without_container_name() -> Village:
    village = Village(spec=a_spec(targetRef={"container": None}))
    assert village.target is not None
    village.target["spec"]["template"]["spec"]["containers"].append(
        {"name": "proxy", "image": "docker.example/proxy:1"}
    )
    return village


def without_demand() -> Village:
    """As an object stored before the API refused it."""
    spec = a_spec()
    static = spec.workload.static.model_copy(update={"request_rate": "0"})
    return Village(spec=spec.model_copy(update={"workload": spec.workload.model_copy(update={"static": static})}))


def owned_by(kind: str) -> Village:
    village = Village()
    assert village.target is not None
    village.target["metadata"]["ownerReferences"] = [
        {"kind": kind, "name": "boss", "controller": True, "apiVersion": "v1"}
    ]
    return village


def not_ready() -> Village:
    village = Village()
    assert village.target is not None
    village.target["status"]["readyReplicas"] = 0
    return village


OLDER = Rival(name="older", uid="x", created="2026-03-01T10:00:00Z")
SAME_SECOND = Rival(name="twin", uid="a", created="2026-03-01T11:00:00Z")

CASES: dict[str, tuple[Case, str, str]] = {
    "a target that does not exist": (lambda: Village(target=None), "TargetNotFound", "create it"),
    "a container that does not exist": (
        lambda: Village(spec=a_spec(targetRef={"container": "nobody"})), "ContainerNotFound", "engine",
    ),
    "several containers and none named": (without_container_name, "ContainerAmbiguous", "spec.targetRef.container"),
    "a Deployment that is not an engine": (
        lambda: with_target(command=["nginx"], args=["-g", "daemon off;"]), "NotAnEngine", "spec.targetRef.container",
    ),
    "a command wrapped in a shell": (
        lambda: with_target(command=["sh", "-c"], args=["vllm serve /models/base"]), "ShellWrapped", "lists",
    ),
    "an unknown engine image": (
        lambda: with_target(image="docker.example/mystery:1", args=[]), "UnknownEngineImage", "command",
    ),
    "no accelerator requested": (
        lambda: with_target(resources={"limits": {"cpu": "1"}}), "UnsupportedDeviceRequest", "resources.limits",
    ),
    "a claim that is missing": (lambda: Village(claim=None), "ClaimNotFound", "spec.modelCache.claimName"),
    "a claim that lost its volume": (
        lambda: Village(claim=a_claim(status={"phase": "Lost"})), "ClaimUnusable", "spec.modelCache.claimName",
    ),
    "a claim that cannot be written": (
        lambda: Village(claim=a_claim(spec={"accessModes": ["ReadOnlyMany"]})), "ClaimUnusable", "ReadWriteMany",
    ),
    "a claim for one pod only": (
        lambda: Village(claim=a_claim(spec={"accessModes": ["ReadWriteOncePod"]})), "ClaimUnusable", "ReadWriteMany",
    ),
    "an SLO that no engine can meet": (
        lambda: Village(spec=a_spec(slo={"e2eMs": 50, "ttftMs": 40}, workload={"static": {"outputTokens": 1024}})),
        "SLOUnreachable", "at least 102",
    ),
    "a trace that nobody will read": (
        lambda: Village(
            spec=a_spec(search={"strategy": "Rapid"}, accelerator={"type": "NVIDIA-H100-80GB-HBM3"}).model_copy(
                update={"workload": WorkloadSpec.model_validate({"trace": {"path": "traces/chat.csv"}})}
            )
        ),
        "TraceNotEstimable", "spec.search.strategy to Thorough",
    ),
    "a demand of zero": (
        without_demand, "DemandZero", "spec.workload.static.requestRate",
    ),
    "a GPU budget too small for one trial": (
        lambda: Village(spec=a_spec(search={"budget": {"gpuHours": "0.01"}})), "BudgetTooSmall", "budget.gpuHours",
    ),
    "a deadline too short for one trial": (
        lambda: Village(spec=a_spec(search={"budget": {"deadlineMinutes": 2}})), "BudgetTooSmall", "deadlineMinutes",
    ),
    "a target that an older resource holds": (lambda: Village(rivals=(OLDER,)), "TargetClaimed", "older"),
    "a target that a resource of the same second and a smaller UID holds": (
        lambda: Village(rivals=(SAME_SECOND,)), "TargetClaimed", "twin",
    ),
    "a target that another controller owns": (
        lambda: owned_by("InferenceService"), "TargetOwned", "InferenceService boss",
    ),
    "a target without a ready replica": (not_ready, "TargetUnavailable", "repair"),
    "a target scaled to zero": (lambda: Village(target=a_target(replicas=0)), "TargetUnavailable", "scale it up"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_bad_input_stalls_with_reason_and_remedy_and_starts_nothing(name: str) -> None:
    make, reason, remedy = CASES[name]
    village = make()
    step = advance(village.world())
    assert not [action for action in step.actions if not isinstance(action, EmitEvent)]
    assert step.run_status is None
    village.perform(step)
    assert village.condition("Stalled") == ("True", reason)
    assert village.condition("Ready") == ("False", reason)
    assert remedy in village.message("Stalled")
    assert re.search(r"spec\.|container '", village.message("Stalled"))
    assert reason in REASONS
    assert [event.reason for event in village.events] == [reason]


def test_a_target_scaled_to_zero_mid_run_stalls_until_it_is_scaled_up() -> None:
    village = Village()
    for _ in range(4):
        village.tick()
    started = list(village.created_jobs)
    assert village.target is not None
    village.target["spec"]["replicas"] = 0
    village.roll()
    village.settle()
    assert village.condition("Stalled") == ("True", "TargetUnavailable")
    assert "scale it up" in village.message("Stalled")
    assert village.created_jobs == started
    village.target["spec"]["replicas"] = 4
    village.roll()
    village.settle()
    assert len(village.runs) == 1
    assert village.condition("ProposalReady")[0] == "True"


def test_no_run_is_planned_from_a_target_that_broke_meanwhile() -> None:
    village = Village()
    village.settle()
    village.change(workload={"static": {"requestRate": "9"}})
    assert village.target is not None
    village.target["status"]["readyReplicas"] = 0
    village.settle()
    assert village.condition("Stalled") == ("True", "TargetUnavailable")
    assert len(village.runs) == 1


def test_a_spec_that_cannot_be_read_is_said() -> None:
    village = Village()
    world = village.world()
    broken = type(world.infdep)(
        namespace="ml", name="chat", uid="u", resource_version="1", generation=1, annotations={},
        created="2026-03-01T11:00:00Z",
        spec=None, spec_error="spec.slo: at least one limit is needed",
    )  # fmt: skip
    step = advance(type(world)(now=world.now, settings=world.settings, infdep=broken))
    village.perform(step)
    assert village.condition("Stalled") == ("True", "InvalidSpec")
    assert "spec.slo" in village.message("Stalled")


def test_the_older_of_two_resources_goes_on() -> None:
    village = Village(rivals=(Rival(name="younger", uid="a", created="2026-03-01T11:30:00Z"),))
    village.tick()
    assert village.condition("Stalled")[0] == "False"


def warned(village: Village) -> list[str]:
    """Reasons of the warnings so far: each note is told once."""
    return [event.reason for event in village.events if event.type == "Warning"]


def test_without_a_price_cost_is_left_out_and_said() -> None:
    village = Village(spec=a_spec(cost={"gpuHourly": None}))
    village.settle()
    assert village.condition("Ready") == ("True", "Accepted")
    assert warned(village) == ["PriceMissing"]
    assert "spec.cost.gpuHourly" in village.message("Ready")
    proposal = village.status.proposal
    assert proposal is not None
    assert proposal.cost_per_million_tokens == ""
    assert proposal.configuration.cost_per_hour is None
    assert village.run.status.money is None
    assert village.run.status.payback_hours is None


def test_the_operators_price_list_is_used_by_type() -> None:
    settings = some_settings(prices={"cpu-core": "0.50"})
    village = Village(spec=a_spec(cost={"gpuHourly": None}), settings=settings)
    village.settle()
    assert village.condition("Ready") == ("True", "Accepted")
    assert village.status.proposal is not None
    assert village.status.proposal.configuration.cost_per_hour == "1"


def test_a_margin_that_the_questions_cannot_resolve_is_said_with_their_number() -> None:
    village = Village(spec=a_spec(quality={"maxDropPoints": "0.5", "questionSet": {"questions": 900}}))
    village.tick()
    assert village.condition("Ready") == ("True", "Accepted")
    assert warned(village) == ["MarginUnresolvable"]
    assert "14839 are needed" in village.message("Ready")


def test_an_unknown_gpu_product_is_said() -> None:
    limits = {"limits": {"nvidia.com/gpu": "1"}}
    spec = a_spec(accelerator={"resource": "nvidia.com/gpu", "type": None})
    village = Village(spec=spec, target=a_target(resources=limits))
    village.tick()
    assert village.condition("Ready") == ("True", "Accepted")
    assert warned(village) == ["AcceleratorTypeUnknown"]
    assert "spec.accelerator.type" in village.message("Ready")


def test_a_problem_that_heals_lets_the_search_begin() -> None:
    village = Village(claim=None)
    village.tick()
    assert village.condition("Stalled")[0] == "True"
    village.claim = a_claim()
    village.settle()
    assert village.condition("Stalled") == ("False", "NotStalled")
    assert village.condition("ProposalReady")[0] == "True"


def test_a_target_that_vanishes_mid_run_starts_nothing_and_keeps_the_result_of_the_running_job() -> None:
    village = Village()
    for _ in range(4):
        village.tick()
    village.target = None
    village.play_jobs()
    village.tick()
    village.tick()
    assert village.condition("Stalled") == ("True", "TargetNotFound")
    assert [record.outcome for record in village.run.status.trials] == ["Succeeded"]
    assert not village.jobs
