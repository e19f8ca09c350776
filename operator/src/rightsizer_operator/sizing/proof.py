"""Proof of minimality: every plan with fewer accelerators than the proposal, and what rules it out. Called by
``phases.choose``.

One entry speaks of the largest such plan of a candidate: what one plan cannot carry, no smaller one of the same
candidate can. A last entry names the candidates that have no smaller plan, another what was outside the search.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rightsizer_jobs import stats
from rightsizer_jobs.contract import Probe, Slo
from rightsizer_operator.resource.run import Alternative
from rightsizer_operator.sizing import gpus
from rightsizer_operator.sizing.gpus import Requirement, words
from rightsizer_operator.sizing.verdicts import AS_IS, Standing

MEASURED, REPLAYED, RULE, ESTIMATED, OPEN = "Measured", "Replayed", "Rule", "Estimated", "Open"
"""Evidence of an entry: measured, answered by an engine that replays recordings, excluded by a rule, only estimated, or
not ruled out at all (budget, void trials, weights that could not be made) and said so."""
NO_SMALLER, OUTSIDE, REST = "no smaller plan", "outside the search", "further candidates"
"""What stands in place of a candidate in the entries that speak of several."""
MOST = 64
"""Entries that a run's status holds."""
_SAME = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is proven: no plan with fewer accelerators than ``gpus`` brings what is required."""

    required: Requirement
    gpus: int
    slo: Slo
    per_replica: int
    """Accelerators of a replica as found: of a candidate without a serving that keeps the parallelism as found."""
    allowed: str = ""
    """What the search was allowed to try, in words; empty: not said."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one replica of a smaller plan would have to do."""

    needed_rps: float
    slo: Slo


Ruling = tuple[str, str]


def proof(standings: Sequence[Standing], claim: Claim) -> tuple[Alternative, ...]:
    """Entries for every candidate, in order, then what holds for several; at most MOST."""
    entries, without = [], []
    found = next((one.candidate.parallelism for one in standings if one.candidate.id == AS_IS), None)
    for standing in standings:
        per_replica = _per_replica(standing, claim, found)
        replicas = gpus.most_replicas_below(claim.gpus, per_replica)
        if replicas:
            entries.append(_entry(standing, claim, replicas, per_replica))
        else:
            without.append(standing.candidate.id)
    rules = [_no_smaller(without, claim)] if without else []
    rules += [_outside(claim)] if claim.allowed else []
    return (*_cut(entries, MOST - len(rules)), *rules)


def complete(entries: Sequence[Alternative]) -> bool:
    """Whether every plan with fewer accelerators is ruled out by measurement or rule; an estimate rules nothing out."""
    return all(entry.evidence not in (ESTIMATED, OPEN) for entry in entries)


def _per_replica(standing: Standing, claim: Claim, found: int | None) -> int:
    """Accelerators of one replica. ``found``: the parallelism as found, which need not be the accelerators."""
    parallelism = standing.candidate.parallelism
    return standing.gpus_per_replica or (claim.per_replica if parallelism == found else parallelism)


def _entry(standing: Standing, claim: Claim, replicas: int, per_replica: int) -> Alternative:
    needed = gpus.needed_rate(claim.required, replicas)
    text, evidence = _ruling(standing, claim, needed)
    return Alternative(
        candidate=standing.candidate.id,
        replicas=replicas,
        gpus=replicas * per_replica,
        ruled_out_by=text[:1024],
        evidence=evidence,
        needed_rps=None if needed is None else gpus.written(needed),
        shown_rps=gpus.written(standing.rate_rps) if standing.rate_rps > 0 else None,
    )


def _ruling(standing: Standing, claim: Claim, needed: float | None) -> Ruling:
    if needed is None:
        spare = claim.required.spare_replicas
        return f"no replica would carry the demand: spec.sizing.spareReplicas asks for {spare} more than do", RULE
    text, evidence = _RULINGS.get(standing.outcome, _by_capacity)(standing, _Asked(needed, claim.slo))
    replayed = evidence == MEASURED and standing.report is not None and standing.report.replayed
    return text, REPLAYED if replayed else evidence


def _no_smaller(names: Sequence[str], claim: Claim) -> Alternative:
    text = (
        f"one replica is the least that serves, and one replica of {', '.join(names)} has no fewer than "
        f"{claim.gpus} accelerators"
    )
    return _rule(NO_SMALLER, text)


def _outside(claim: Claim) -> Alternative:
    return _rule(OUTSIDE, f"spec.search allows {claim.allowed}: nothing else was considered")


def _rule(what: str, text: str) -> Alternative:
    return Alternative(candidate=what, replicas=0, gpus=0, ruled_out_by=text[:1024], evidence=RULE)


def _cut(entries: list[Alternative], room: int) -> list[Alternative]:
    """At most ``room`` entries: those by rule go together into one, and what still does not fit is Open and said."""
    if len(entries) <= room:
        return entries
    ruled = [one for one in entries if one.evidence == RULE]
    kept = [one for one in entries if one.evidence != RULE]
    together = _rule(REST, "; ".join(f"{one.candidate}: {one.ruled_out_by}" for one in ruled))
    kept += [together] if ruled else []
    if len(kept) <= room:
        return kept
    left = len(kept) - room + 1
    text = f"{left} further entries do not fit the status; narrow spec.search"
    return [*kept[: room - 1], _rule(REST, text).model_copy(update={"evidence": OPEN})]


def _by_capacity(standing: Standing, asked: _Asked) -> Ruling:
    needed = asked.needed_rps
    if standing.lost and standing.missed_rps is not None:
        return _missed_certification(standing.lost, standing.missed_rps, needed)
    rate, capacity = standing.rate_rps, standing.capacity
    kind = "certified" if standing.certified else "measured lower bound"
    if rate * (1 + _SAME) >= needed:
        why = f": {standing.lost}" if standing.lost else ""
        text = f"carries {words(rate)} of the {words(needed)} requests/s needed per replica ({kind})"
        return f"{text}, but was not certified{why}", OPEN
    error = f", capacity {words(capacity.rate_rps)} ± {capacity.standard_error:.0%}" if capacity else ""
    text = f"needs {words(needed)} requests/s per replica, {kind} {words(rate)} ({1 - rate / needed:.0%} short{error})"
    if _ceiling(standing) >= needed:
        text += ": its error leaves room for that, but no measurement shows it"
    miss = _lowest_miss(standing, asked.slo)
    return f"{text}; {miss}" if miss else text, MEASURED


def _missed_certification(lost: str, missed: float, needed: float) -> Ruling:
    """Lost by evidence: from the lowest rate that it missed on, no further; at any rate where its engine broke."""
    if needed < missed * (1 - _SAME):
        text = f"{lost}: {words(missed)} requests/s is the lowest rate that was missed"
        return f"{text}; the {words(needed)} needed per replica was not tried", OPEN
    return f"{lost}; {words(needed)} requests/s per replica are needed", MEASURED


def _ceiling(standing: Standing) -> float:
    """The most that one replica may sustain by what was measured: two standard errors above the capacity, never above
    the saturation of an engine that was full; infinite where neither is known.
    """
    capacity, saturation = standing.capacity, standing.saturation_rps or math.inf
    if capacity is None or capacity.bound == "AtLeast":
        return saturation
    return min(saturation, capacity.rate_rps * math.exp(2 * capacity.standard_error))


def _missed(standing: Standing, asked: _Asked) -> Ruling:
    lowest = min(_probes(standing), key=lambda probe: probe.rate_rps, default=None)
    if lowest is None:
        told = f" ({standing.reason})" if standing.reason else ""
        return (
            f"misses the limits at any rate{told}; {words(asked.needed_rps)} requests/s per replica are needed",
            MEASURED,
        )
    told = f"misses the limits at every rate tried: {_violation(lowest, asked.slo)}"
    if asked.needed_rps < lowest.rate_rps * (1 - _SAME):
        return f"{told}; the {words(asked.needed_rps)} needed per replica was not tried", OPEN
    return f"{told}; {words(asked.needed_rps)} requests/s per replica are needed", MEASURED


def _probes(standing: Standing) -> tuple[Probe, ...]:
    reports = (standing.report, standing.certification)
    return tuple(probe for report in reports if report for probe in report.probes)


def _lowest_miss(standing: Standing, slo: Slo) -> str:
    """The lowest rate at which a limit was missed, in words; empty where none was."""
    missed = [probe for probe in _probes(standing) if probe.requests and not stats.holds(probe, slo)]
    lowest = min(missed, key=lambda probe: probe.rate_rps, default=None)
    return _violation(lowest, slo) if lowest else ""


def _violation(probe: Probe, slo: Slo) -> str:
    limits = slo.limits()
    known = [name for name in limits if name in probe.violations]
    if not known:
        return f"overload at {words(probe.rate_rps)} requests/s"
    metric = max(known, key=lambda name: probe.violations[name])
    value = probe.p_ms.get(metric, -1.0)
    shown = f"p{slo.percentile} {value:.4g} ms" if value >= 0 else f"p{slo.percentile} failed"
    return (
        f"{probe.violations[metric]:.1%} of requests above the {metric} limit of {limits[metric]:g} ms "
        f"({shown}) at {words(probe.rate_rps)} requests/s"
    )


def _cannot_beat(standing: Standing, asked: _Asked) -> Ruling:
    needed, bar = asked.needed_rps, standing.bar_rps
    if bar is not None and bar <= needed * 1.001:
        return f"stopped early: cannot reach {words(needed)} requests/s per replica ({standing.reason})", MEASURED
    if standing.report is not None and _ceiling(standing) < needed:
        most = words(_ceiling(standing))
        return f"cannot reach {words(needed)} requests/s per replica: at most {most} was shown", MEASURED
    if bar is None:
        return f"{standing.reason}; {words(needed)} requests/s per replica would do and was not measured", OPEN
    text = f"stopped early against {words(bar)} requests/s per replica"
    return f"{text}; {words(needed)} would do and was not measured", OPEN


def _quality(standing: Standing, _: _Asked) -> Ruling:
    verdict = standing.quality
    if verdict is None:
        return f"{standing.outcome}: {standing.reason}", MEASURED
    figures = (
        f"drop {verdict.drop_points:.2f} points, between {verdict.lower_points:.2f} and {verdict.upper_points:.2f} "
        f"({verdict.asked} questions, {verdict.lost} lost, {verdict.won} won)"
    )
    return (
        f"{'quality falls too far' if standing.outcome == 'FailedQuality' else 'quality not proven'}: {figures}",
        MEASURED,
    )


def _failed(standing: Standing, _: _Asked) -> Ruling:
    return f"{standing.outcome}: {standing.reason}", MEASURED


def _excluded(standing: Standing, _: _Asked) -> Ruling:
    """By a rule or an estimate; what nobody looked at for another reason is not ruled out."""
    return standing.reason, OPEN if standing.unseen else ESTIMATED if standing.estimated else RULE


def _open(standing: Standing, _: _Asked) -> Ruling:
    return standing.reason or "not measured: the search ended before its trial", OPEN


_RULINGS: dict[str, Callable[[Standing, _Asked], Ruling]] = {
    "MissedSLO": _missed,
    "CannotBeat": _cannot_beat,
    "FailedQuality": _quality,
    "Undecided": _quality,
    "EngineFailed": _failed,
    "EngineHung": _failed,
    "Unsupported": _excluded,
    "Void": _open,
    "Pending": _open,
    "Running": _open,
}
