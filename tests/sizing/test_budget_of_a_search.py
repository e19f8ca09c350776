"""What the next trial is expected to take, and when the budget allows none."""

import datetime

from rightsizer_operator.resource.run import TrialRecord
from rightsizer_operator.resource.spec import Budget, MeasurementSpec
from rightsizer_operator.sizing import budget

NOON = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


def a_trial(gpus: int, minutes: int) -> TrialRecord:
    return TrialRecord(
        job=f"job-{gpus}-{minutes}",
        purpose="Explore",
        subject="x",
        attempt=1,
        outcome="Succeeded",
        gpu_seconds=gpus * minutes * 60,
        started_at="2026-03-01T12:00:00Z",
        finished_at=f"2026-03-01T12:{minutes:02}:00Z",
    )


def test_a_trial_on_more_accelerators_is_expected_to_take_as_long_not_shorter() -> None:
    trials = [a_trial(1, 10), a_trial(4, 20)]
    assert budget.expected_trial_s(trials, MeasurementSpec()) == 15 * 60


def test_nothing_is_expected_to_be_shorter_than_the_shortest_trial() -> None:
    shortest = budget.shortest_trial_s(MeasurementSpec())
    assert budget.expected_trial_s([], MeasurementSpec()) == shortest
    assert budget.expected_trial_s([a_trial(1, 1)], MeasurementSpec()) == shortest


def test_the_last_trial_that_fits_exactly_is_allowed() -> None:
    def refused(seconds: float) -> str:
        return budget.refusal(
            Budget(gpu_hours="1"), budget.Spent(1, 1800), reserve_trials=1, next_gpu_seconds=seconds, started=NOON,
            now=NOON,
        )  # fmt: skip

    assert refused(1800) == ""
    assert "spec.search.budget.gpuHours" in refused(1801)
