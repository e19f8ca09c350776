"""Which rate to probe next, for how long, and when to stop: pure. Called by ``run`` between steps.

The procedure and its settings are those of docs/metrics.md: saturation, a first probe at 0.72 of the saturation rate or
where tokens take their limit, then always at the fitted capacity, within [0.6, 1.35] of the probe before and below the
saturation rate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rightsizer_jobs.contract import Capacity, Measurement, Probe, Saturation, Slo, TrialOutcome
from rightsizer_jobs.stats import PROBED_SHARE, fit_capacity, holds, informative, most_certain, within_saturation

FIRST_SHARE = 0.72
STEP_DOWN = 0.6
STEP_UP = 1.35
COARSE_ERROR = 0.25
"""Above this error a probe has its usual length; below, half of what is left of the budget."""

LONGEST = 6
GROWTH = 2
"""A probe is at most six times as long as usual, and twice as long as the longest before it: what one or two short ones
say of the capacity may be a third off, and a long one there would tell little.
"""
ANSWERS_A_RAMP = 2.0
ANSWERS_A_SATURATION = 6.0
STAYS_A_SATURATION = 3.0
MORE = 2
MOST_IN_FLIGHT = 4096
"""A step is at least so many answers of the idle engine long, whatever its setting: under load they take about twice
as long, and a queue needs some of them to reach its steady state. A saturation run with ``MORE`` times the requests in
flight also is three times as long as each of them then stays, should the engine be no faster for it.
"""
ANSWERS_A_PROBE = 3.0
"""A shorter probe sees hardly more than the requests that it begins with, which share their fate: errors stated from
such probes are too small, and the result says so.
"""


@dataclass(frozen=True, slots=True)
class Next:
    """Probe this rate for so many measured seconds."""

    rate_rps: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Saturate:
    """Keep so many requests in flight for so many seconds; the last two thirds count."""

    concurrency: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Done:
    outcome: TrialOutcome
    reason: str
    capacity: Capacity | None


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything the next decision rests on. ``spent_s``: engine time since the first saturation run began."""

    probes: tuple[Probe, ...]
    saturation: Saturation | None
    slo: Slo
    measurement: Measurement
    spent_s: float
    left_s: float
    """Seconds until the trial's own deadline, less what a last probe needs to end."""
    rate_to_beat_rps: float | None = None
    answer_s: float = 0.0
    """What one answer takes on the idle engine."""
    idle_tpot_ms: float = 0.0
    """What one token takes there; 0: unknown."""

    @property
    def saturation_rps(self) -> float:
        """Of the last saturation run; 0 before the first."""
        return self.saturation.rps if self.saturation is not None else 0.0

    @property
    def ramp_s(self) -> float:
        return ramp_seconds(self.measurement, self.measurement.probe_s, self.answer_s)


def ramp_seconds(measurement: Measurement, measured_s: float, answer_s: float) -> float:
    """Arrivals before the measured part of a run, until the engine's queue is in its steady state."""
    return max(min(measurement.warmup_block_s, measured_s / 3), ANSWERS_A_RAMP * answer_s)


def warm_up_seconds(measurement: Measurement, answer_s: float) -> float:
    """Length of one warm-up block: some answers must end in it."""
    return max(measurement.warmup_block_s, ANSWERS_A_RAMP * answer_s)


def saturation_seconds(measurement: Measurement, answer_s: float) -> float:
    """Length of the saturation run: requests that began together must have drifted apart."""
    return max(measurement.saturation_s, ANSWERS_A_SATURATION * answer_s)


def probe_seed(seed: int, number: int) -> int:
    """The seed of the gaps of a trial's probe, counted from 1: the same for every candidate and at every rate, another
    one for every probe, so that probes at nearly one rate do not repeat one and the same burst. 0: a run by itself.
    """
    return seed + PROBE_SEED_STEP * number


PROBE_SEED_STEP = 1_000_003


def decide(now: Situation) -> Saturate | Next | Done:
    """The next run, or the end of the search."""
    if now.saturation is None:
        first = now.measurement.saturation_concurrency
        return Saturate(first, saturation_seconds(now.measurement, now.answer_s))
    wider = _wider(now)
    if beaten := _beaten_at_saturation(now):
        return wider or beaten
    if not now.probes:
        return Next(min(FIRST_SHARE, _share_at_pace(now)) * now.saturation_rps, now.measurement.probe_s)
    capacity = fit_capacity(now.probes, now.slo, block_s=now.measurement.block_s)
    assert capacity is not None
    if done := _beaten(now, capacity):
        return done
    if wider is not None and _limited(now, capacity):
        return wider
    return _finished(now, capacity) or Next(_next_rate(now, capacity), _length(now, capacity))


def _share_at_pace(now: Situation) -> float:
    """The share of the saturation rate at which a token takes its limit, where the time of a token grows from that of
    the idle engine in proportion to the requests in flight, of which there is one at least. Those of the saturation run
    that waited for a place make this share too small, never too large.
    """
    assert now.saturation is not None
    limit, idle, most = now.slo.tpot_ms, now.idle_tpot_ms, now.saturation.concurrency
    full = 1000 * most / max(1e-9, now.saturation.output_tps)
    if limit is None or not 0 < idle < limit < full:
        return 1.0
    in_flight = max(1.0, most * (limit - idle) / (full - idle))
    return in_flight * full / (most * limit)


def _wider(now: Situation) -> Saturate | None:
    """A saturation run with more requests in flight, where those so far left the engine room and time is left for it
    and for a probe.
    """
    assert now.saturation is not None
    more = MORE * now.saturation.concurrency
    if now.saturation.ceiling or more > MOST_IN_FLIGHT or now.saturation_rps <= 0:
        return None
    stays_s = STAYS_A_SATURATION * more / now.saturation_rps
    seconds = max(saturation_seconds(now.measurement, now.answer_s), stays_s)
    after_s = seconds + now.ramp_s + now.measurement.probe_s
    left_s = min(now.left_s, now.measurement.budget_s - now.spent_s)
    return Saturate(more, seconds) if after_s <= left_s else None


def _limited(now: Situation, capacity: Capacity) -> bool:
    """Whether the saturation rate bounds what comes next: the rate that would be probed, or the result."""
    return _towards(now, capacity) > PROBED_SHARE * now.saturation_rps or capacity.rate_rps > now.saturation_rps


def _beaten_at_saturation(now: Situation) -> Done | None:
    """What is certified is a lower bound. A saturation that is no ceiling has beaten nobody."""
    needed, saturation = now.rate_to_beat_rps, now.saturation
    if needed is None or saturation is None or now.probes:
        return None
    if most_certain(saturation.rps, now.measurement.target_error) >= needed:
        return None
    if not saturation.ceiling and _wider(now) is None:
        return None
    told = f"saturates at {saturation.rps:.3g} requests/s, less its error below the {needed:.3g} needed to win"
    return Done("CannotBeat", told, None)


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
    used_up = now.spent_s + now.ramp_s + measurement.probe_s > measurement.budget_s
    if _at_saturation(now, capacity) and (used_up or capacity.standard_error < measurement.target_error):
        return _conclude(now, capacity, _up_to_saturation(now))
    if len(now.probes) >= measurement.max_probes:
        return _conclude(now, capacity, f"all {measurement.max_probes} probes were made")
    if now.left_s < now.ramp_s + measurement.probe_s:
        return _conclude(now, capacity, "the trial's deadline leaves no time for another probe")
    if used_up and capacity.bound in ("Fitted", "Between"):
        return _conclude(now, capacity, "the measuring budget was used up")
    return None


def _up_to_saturation(now: Situation) -> str:
    assert now.saturation is not None
    if now.saturation.ceiling:
        return "every limit holds up to the saturation rate, which bounds the capacity"
    in_flight = f"{now.saturation.concurrency} requests in flight"
    return f"every limit holds up to the rate of {in_flight}; the engine has room for more, there was no time for them"


def _at_saturation(now: Situation, capacity: Capacity) -> bool:
    """Whether every limit held at nearly the saturation rate, so that no larger one needs a look, only a longer one."""
    return capacity.bound == "AtLeast" and capacity.rate_rps >= 0.97 * PROBED_SHARE * now.saturation_rps


def _conclude(now: Situation, fitted: Capacity, why: str) -> Done:
    assert now.saturation is not None
    capacity = within_saturation(fitted, now.saturation, now.measurement.target_error)
    if capacity.bound == "AtMost":
        return Done("MissedSLO", f"{missed(now.probes, now.slo)}; {why}{_too_brief(now)}", capacity)
    error = f"+-{100 * capacity.standard_error:.1f} %"
    found = f"capacity {capacity.rate_rps:.3g} requests/s {error} ({capacity.bound}); {why}{_too_brief(now)}"
    return Done("Succeeded", found, capacity)


def _too_brief(now: Situation) -> str:
    needed = math.ceil(ANSWERS_A_PROBE * now.answer_s)
    if now.measurement.probe_s >= needed:
        return ""
    return (
        f"; an answer takes {now.answer_s:.3g} s, so the error may be larger: "
        f"set search.measurement.probeSeconds to {needed} or more"
    )


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
    """Towards the estimate, below saturation."""
    return _between(now, min(_towards(now, capacity), PROBED_SHARE * now.saturation_rps))


def _towards(now: Situation, capacity: Capacity) -> float:
    """At the estimate; where there is none, a step towards it."""
    last = now.probes[-1].rate_rps
    wanted = capacity.rate_rps
    if capacity.bound == "AtLeast":
        wanted = STEP_UP * capacity.rate_rps
        if len(now.probes) == 1:  # most capacities lie there; a step to the saturation rate itself would be stopped
            wanted = math.sqrt(capacity.rate_rps * now.saturation_rps)
    elif capacity.bound == "AtMost":
        wanted = STEP_DOWN * capacity.rate_rps
    return min(max(wanted, STEP_DOWN * last), STEP_UP * last)


def _between(now: Situation, wanted: float) -> float:
    """Never where the answer is known: at or above a rate that was clearly too high, or at or below one that clearly
    held. The geometric middle instead.
    """
    clear = [probe for probe in now.probes if not informative(probe, now.slo)]
    failed = [probe.rate_rps for probe in now.probes if not holds(probe, now.slo)]
    too_high = min((probe.rate_rps for probe in clear if not holds(probe, now.slo)), default=math.inf)
    held = max(
        (probe.rate_rps for probe in clear if holds(probe, now.slo) and probe.rate_rps < min(failed, default=math.inf)),
        default=0.0,
    )
    if wanted >= 0.99 * too_high:
        return math.sqrt(max(held, STEP_DOWN * too_high) * too_high)
    if wanted <= held:
        return min(math.sqrt(held * min(failed, default=STEP_UP * held)), PROBED_SHARE * now.saturation_rps)
    return wanted


def _length(now: Situation, capacity: Capacity) -> float:
    """The usual length far from the capacity; near it half of what is left, or all of it where the rest would be too
    short for a further probe.
    """
    measurement = now.measurement
    usual = measurement.probe_s
    known = capacity.bound in ("Fitted", "Between") or _at_saturation(now, capacity)
    if not known or capacity.standard_error > COARSE_ERROR:
        return usual
    left = min(measurement.budget_s - now.spent_s, now.left_s)
    most = min(LONGEST * usual, GROWTH * max(probe.seconds for probe in now.probes))
    length = max(usual, min(left / 2 - now.ramp_s, most))
    if left - now.ramp_s - length < now.ramp_s + usual:
        length = min(left - now.ramp_s, most)
    return max(usual, length)
