"""Which rate to probe next, for how long, and when to stop: pure. Called by ``run`` between probes.

The procedure and its settings are those of docs/metrics.md: a first probe at 0.72 of the saturation rate, then always
at the fitted capacity, within [0.6, 1.35] of the probe before and below the saturation rate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rightsizer_jobs.contract import Capacity, Measurement, Probe, Slo, TrialOutcome
from rightsizer_jobs.stats import fit_capacity, holds, within_saturation

FIRST_SHARE = 0.72
MOST_SHARE = 0.98
STEP_DOWN = 0.6
STEP_UP = 1.35
COARSE_ERROR = 0.25
"""Above this error a probe has its usual length; below, half of what is left of the budget, up to four times that."""

LONGEST = 4


@dataclass(frozen=True, slots=True)
class Next:
    """Probe this rate for so many measured seconds."""

    rate_rps: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Done:
    outcome: TrialOutcome
    reason: str
    capacity: Capacity | None


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything the next decision rests on. ``spent_s``: engine time since the saturation run began."""

    probes: tuple[Probe, ...]
    saturation_rps: float
    slo: Slo
    measurement: Measurement
    spent_s: float
    left_s: float
    """Seconds until the trial's own deadline, less what a last probe needs to end."""
    rate_to_beat_rps: float | None = None

    @property
    def ramp_s(self) -> float:
        return ramp_seconds(self.measurement)


def ramp_seconds(measurement: Measurement) -> float:
    """Arrivals before the measured part of a probe, until the engine's queue is in its steady state."""
    return min(measurement.warmup_block_s, measurement.probe_s / 3)


def decide(now: Situation) -> Next | Done:
    """The next probe, or the end of the search."""
    if not now.probes:
        return Next(FIRST_SHARE * now.saturation_rps, now.measurement.probe_s)
    capacity = fit_capacity(now.probes, now.slo, block_s=now.measurement.block_s)
    assert capacity is not None
    return _beaten(now, capacity) or _finished(now, capacity) or Next(_next_rate(now, capacity), _length(now, capacity))


def _beaten(now: Situation, capacity: Capacity) -> Done | None:
    """Two standard errors above the estimate is still too little to win. What is certified is the lower bound, so the
    capacity must exceed the rate to beat by the error that is left when the search has ended.
    """
    if now.rate_to_beat_rps is None or capacity.bound == "AtLeast":
        return None
    error = capacity.standard_error
    best = capacity.rate_rps * (1.0 if capacity.bound == "AtMost" else math.exp(2 * error))
    needed = now.rate_to_beat_rps * math.exp(min(error, now.measurement.target_error))
    if best >= needed:
        return None
    return Done(
        "CannotBeat",
        f"capacity {capacity.rate_rps:.3g} requests/s (at best {best:.3g}); {needed:.3g} needed to win",
        capacity,
    )


def _finished(now: Situation, capacity: Capacity) -> Done | None:
    measurement = now.measurement
    if capacity.bound == "Fitted" and capacity.standard_error < measurement.target_error:
        return _conclude(now, capacity, "the wanted error was reached")
    if capacity.bound == "AtLeast" and capacity.rate_rps >= 0.97 * MOST_SHARE * now.saturation_rps:
        return _conclude(now, capacity, "every limit holds up to the saturation rate, which bounds the capacity")
    if len(now.probes) >= measurement.max_probes:
        return _conclude(now, capacity, f"all {measurement.max_probes} probes were made")
    if now.left_s < now.ramp_s + measurement.probe_s:
        return _conclude(now, capacity, "the trial's deadline leaves no time for another probe")
    bracketed = capacity.bound in ("Fitted", "Between")
    if bracketed and now.spent_s + now.ramp_s + measurement.probe_s > measurement.budget_s:
        return _conclude(now, capacity, "the measuring budget was used up")
    return None


def _conclude(now: Situation, fitted: Capacity, why: str) -> Done:
    capacity = within_saturation(fitted, now.saturation_rps)
    if capacity.bound == "AtMost":
        return Done("MissedSLO", f"{missed(now.probes, now.slo)}; {why}", capacity)
    error = f"+-{100 * capacity.standard_error:.1f} %"
    return Done("Succeeded", f"capacity {capacity.rate_rps:.3g} requests/s {error} ({capacity.bound}); {why}", capacity)


def missed(probes: Sequence[Probe], slo: Slo) -> str:
    """Which limits the slowest probe misses, with the figures."""
    slowest = min(probes, key=lambda probe: probe.rate_rps)
    parts = [
        f"p{slo.percentile} {metric} {_figure(slowest.p_ms.get(metric, -1))} against {limit:g} ms"
        for metric, limit in slo.limits().items()
        if slowest.violations.get(metric, 1.0) > (100 - slo.percentile) / 100
    ]
    if not parts:
        parts = ["the run was stopped for overload"]
    return f"at {slowest.rate_rps:.3g} requests/s: {', '.join(parts)}; {slowest.failed} of {slowest.requests} failed"


def _figure(milliseconds: float) -> str:
    return "no answer" if milliseconds < 0 else f"{milliseconds:.4g} ms"


def _next_rate(now: Situation, capacity: Capacity) -> float:
    """At the estimate; where there is none, a step towards it."""
    last = now.probes[-1].rate_rps
    wanted = capacity.rate_rps
    if capacity.bound == "AtLeast":
        wanted = STEP_UP * capacity.rate_rps
    elif capacity.bound == "AtMost":
        wanted = STEP_DOWN * capacity.rate_rps
    wanted = min(max(wanted, STEP_DOWN * last), STEP_UP * last, MOST_SHARE * now.saturation_rps)
    return _off_the_stopped(now, wanted)


def _off_the_stopped(now: Situation, wanted: float) -> float:
    """Never again at or above a rate that was stopped for overload: the geometric middle below it instead."""
    stopped = min((probe.rate_rps for probe in now.probes if probe.aborted), default=math.inf)
    if wanted < 0.99 * stopped:
        return wanted
    passed = max(
        (probe.rate_rps for probe in now.probes if holds(probe, now.slo) and probe.rate_rps < stopped),
        default=STEP_DOWN * stopped,
    )
    return math.sqrt(passed * stopped)


def _length(now: Situation, capacity: Capacity) -> float:
    measurement = now.measurement
    usual = measurement.probe_s
    if capacity.bound != "Fitted" or capacity.standard_error > COARSE_ERROR:
        return usual
    half = (measurement.budget_s - now.spent_s) / 2 - now.ramp_s
    return max(usual, min(half, LONGEST * usual, now.left_s - now.ramp_s))
