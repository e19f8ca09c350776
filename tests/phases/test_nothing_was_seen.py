"""Attempts that show nothing of a candidate, and candidates that a run does not try: they are repeated within limits,
stay open in the proof, and cost no trial of their own.
"""

from typing import Any

import pytest

from rightsizer_jobs.contract import CompressAssignment, TrialAssignment
from rightsizer_operator.phases.plan import MOST_CANDIDATES, _cut
from rightsizer_operator.resource.run import Candidate, Serving
from rightsizer_operator.sizing import proof
from tests.phases import builders
from tests.phases.builders import Object, a_report, a_spec, a_target
from tests.phases.village import Village, capacities

UNPULLED: Object = {
    "phase": "Pending",
    "containerStatuses": [],
    "initContainerStatuses": [
        {"name": "engine", "restartCount": 0, "state": {"waiting": {"reason": "ErrImagePull", "message": "timeout"}}}
    ],
}


def evidence(village: Village, candidate: str) -> list[str]:
    return [one.evidence for one in village.run.status.proof if one.candidate == candidate]


def outcome(village: Village, candidate: str) -> tuple[str, int]:
    return next((one.outcome, one.attempts) for one in village.run.status.candidates if one.id == candidate)


def unpulled(candidate: str, times: int) -> Any:
    play, seen = capacities(as_is=2.5, int8=4.0, int4=3.0), [0]

    def script(assignment: Any) -> Any:
        if isinstance(assignment, TrialAssignment) and assignment.candidate == candidate and seen[0] < times:
            seen[0] += 1
            return UNPULLED
        return play(assignment)

    return script


@pytest.mark.parametrize(
    ("times", "ended", "proven"), [(2, ("Succeeded", 3), ["Measured"]), (99, ("Void", 3), ["Open"])]
)
def test_an_image_that_cannot_be_pulled_is_tried_again_and_then_open(
    times: int, ended: tuple[str, int], proven: list[str]
) -> None:
    village = Village(script=unpulled("int4", times))
    village.settle()
    assert outcome(village, "int4") == ended
    assert evidence(village, "int4") == proven


def test_a_baseline_whose_image_cannot_be_pulled_once_is_measured_all_the_same() -> None:
    village = Village(script=unpulled("as-is", 1))
    village.settle()
    assert village.status.proposal is not None


def test_weights_that_were_not_made_leave_the_proof_open() -> None:
    play = capacities(int4=4.0)

    def script(assignment: Any) -> Any:
        if isinstance(assignment, CompressAssignment) and "int8" in assignment.artefact:
            return builders.a_compress_report(assignment, outcome="VolumeFull", reason="needs 5 GiB", sha256=None)
        return play(assignment)

    village = Village(script=script)
    village.settle()
    assert village.status.proposal is not None
    assert evidence(village, "int8") == ["Open"]
    assert not proof.complete(village.run.status.proof)


def test_a_candidate_stopped_against_a_bar_that_fell_is_not_repeated_for_ever() -> None:
    """int8 leads and cannot be certified: int4, stopped against its bar, is tried again, and only void."""
    play = capacities(as_is=2.5, int8=4.0)

    def script(assignment: Any) -> Any:
        if not isinstance(assignment, TrialAssignment):
            return play(assignment)
        if assignment.candidate == "int8" and assignment.purpose == "Certify":
            return a_report(assignment, outcome="EngineFailed", reason="crashed", probes=())
        if assignment.candidate == "int4":
            told = "CannotBeat" if assignment.attempt == 1 else "Void"
            return a_report(assignment, outcome=told, reason="stopped", probes=())
        return play(assignment)

    village = Village(spec=a_spec(search={"budget": {"maxTrials": 24}}), script=script)
    village.settle()
    tried = [one.outcome for one in village.run.status.trials if (one.purpose, one.subject) == ("Explore", "int4")]
    assert tried == ["CannotBeat", "Void", "Void", "Void"]
    assert village.condition("Optimized")[1] == "NothingBetter"


def test_a_batch_limit_that_is_set_already_is_named_and_costs_no_trial() -> None:
    args = ["--model", "/models/base", "--served-model-name", "chat", "--port", "8000", "--max-num-seqs", "256"]
    village = Village(
        spec=a_spec(search={"precisions": ["AsIs"], "maxNumSeqs": [256, 64]}),
        target=a_target(args=args),
        script=capacities(as_is=2.5),
    )
    village.settle()
    assert [(one.id, one.excluded) for one in village.run.status.derived] == [
        ("as-is-seqs256", "is the same as as-is"),
        ("as-is-seqs64", ""),
    ]
    explored = [one.subject for one in village.run.status.trials if one.purpose == "Explore"]
    assert explored == ["as-is", "as-is-seqs64"]


def some_candidates(usable: int, excluded: int) -> list[Candidate]:
    serving = Serving(image="i", accelerators=4)
    able = [
        Candidate(id=f"u{i}", engine="VLLM", precision="AsIs", parallelism=4, serving=serving) for i in range(usable)
    ]
    rules = [
        Candidate(id=f"r{i}", engine="VLLM", precision="AsIs", parallelism=2, excluded="no FP8")
        for i in range(excluded)
    ]
    return [*able, *rules]


def test_combinations_left_out_stand_for_their_smallest_and_rules_only_where_each_has_one() -> None:
    *_, more = _cut(some_candidates(MOST_CANDIDATES + 4, 3))
    assert (more.id, more.parallelism, "8 further combinations" in more.excluded) == ("more", 4, True)
    *_, ruled = _cut(some_candidates(MOST_CANDIDATES - 2, 9))
    assert (ruled.id, ruled.excluded) == (
        "more-excluded",
        "8 further combinations were left out, each excluded by a rule: no FP8",
    )
