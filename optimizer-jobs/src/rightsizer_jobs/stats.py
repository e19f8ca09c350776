"""Verdicts from measurements: the paired quality test and the capacity fit. Pure, standard library only.

The Job stops itself by these functions, the operator recomputes its verdicts by the same ones from the report.
No I/O, no clock, no randomness. Shares are 0..1, quality is in percentage points, rates are requests a second.
Methods and settings: docs/metrics.md.
"""

import base64
import binascii
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from rightsizer_jobs.contract import Answers, Capacity, Probe, Saturation, Slo
from rightsizer_jobs.posterior import PRIOR_SLOPE, Seen, located

Settled = Literal["Pass", "Fail", "Undecided"]

INTERIM_CONFIDENCE_PERCENT = 99.9
"""Confidence of every look before the last one (Haybittle-Peto): each such look adds at most 0.1 % error."""

POWER = 0.8
"""Chance with which ``questions_needed`` lets a candidate without any true drop pass."""

VARIANCE_INFLATION_FLOOR = 20.0
INFLATION_SECONDS = 4.0
"""Requests near capacity are not independent, since a queue lasts: so many carry the information of one, or as many as
arrive in so many seconds if these are more."""

INFLATION_PRIOR_BLOCKS = 6
"""The floor counts as much as so many blocks of time when the measured inflations are averaged."""

NEAR = 0.9
"""Where every probe passed, those from this share of the largest rate on tell how sure its pass is."""

STOPPED_WEIGHT = 10.0
"""That a run was stopped for overload says as much as so many independent requests, however short it was."""

MOST_SHARE = 0.95
"""The curve of violations is a power of the rate up to here."""

EARLY_SHARE = 0.8
"""What a run of minutes that begins on an empty engine is taken to show of the share that violates in the long run:
queues near saturation take longer to fill, and long ones are rare. What balanced runs show on the engine model.
"""

SATURATION_ERROR = 0.03
"""Relative standard deviation that a saturation rate is taken to have."""

PROBED_SHARE = 0.98
"""Of the saturation rate: no larger rate is probed, so that nothing is known of what lies between."""
ERROR_CALIBRATION = 0.8
BALANCED_CALIBRATION = 0.7
"""What errors are multiplied by, so that those stated are those found in simulation; the second where all probes are
balanced: they differ less from each other than their own blocks do. Traces are not.
"""


# --- quality ---


@dataclass(frozen=True, slots=True)
class QualityVerdict:
    """``lost``: right on the baseline, wrong on the candidate; ``won``: the other way.

    Bounds are one-sided, in percentage points.
    """

    asked: int
    lost: int
    won: int
    drop_points: float
    lower_points: float
    upper_points: float
    settled: Settled


def encode_answers(correct: Sequence[bool], sha256: str) -> Answers:
    """Correctness in question order, packed most significant bit first."""
    packed = bytearray((len(correct) + 7) // 8)
    for index, right in enumerate(correct):
        if right:
            packed[index >> 3] |= 0x80 >> (index & 7)
    return Answers(sha256=sha256, asked=len(correct), correct=base64.b64encode(bytes(packed)).decode())


def decode_answers(answers: Answers) -> list[bool]:
    """The correctness of every question asked; ValueError where the bits are not base64 or fewer than ``asked``."""
    try:
        packed = base64.b64decode(answers.correct, validate=True)
    except binascii.Error as error:
        raise ValueError(f"answers.correct is not base64: {error}") from error
    if len(packed) != (answers.asked + 7) // 8:
        raise ValueError(f"answers.correct holds {len(packed)} bytes, asked says {answers.asked} questions")
    return [bool(packed[index >> 3] & (0x80 >> (index & 7))) for index in range(answers.asked)]


def quality_verdict(
    baseline: Answers, candidate: Answers, *, max_drop_points: float, confidence_percent: float
) -> QualityVerdict:
    """Paired test over the questions both answered (the common prefix).

    Pass: the one-sided upper bound of the drop is at most ``max_drop_points``. Fail: the lower bound is above it.
    Each bound holds with ``confidence_percent``. Raises ValueError when the question sets differ.
    """
    if baseline.sha256 != candidate.sha256:
        raise ValueError(
            f"answers are to different question sets: {baseline.sha256[:12]} (baseline), {candidate.sha256[:12]}"
        )
    pairs = list(zip(decode_answers(baseline), decode_answers(candidate), strict=False))
    lost = sum(before and not after for before, after in pairs)
    won = sum(after and not before for before, after in pairs)
    lower, upper = drop_bounds(len(pairs), lost, won, confidence_percent)
    settled: Settled = "Undecided"
    if upper * 100 <= max_drop_points:
        settled = "Pass"
    elif lower * 100 > max_drop_points:
        settled = "Fail"
    drop = (lost - won) / len(pairs) if pairs else 0.0
    return QualityVerdict(len(pairs), lost, won, drop * 100, lower * 100, upper * 100, settled)


def drop_bounds(asked: int, lost: int, won: int, confidence_percent: float) -> tuple[float, float]:
    """One-sided lower and upper bound of the drop, as shares.

    Tango's score interval for paired proportions (Statistics in Medicine 17, 1998) with a continuity correction of half
    a question: without it the upper bound at few flips misses more often than it says (no flip in 900: 0.30 points
    instead of 0.40).
    """
    if asked == 0:
        return -1.0, 1.0
    z = NormalDist().inv_cdf(confidence_percent / 100)
    lower = _crossing(asked, lost, won, lost - won - 0.5, z)
    upper = _crossing(asked, lost, won, lost - won + 0.5, -z)
    return lower, upper


def _crossing(asked: int, lost: int, won: int, difference: float, z: float) -> float:
    """The drop at which the score statistic, which falls as the drop grows, equals z; by bisection."""
    low, high = -1.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        deviation = math.sqrt(asked * _score_variance(asked, lost, won, middle))
        if difference - asked * middle > z * deviation:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _score_variance(asked: int, lost: int, won: int, drop: float) -> float:
    """Variance of one question's change when the drop is ``drop`` and the rest is as likely as the counts allow."""
    linear = -lost - won + (2 * asked - lost + won) * drop
    constant = -won * drop * (1 - drop)
    share_won = (math.sqrt(max(0.0, linear * linear - 8 * asked * constant)) - linear) / (4 * asked)
    return max(0.0, 2 * share_won + drop * (1 - drop))


def questions_needed(max_drop_points: float, confidence_percent: float, flip_share: float = 0.06) -> int:
    """Questions with which a candidate without any true drop passes four times in five.

    ``flip_share``: share of the answers whose correctness changes either way.
    Raises ValueError for a margin of 0: no number of questions shows that nothing was lost.
    """
    if max_drop_points <= 0:
        raise ValueError("quality.maxDropPoints must be above 0: no number of questions can show a drop of exactly 0")
    normal = NormalDist()
    distance = normal.inv_cdf(confidence_percent / 100) + normal.inv_cdf(POWER)
    return math.ceil(flip_share * (distance / (max_drop_points / 100)) ** 2)


# --- capacity ---


def allowed_share(percentile: int) -> float:
    """Share of requests that may be above a limit: 0.05 at the 95th percentile."""
    return (100 - percentile) / 100


def worst_share(probe: Probe, slo: Slo) -> float:
    """The largest violation share over the metrics that have a limit."""
    return max((probe.violations.get(metric, 1.0) for metric in slo.limits()), default=0.0)


def holds(probe: Probe, slo: Slo) -> bool:
    """Whether every limit was met at this rate. A run without a request shows nothing."""
    return not probe.aborted and probe.requests > 0 and worst_share(probe, slo) <= allowed_share(slo.percentile)


def fit_capacity(probes: Sequence[Probe], slo: Slo, *, block_s: float) -> Capacity | None:
    """Rate at which the violation share reaches the allowed one, from all probes together; None without one that shows
    anything.

    ``ln p = ln allowed + slope (ln rate - x)``, the violations of a probe being binomial over its requests divided by
    the variance inflation. All probes count: one without violations says that the rate is not far too high, and how
    sure that is. Where all passed or all failed they only bound the capacity, and ``bound`` says on which side.
    """
    probes = [probe for probe in probes if probe.requests > 0 or probe.aborted]
    if not probes:
        return None
    near = any(informative(probe, slo) for probe in probes)
    if not near and (bound := _bound(probes, slo)) is not None:
        return bound
    fitted = _cap(_fit(probes, slo, block_s), probes)
    return fitted if near else fitted.model_copy(update={"bound": "Between"})


def most_certain(saturation_rps: float, target_error: float) -> float:
    """The largest lower bound that a search can come to, requests a second: the largest rate that is probed less the
    error of the saturation rate, or less the wanted one, where that is smaller.
    """
    return PROBED_SHARE * saturation_rps * math.exp(-min(SATURATION_ERROR, target_error))


def within_saturation(capacity: Capacity, saturation: Saturation, target_error: float) -> Capacity:
    """Open-loop capacity cannot exceed what a closed loop reaches, whatever short probes extrapolate to, nor then be
    more certain than that. Where the engine had room it may be more: ``AtLeast``.
    """
    if capacity.rate_rps <= saturation.rps:
        return capacity
    lower = min(capacity.lower_rps, most_certain(saturation.rps, target_error))
    bound = capacity.bound if saturation.ceiling else "AtLeast"
    return capacity.model_copy(update={"rate_rps": saturation.rps, "lower_rps": lower, "bound": bound})


def informative(probe: Probe, slo: Slo) -> bool:
    """Whether its share lies near the allowed one: 0.004 < p < 0.6 at the 95th percentile."""
    allowed = allowed_share(slo.percentile)
    return not probe.aborted and 0.08 * allowed < worst_share(probe, slo) < max(0.6, (1 + allowed) / 2)


def inflation(probes: Sequence[Probe], slo: Slo, block_s: float) -> float:
    """How many requests carry the information of one: the mean of what the blocks of all informative probes showed and
    of the floor, weighted by degrees of freedom; never below the floor.
    """
    floor = _floor(probes)
    total, freedom = INFLATION_PRIOR_BLOCKS * floor, INFLATION_PRIOR_BLOCKS
    for probe in probes:
        if informative(probe, slo) and probe.variance_inflation > 0:
            blocks = max(1, round(probe.seconds / block_s)) - 1
            total += blocks * probe.variance_inflation
            freedom += blocks
    return max(floor, total / freedom)


def _floor(probes: Sequence[Probe]) -> float:
    rate = sum(probe.rate_rps for probe in probes) / len(probes)
    return max(VARIANCE_INFLATION_FLOOR, INFLATION_SECONDS * rate)


def _seen(probe: Probe, slo: Slo, inflated: float) -> list[Seen]:
    """A share above the top only says that the rate is far too high. So does a run's end by a watch, once, however long
    or short the run was; what had been seen until then counts by itself.

    A run counts at the rate that really arrived while it was measured: chance moves that by some percent, and the share
    by ten times as much.
    """
    top, rate = _top(slo), math.log(probe.achieved_rps or probe.rate_rps)
    found = [_evidence(rate, min(worst_share(probe, slo), top), max(1, probe.requests) / inflated, top)]
    if probe.aborted:
        found.append(_evidence(rate, top, STOPPED_WEIGHT, top))
    return found


def _evidence(log_rate: float, share: float, count: float, top: float) -> Seen:
    most = top if share == top else MOST_SHARE
    return Seen(log_rate, count * share, count * (1 - share), math.log(most))


def _top(slo: Slo) -> float:
    """Above this share a queue grows with the length of the probe, and its size means nothing: 0.3 at p95."""
    allowed = allowed_share(slo.percentile)
    return min(6 * allowed, (1 + allowed) / 2)


def _fit(probes: Sequence[Probe], slo: Slo, block_s: float) -> Capacity:
    inflated = inflation(probes, slo, block_s)
    seen = [one for probe in probes for one in _seen(probe, slo, inflated)]
    found = located(seen, math.log(EARLY_SHARE * allowed_share(slo.percentile)))
    near = [probe for probe in probes if informative(probe, slo)] or probes
    error = _calibration(probes) * max(found.error, _resolution(near, slo))
    capacity = _capacity(math.exp(found.x), error, found.slope)
    return capacity.model_copy(update={"variance_inflation": inflated})


def _calibration(probes: Sequence[Probe]) -> float:
    return BALANCED_CALIBRATION if all(probe.balanced for probe in probes) else ERROR_CALIBRATION


def _bound(probes: Sequence[Probe], slo: Slo) -> Capacity | None:
    """All passed, the largest rate is a lower bound; all failed, the smallest is an upper one; None: some of each."""
    failed = min((_carried(probe) for probe in probes if not holds(probe, slo)), default=math.inf)
    passes = [probe for probe in probes if holds(probe, slo) and _carried(probe) < failed]
    if not passes:
        return Capacity(rate_rps=failed, standard_error=1.0, lower_rps=0.0, slope=PRIOR_SLOPE, bound="AtMost")
    if failed < math.inf:
        return None
    top = max(passes, key=_carried)
    error = max(_doubt(top, slo), _resolution([one for one in passes if _carried(one) > NEAR * _carried(top)], slo))
    return _capacity(_carried(top), error, PRIOR_SLOPE).model_copy(update={"bound": "AtLeast"})


def _carried(probe: Probe) -> float:
    """The rate that a run stands for: what arrived, where a part of a trace may be far from the rate asked for."""
    return probe.rate_rps if probe.balanced else probe.achieved_rps or probe.rate_rps


def _doubt(passed: Probe, slo: Slo) -> float:
    """How far below a rate that passed without an informative share the capacity may still be, as a standard error.

    So few independent requests (requests / floor) show no violation, with exp(-1/2) of the likelihood at best, up to a
    share of 1 - exp(-1/2 / independent); below the allowed share there is no doubt.
    """
    independent = max(1, passed.requests) / _floor([passed])
    share = 1 - math.exp(-0.5 / independent)
    return _calibration([passed]) * max(0.0, math.log(share / allowed_share(slo.percentile))) / PRIOR_SLOPE


def _resolution(passes: Sequence[Probe], slo: Slo) -> float:
    """What so many requests could tell at the limit, as a standard error: a pass without violations near saturation
    says little about a queue that grows slower than the probe is long.
    """
    allowed = allowed_share(slo.percentile)
    requests = max(1, sum(probe.requests for probe in passes))
    return math.sqrt(_floor(passes) * (1 - allowed) / (allowed * requests)) / PRIOR_SLOPE


def _cap(capacity: Capacity, probes: Sequence[Probe]) -> Capacity:
    """A probe stopped for overload is an upper bound whatever the fit extrapolates to."""
    stopped = min((probe.rate_rps for probe in probes if probe.aborted), default=math.inf)
    if capacity.rate_rps <= stopped:
        return capacity
    return _capacity(stopped, capacity.standard_error, capacity.slope)


def _capacity(rate: float, error: float, slope: float) -> Capacity:
    return Capacity(rate_rps=rate, standard_error=error, lower_rps=rate * math.exp(-error), slope=slope)
