"""Weights may change under their path: what a run measures and compresses are those that its baseline was measured
with.
"""

from typing import Any

from rightsizer_jobs.contract import CompressAssignment, TrialAssignment
from tests.phases.village import Assignment, Village, capacities

FINGERPRINT = "0123456789abcdef"


def telling(given: list[Assignment]) -> Any:
    """As the images do: every trial tells the fingerprint, unless it could not read the weights."""
    play = capacities(as_is=2.5, int8=4.0, int4=3.0)

    def told(assignment: Assignment) -> Any:
        given.append(assignment)
        report = play(assignment)
        return report.model_copy(update={"source_fingerprint": FINGERPRINT}) if report.kind == "Trial" else report

    return told


def test_every_job_after_the_first_trial_is_held_to_the_weights_that_it_found() -> None:
    given: list[Assignment] = []
    village = Village(script=telling(given))
    village.settle()
    assert village.condition("Optimized") == ("True", "ProposalReady"), village.status.activity
    first, *rest = given
    assert isinstance(first, TrialAssignment) and first.source_fingerprint is None
    assert any(isinstance(one, CompressAssignment) for one in rest)
    assert {one.source_fingerprint for one in rest} == {FINGERPRINT}


def test_a_trial_that_found_other_weights_holds_nobody_to_them() -> None:
    """The first attempt is void, whatever it found."""
    given: list[Assignment] = []
    play = telling(given)

    def once_void(assignment: Assignment) -> Any:
        report = play(assignment)
        void = {"outcome": "Void", "reason": "disrupted", "source_fingerprint": "f" * 16}
        return report.model_copy(update=void) if len(given) == 1 else report

    village = Village(script=once_void)
    village.settle()
    assert village.condition("Optimized") == ("True", "ProposalReady"), village.status.activity
    assert [one.source_fingerprint for one in given[:3]] == [None, None, FINGERPRINT]
