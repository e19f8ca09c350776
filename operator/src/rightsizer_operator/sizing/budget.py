"""What a search used and may still use. Called by ``phases``. Accelerator time counts from pod start, failed and void
trials included.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from rightsizer_operator.resource.base import number
from rightsizer_operator.resource.run import TrialRecord
from rightsizer_operator.resource.spec import Budget, MeasurementSpec

SEARCH_PURPOSES = ("Explore", "Certify")


@dataclass(frozen=True, slots=True)
class Spent:
    trials: int
    gpu_seconds: int


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


def refusal(
    budget: Budget, used: Spent, *, reserve_trials: int, next_gpu_seconds: float, started: datetime.datetime, now:
    datetime.datetime
) -> str:  # fmt: skip
    """Why no further trial may start, naming the limit; empty while one may. ``reserve_trials``: kept back, e.g. for
    the certification.
    """
    if used.trials + reserve_trials >= budget.max_trials:
        kept = f", {reserve_trials} kept for certification" if reserve_trials else ""
        return f"spec.search.budget.maxTrials: {used.trials} of {budget.max_trials} trials used{kept}"
    if budget.gpu_hours is not None and used.gpu_seconds + next_gpu_seconds > number(budget.gpu_hours) * 3600:
        hours = used.gpu_seconds / 3600
        return (
            f"spec.search.budget.gpuHours: {hours:.2f} of {budget.gpu_hours} accelerator hours used, "
            "the next trial does not fit"
        )
    if now >= started + datetime.timedelta(minutes=budget.deadline_minutes):
        return f"spec.search.budget.deadlineMinutes: {budget.deadline_minutes} minutes are over"
    return ""


def seconds_left(
    budget: Budget, used: Spent, gpus: int, *, started: datetime.datetime, now: datetime.datetime
) -> float:
    """Seconds that a running trial may still go on with ``gpus`` accelerators before a limit is reached."""
    left = (started + datetime.timedelta(minutes=budget.deadline_minutes) - now).total_seconds()
    if budget.gpu_hours is not None and gpus > 0:
        left = min(left, (number(budget.gpu_hours) * 3600 - used.gpu_seconds) / gpus)
    return left
