"""Proof of minimality: every plan with fewer accelerators than the proposal, and what rules it out. Called by
``phases.choose``.

One entry speaks of the largest such plan of a candidate: what one plan cannot carry, no smaller one of the same
candidate can.
"""

from collections.abc import Callable, Sequence

from rightsizer_operator.resource.run import Alternative
from rightsizer_operator.sizing import gpus
from rightsizer_operator.sizing.verdicts import Standing

MEASURED, RULE, OPEN = "Measured", "Rule", "Open"
"""Evidence of an entry: measured, excluded by a rule, or not ruled out at all (budget, void trials) and said so."""

Ruling = tuple[str, str]


def proof(
    standings: Sequence[Standing], *, demand_rps: float, proposed_gpus: int, default_per_replica: int
) -> tuple[Alternative, ...]:
    """Entries for every candidate, in order, at most 64. ``default_per_replica``: of candidates that a rule left
    without a serving.
    """
    entries = []
    for standing in standings:
        per_replica = standing.gpus_per_replica or default_per_replica
        replicas = gpus.most_replicas_below(proposed_gpus, per_replica)
        if replicas:
            text, evidence = _ruling(standing, demand_rps, replicas)
            entries.append(
                Alternative(
                    candidate=standing.candidate.id,
                    replicas=replicas,
                    gpus=replicas * per_replica,
                    ruled_out_by=text[:1024],
                    evidence=evidence,
                )
            )
    if not entries:
        text = (
            f"one replica is the least that serves; no candidate has one with fewer than {proposed_gpus} accelerators"
        )
        entries.append(Alternative(candidate="none", replicas=0, gpus=0, ruled_out_by=text, evidence=RULE))
    return tuple(entries[:64])


def complete(entries: Sequence[Alternative]) -> bool:
    """Whether every plan with fewer accelerators is ruled out by measurement or rule."""
    return all(entry.evidence != OPEN for entry in entries)


def _ruling(standing: Standing, demand_rps: float, replicas: int) -> Ruling:
    needed = demand_rps / replicas
    special = _RULINGS.get(standing.outcome)
    if special:
        return special(standing, needed)
    return _by_capacity(standing, needed)


def _by_capacity(standing: Standing, needed: float) -> Ruling:
    if standing.lost:
        return f"{standing.lost}; {needed:.3f} requests/s per replica are needed", MEASURED
    rate, capacity = standing.rate_rps, standing.capacity
    kind = "certified" if standing.certified else "measured lower bound"
    error = f", capacity {capacity.rate_rps:.3f} ± {capacity.standard_error:.0%}" if capacity else ""
    if rate * (1 + 1e-9) < needed:
        short = f"{(1 - rate / needed):.0%} short"
        return f"needs {needed:.3f} requests/s per replica, {kind} {rate:.3f} ({short}{error})", MEASURED
    return f"carries {rate:.3f} of the {needed:.3f} requests/s needed per replica ({kind}), but was not certified", OPEN


def _missed(standing: Standing, needed: float) -> Ruling:
    worst = _worst(standing)
    return f"misses the limits at every rate tried{worst}; {needed:.3f} requests/s per replica are needed", MEASURED


def _worst(standing: Standing) -> str:
    probes = standing.report.probes if standing.report else ()
    lowest = min(probes, key=lambda probe: probe.rate_rps, default=None)
    if lowest is None:
        return f" ({standing.reason})" if standing.reason else ""
    metric = max(lowest.violations, key=lambda name: lowest.violations[name], default=None)
    if metric is None:
        return ""
    return f": {lowest.violations[metric]:.1%} of requests above the {metric} limit at {lowest.rate_rps:.3f} requests/s"


def _cannot_beat(standing: Standing, needed: float) -> Ruling:
    bar = standing.bar_rps
    if bar is None or bar <= needed * 1.001:
        return f"stopped early: cannot reach {needed:.3f} requests/s per replica ({standing.reason})", MEASURED
    return f"stopped early against {bar:.3f} requests/s per replica; {needed:.3f} would do and was not measured", OPEN


def _quality(standing: Standing, _: float) -> Ruling:
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


def _failed(standing: Standing, _: float) -> Ruling:
    return f"{standing.outcome}: {standing.reason}", MEASURED


def _excluded(standing: Standing, _: float) -> Ruling:
    return standing.reason, RULE


def _open(standing: Standing, _: float) -> Ruling:
    return standing.reason or "not measured: the search ended before its trial", OPEN


_RULINGS: dict[str, Callable[[Standing, float], Ruling]] = {
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
