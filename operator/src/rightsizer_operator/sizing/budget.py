"""What a search used and may still use. Called by ``phases``. Accelerator time counts from pod start, failed and void
trials included.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from rightsizer_operator.resource.base import number, quantity
from rightsizer_operator.resource.conditions import rfc3339
from rightsizer_operator.resource.run import Remaining, TrialRecord
from rightsizer_operator.resource.spec import Budget, MeasurementSpec
from rightsizer_operator.sizing.verdicts import report_of

WARM_BLOCKS = 2
"""Warm-up blocks that a trial makes at least."""
SEARCH_PURPOSES = ("Explore", "Certify")


@dataclass(frozen=True, slots=True)
class Spent:
    trials: int
    gpu_seconds: int


def searching(trials: Sequence[TrialRecord]) -> tuple[TrialRecord, ...]:
    """The Jobs that the search's budget covers: all but the verifications of a rewrite."""
    return tuple(record for record in trials if record.purpose != "Verify")


def spent(trials: Sequence[TrialRecord]) -> Spent:
    """Trials that ran at all, and the accelerator seconds of every Job."""
    used = [
        record for record in trials
        if record.purpose in SEARCH_PURPOSES and (record.gpu_seconds > 0 or record.outcome not in ("Void", "Error"))
    ]  # fmt: skip
    return Spent(len(used), sum(record.gpu_seconds for record in trials))


def shortest_trial_s(measurement: MeasurementSpec) -> int:
    """Seconds that one trial takes when its engine is ready at once."""
    return measurement.warmup_seconds + measurement.saturation_seconds + measurement.probe_seconds


def expected_trial_s(trials: Sequence[TrialRecord], measurement: MeasurementSpec) -> float:
    """Seconds to reserve for the next trial: the mean of this run's finished ones, at least the shortest possible."""
    measured = [_seconds(record) for record in trials if record.purpose == "Explore" and record.outcome == "Succeeded"]
    mean = sum(measured) / len(measured) if measured else 0.0
    return max(mean, shortest_trial_s(measurement))


def _seconds(record: TrialRecord) -> float:
    """From pod start; not from accelerator seconds, since trials differ in accelerators."""
    if not record.started_at or not record.finished_at:
        return 0.0
    start, end = (datetime.datetime.fromisoformat(at) for at in (record.started_at, record.finished_at))
    return max(0.0, (end - start).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Held back for the certification, without which nothing that was explored can be proposed."""

    trials: int = 0
    seconds: float = 0.0
    gpu_seconds: float = 0.0


NOTHING_KEPT = Kept()


def certification_s(trials: Sequence[TrialRecord], measurement: MeasurementSpec) -> float:
    """Seconds that a certification takes: engine start and warm-up as in this run's trials, then the held rate and the
    share of the demand.
    """
    ready = [report.ready_s for record in trials if (report := report_of(record)) is not None and report.ready_s]
    start = sum(ready) / len(ready) if ready else 0.0
    held = measurement.certification_seconds + demand_run_s(measurement)
    return start + WARM_BLOCKS * measurement.warmup_seconds + held


def demand_run_s(measurement: MeasurementSpec) -> float:
    """Seconds of the run at the share of the demand, its ramp included."""
    return measurement.probe_seconds + min(measurement.warmup_seconds, measurement.probe_seconds / 3)


def refusal(
    budget: Budget, used: Spent, *, next_s: float, gpus: int, started: datetime.datetime, now: datetime.datetime,
    gpu_hourly: str | None = None, kept: Kept = NOTHING_KEPT,
) -> str:  # fmt: skip
    """Why no further trial of ``next_s`` seconds on ``gpus`` accelerators may start, naming the limit; empty while one
    may.
    """
    held = ", the certification held back" if kept.trials else ""
    if used.trials + kept.trials >= budget.max_trials:
        kept_trials = f", {kept.trials} kept for certification" if kept.trials else ""
        return f"spec.search.budget.maxTrials: {used.trials} of {budget.max_trials} trials used{kept_trials}"
    after = used.gpu_seconds + next_s * gpus + kept.gpu_seconds
    if budget.gpu_hours is not None and after > number(budget.gpu_hours) * 3600:
        return (
            f"spec.search.budget.gpuHours: {used.gpu_seconds / 3600:.2f} of {budget.gpu_hours} accelerator hours used, "
            f"the next trial does not fit{held}"
        )
    if budget.money is not None and gpu_hourly is not None and after / 3600 * number(gpu_hourly) > number(budget.money):
        return (
            f"spec.search.budget.money: {used.gpu_seconds / 3600 * number(gpu_hourly):.2f} of {budget.money} used, "
            f"the next trial does not fit{held}"
        )
    if now >= deadline(budget, started):
        return f"spec.search.budget.deadlineMinutes: {budget.deadline_minutes} minutes are over"
    if now + datetime.timedelta(seconds=next_s + kept.seconds) > deadline(budget, started):
        what = "another trial and the certification do" if kept.seconds else "the next trial does"
        return f"spec.search.budget.deadlineMinutes: {what} not fit the {budget.deadline_minutes} minutes any more"
    return ""


def deadline(budget: Budget, started: datetime.datetime) -> datetime.datetime:
    """When the run's time is over."""
    return started + datetime.timedelta(minutes=budget.deadline_minutes)


def seconds_left(
    budget: Budget, used: Spent, gpus: int, *, started: datetime.datetime, now: datetime.datetime, gpu_hourly:
    str | None = None,
) -> float:  # fmt: skip
    """Seconds that a running trial may still go on with ``gpus`` accelerators before a limit is reached."""
    left = (deadline(budget, started) - now).total_seconds()
    seconds = _gpu_seconds_left(budget, used, gpu_hourly)
    return left if seconds is None or gpus <= 0 else min(left, seconds / gpus)


def _gpu_seconds_left(budget: Budget, used: Spent, gpu_hourly: str | None) -> float | None:
    """By hours and by money, whichever ends first; None where neither is limited. Negative: overdrawn."""
    limits = [number(budget.gpu_hours) * 3600] if budget.gpu_hours is not None else []
    if budget.money is not None and gpu_hourly is not None and number(gpu_hourly) > 0:
        limits.append(number(budget.money) / number(gpu_hourly) * 3600)
    return min(limits) - used.gpu_seconds if limits else None


def remaining(budget: Budget, used: Spent, started: datetime.datetime, gpu_hourly: str | None) -> Remaining:
    """What is left of each limit, never below zero."""
    hours, money = None, None
    if budget.gpu_hours is not None:
        hours = quantity(max(0.0, number(budget.gpu_hours) - used.gpu_seconds / 3600))
    if budget.money is not None and gpu_hourly is not None:
        money = quantity(max(0.0, number(budget.money) - used.gpu_seconds / 3600 * number(gpu_hourly)), 2)
    left = max(0, budget.max_trials - used.trials)
    return Remaining(trials=left, gpu_hours=hours, money=money, deadline=rfc3339(deadline(budget, started)))
