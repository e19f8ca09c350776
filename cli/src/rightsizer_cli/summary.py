"""What ``status`` shows, as frozen values read from the two kinds. Pure, and free of pydantic so that ``status``
starts in an instant.

Reads tolerantly: an object of an older or newer version, or one without a status yet, gives empty fields, never an
error.
"""

from dataclasses import dataclass

from rightsizer_cli.kubectl import Object, pick


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateLine:
    id: str
    outcome: str
    capacity_rps: str = ""
    capacity_error_percent: str = ""
    drop_points: str = ""
    upper_points: str = ""
    gpus: int = 0
    cost_per_million_tokens: str = ""
    evidence: str = ""
    verdict: str = ""
    estimated_rps: str = ""
    rank: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A configuration with its size: what serves, or what is proposed."""

    candidate: str = ""
    replicas: int = 0
    gpus: int = 0
    cost_per_million_tokens: str = ""
    latencies: str = ""
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    namespace: str
    name: str
    target: str
    mode: str
    paused: bool
    slo: str
    demand: str
    phase: str
    activity: str
    stalled: str
    run: str
    trials_used: int
    max_trials: int
    rapid: bool
    gpu_hours: float
    money: str
    remaining: str
    currency: str
    current: Side
    proposal: Side | None
    proposal_hash: str
    proposal_gpus: str
    proposal_cost: str
    proposal_quality: str
    proposal_sizing: str
    approved: bool
    ready: str
    candidates: tuple[CandidateLine, ...]


def summarised(infdep: Object, run: Object | None) -> Summary:
    """An InferenceDeployment and, where it has one, its OptimizationRun."""
    spec, status, search = pick(infdep, "spec", default={}), pick(infdep, "status", default={}), pick(run, "status")
    proposal = pick(status, "proposal", default={})
    return Summary(
        namespace=pick(infdep, "metadata", "namespace"),
        name=pick(infdep, "metadata", "name"),
        target=pick(spec, "targetRef", "name"),
        mode=pick(spec, "updatePolicy", "mode", default="Manual"),
        paused=bool(pick(spec, "paused", default=False)),
        slo=_slo(pick(spec, "slo", default={})),
        demand=_demand(pick(status, "demand", default={}), pick(spec, "workload", default={})),
        phase=pick(status, "phase"),
        activity=pick(status, "activity") or pick(search, "activity"),
        stalled=_message(status, "Stalled", "True"),
        run=pick(status, "runRef", "name"),
        trials_used=pick(search, "trialsUsed", default=0),
        max_trials=pick(spec, "search", "budget", "maxTrials", default=24),
        rapid=pick(run, "spec", "accepted", "search", "strategy") == "Rapid",
        gpu_hours=pick(search, "gpuSeconds", default=0) / 3600,
        money=pick(search, "money"),
        remaining=_remaining(pick(search, "remaining", default={}), pick(spec, "cost", "currency", default="USD")),
        currency=pick(spec, "cost", "currency", default="USD"),
        current=_side(pick(status, "current", default={})),
        proposal=_side(pick(proposal, "configuration", default={})) if proposal else None,
        proposal_hash=pick(proposal, "hash"),
        proposal_gpus=pick(proposal, "gpus"),
        proposal_cost=pick(proposal, "costPerMillionTokens"),
        proposal_quality=pick(proposal, "qualityDropPoints"),
        proposal_sizing=pick(proposal, "sizing"),
        approved=bool(proposal) and pick(spec, "updatePolicy", "approvedProposal") == pick(proposal, "hash"),
        ready=_status_of(status, "Ready"),
        candidates=_candidates(run),
    )


def _status_of(status: Object, type_: str) -> str:
    return str(
        next((pick(c, "status") for c in pick(status, "conditions", default=[]) if pick(c, "type") == type_), "")
    )


def _message(status: Object, type_: str, value: str) -> str:
    for condition in pick(status, "conditions", default=[]):
        if pick(condition, "type") == type_ and pick(condition, "status") == value:
            return f"{pick(condition, 'reason')}: {pick(condition, 'message')}"
    return ""


def _remaining(left: Object, currency: str) -> str:
    """``21 trials, 4.2 GPU hours, until 2026-03-01T18:00:00Z``."""
    if not left:
        return ""
    parts = [f"{pick(left, 'trials', default=0)} trials"]
    parts += [f"{left['gpuHours']} GPU hours"] if "gpuHours" in left else []
    parts += [f"{left['money']} {currency}"] if "money" in left else []
    parts += [f"until {left['deadline']}"] if "deadline" in left else []
    return ", ".join(parts)


def _slo(slo: Object) -> str:
    limits = [f"{name} ≤ {slo[key]} ms" for name in ("ttft", "itl", "tpot", "e2e") if (key := f"{name}Ms") in slo]
    return f"p{pick(slo, 'percentile', default=95)} " + ", ".join(limits) if limits else ""


def _demand(found: Object, workload: Object) -> str:
    """As the operator resolved it; before it has, as it is stated."""
    load = found or pick(workload, "static", default={})
    if not load:
        if "prometheus" in workload:
            return "peak from Prometheus, not read yet"
        return f"the trace {pick(workload, 'trace', 'path')}" if "trace" in workload else ""
    rate, source = pick(load, "requestRate"), pick(load, "source")
    words = [f"{rate} requests/s" if rate else "", source if source != "stated" else ""]
    if pick(load, "inputTokens") and pick(load, "outputTokens"):
        words.append(f"{pick(load, 'inputTokens')} tokens in, {pick(load, 'outputTokens')} out")
    return ", ".join(word for word in words if word)


def _side(found: Object) -> Side:
    latencies = pick(found, "latencies", default={})
    shown = [
        f"{name} {latencies[key]} ms" for name in ("ttft", "itl", "tpot", "e2e") if (key := f"{name}Ms") in latencies
    ]
    return Side(
        candidate=pick(found, "candidate"),
        replicas=pick(found, "replicas", default=0),
        gpus=pick(found, "gpus", default=0),
        cost_per_million_tokens=pick(found, "costPerMillionTokens"),
        latencies=", ".join(shown),
        evidence=pick(found, "evidence"),
    )


def _candidates(run: Object | None) -> tuple[CandidateLine, ...]:
    """In the order of the run's spec, derived ones last, or by rank where estimated; a candidate without an entry in
    the status is Pending, or Unsupported by rule."""
    if run is None:
        return ()
    known = {pick(entry, "id"): entry for entry in pick(run, "status", "candidates", default=[])}
    planned = [*pick(run, "spec", "candidates", default=[]), *pick(run, "status", "derived", default=[])]
    ordered = {pick(candidate, "id"): candidate for candidate in planned}
    lines = [_line(id_, ordered.get(id_, {}), known.get(id_, {})) for id_ in {**ordered, **known}]
    return tuple(
        sorted(lines, key=lambda line: (not line.rank, line.rank)) if any(one.rank for one in lines) else lines
    )


def _line(id_: str, planned: Object, entry: Object) -> CandidateLine:
    excluded = pick(planned, "excluded")
    configuration = pick(entry, "configuration", default={})
    return CandidateLine(
        id=id_,
        outcome=pick(entry, "outcome") or ("Unsupported" if excluded else "Pending"),
        capacity_rps=pick(entry, "capacityRps"),
        capacity_error_percent=pick(entry, "capacityErrorPercent"),
        drop_points=pick(entry, "quality", "dropPoints"),
        upper_points=pick(entry, "quality", "upperPoints"),
        gpus=pick(configuration, "gpus", default=0),
        cost_per_million_tokens=pick(configuration, "costPerMillionTokens"),
        evidence=pick(configuration, "evidence"),
        verdict=pick(entry, "verdict") or excluded,
        estimated_rps=pick(entry, "estimate", "rateRps"),
        rank=pick(entry, "estimate", "rank", default=0),
    )
