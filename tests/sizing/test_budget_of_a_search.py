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
            Budget(gpu_hours="1"), budget.Spent(1, 1800), next_s=seconds, gpus=1, started=NOON, now=NOON,
            kept=budget.Kept(trials=1),
        )  # fmt: skip

    assert refused(1800) == ""
    assert "spec.search.budget.gpuHours" in refused(1801)


def refused(limits: Budget, used: int, *, kept: budget.Kept = budget.NOTHING_KEPT, minutes: int = 0) -> str:
    """A trial of 600 s on two accelerators at 3.60 an hour, ``minutes`` after the start."""
    return budget.refusal(
        limits, budget.Spent(1, used), next_s=600, gpus=2, started=NOON, now=NOON + datetime.timedelta(minutes=minutes),
        gpu_hourly="3.60", kept=kept,
    )  # fmt: skip


def test_money_is_accelerator_time_at_its_price() -> None:
    assert refused(Budget(money="3"), 1800) == ""
    assert "spec.search.budget.money: 1.81 of 3 used" in refused(Budget(money="3"), 1810)


def test_what_the_certification_will_take_is_held_back_of_hours_money_and_time() -> None:
    kept = budget.Kept(trials=1, seconds=900, gpu_seconds=1800)
    for limits in (Budget(gpu_hours="1"), Budget(money="3.60")):
        assert refused(limits, 600, kept=kept) == ""
        assert "the certification held back" in refused(limits, 700, kept=kept)
    assert refused(Budget(deadline_minutes=60), 0, kept=kept, minutes=35) == ""
    assert "and the certification do not fit" in refused(Budget(deadline_minutes=60), 0, kept=kept, minutes=36)


def test_a_certification_takes_the_engines_start_the_warm_up_the_held_rate_and_the_share_of_the_demand() -> None:
    measurement = MeasurementSpec(warmup_seconds=20, certification_seconds=600, probe_seconds=60)
    assert budget.certification_s([], measurement) == 2 * 20 + 600 + 20 + 60


def test_a_running_trial_has_what_the_nearest_limit_leaves() -> None:
    def left(limits: Budget) -> float:
        return budget.seconds_left(limits, budget.Spent(1, 1800), 2, started=NOON, now=NOON, gpu_hourly="3.60")

    assert left(Budget(deadline_minutes=60)) == 3600
    assert left(Budget(gpu_hours="1")) == 900
    assert left(Budget(gpu_hours="1", money="2.00")) == 100


def test_what_is_left_never_falls_below_zero_and_unlimited_things_are_absent() -> None:
    left = budget.remaining(Budget(gpu_hours="1", money="3"), budget.Spent(30, 9000), NOON, "3.60")
    assert (left.trials, left.gpu_hours, left.money) == (0, "0", "0")
    assert left.deadline == "2026-03-01T18:00:00Z"
    unlimited = budget.remaining(Budget(), budget.Spent(1, 60), NOON, None)
    assert (unlimited.gpu_hours, unlimited.money) == (None, None)


def test_verifications_of_a_rewrite_are_none_of_the_searchs_budget() -> None:
    trials = [a_trial(1, 10), a_trial(1, 20).model_copy(update={"purpose": "Verify"})]
    assert budget.spent(budget.searching(trials)).gpu_seconds == 600
    assert budget.spent(trials).gpu_seconds == 1800
