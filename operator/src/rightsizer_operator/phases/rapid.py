"""Strategy Rapid: every candidate estimated, nothing started, nothing proposed. Called by ``advance`` for a run of that
strategy instead of measuring and choosing.

Every figure it writes is of evidence class Estimated; there is no way from here to a Job, a proposal or the target.
"""

from dataclasses import dataclass

from rightsizer_operator.phases import estimates
from rightsizer_operator.phases.view import View
from rightsizer_operator.resource import reasons
from rightsizer_operator.resource.base import quantity
from rightsizer_operator.resource.conditions import Condition, find, rfc3339
from rightsizer_operator.resource.run import Candidate, CandidateStatus, Estimate, RunStatus
from rightsizer_operator.resource.status import Configuration, Latencies
from rightsizer_operator.sizing import cost, figures
from rightsizer_operator.sizing.estimate import ranking
from rightsizer_operator.sizing.estimate.questions import Question
from rightsizer_operator.sizing.estimate.ranking import Planned
from rightsizer_operator.sizing.verdicts import ORIGINAL

PHASE = "Estimated"
ONLY = "Rapid estimates only; set spec.search.strategy to Thorough to measure and propose"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run of strategy Rapid says."""

    status: RunStatus
    reason: str
    text: str


def estimated(view: View) -> Result:
    """The run with its estimates; computed once, then kept, but for the prices, which may change."""
    status = view.status
    if status.phase == PHASE and status.candidates:
        entries = tuple(_priced(view, entry) for entry in status.candidates)
        told = find(status.conditions, "Optimized")
        reason = told.reason if told else reasons.ESTIMATES_ONLY
        return Result(status=status.model_copy(update={"candidates": entries}), reason=reason, text=status.activity)
    asked = estimates.question_of(view.run.spec, view.world.settings)
    assert asked is not None  # else it would not have been accepted
    reason, text, entries = _looked_at(view, asked)
    finished, text = rfc3339(view.now), text[:1024]
    told = Condition(type="Optimized", status="Unknown", reason=reason, message=text, last_transition_time=finished)
    update = {
        "efficiencies": view.run.spec.learned,
        "phase": PHASE, "activity": text, "finished_at": finished, "candidates": entries, "conditions": (told,)
    }  # fmt: skip
    return Result(status=status.model_copy(update=update), reason=reason, text=text)


def _looked_at(view: View, asked: Question) -> tuple[str, str, tuple[CandidateStatus, ...]]:
    baseline = view.run.spec.baseline
    beyond = estimates.beyond(baseline)
    able = {one.id: one for one in view.run.spec.candidates if not (one.excluded or beyond or one.id == ORIGINAL)}
    found = ranking.estimated(asked, [estimates.choice_of(one, baseline) for one in able.values()])
    ranks = {plan.choice.id: rank for rank, plan in enumerate((plan for plan in found if plan.gpus), 1)}
    entries = [_entry(view, asked, able[plan.choice.id], plan, ranks.get(plan.choice.id)) for plan in found]
    left_out = [_left_out(one, beyond) for one in view.run.spec.candidates if one.id not in able]
    everything = (*entries, *left_out)
    problem = ranking.unreachable(asked, found)
    if problem is not None:
        text = f"{problem.field}: {problem.problem} (Estimated). {problem.remedy}"
        return reasons.SLO_UNREACHABLE, text, everything
    source = estimates.source_of(asked.gpu, view.world.settings)
    return reasons.ESTIMATES_ONLY, f"{_best(view, everything)}; facts of the {asked.gpu.name}: {source}", everything


def _best(view: View, entries: tuple[CandidateStatus, ...]) -> str:
    first = next((one for one in entries if one.configuration), None)
    if first is None or first.configuration is None:
        return "no candidate is estimated to serve the demand inside the limits: see each one's reason"
    baseline, plan = view.run.spec.baseline, first.configuration
    now = baseline.replicas * baseline.serving.accelerators
    return (
        f"best by estimate: {first.id} on {figures.counted(plan.gpus, 'accelerator')} "
        f"({figures.counted(plan.replicas, 'replica')}), {now} serve now (Estimated)"
    )


def _left_out(candidate: Candidate, beyond: str) -> CandidateStatus:
    if candidate.excluded:
        return CandidateStatus(id=candidate.id, outcome="Unsupported", verdict=candidate.excluded)
    if candidate.id == ORIGINAL:
        said = "what served before the first rewrite: the reference for quality, which is not estimated"
    else:
        said = f"not estimated: the target's flag {beyond} is outside the estimator, it can only be measured"
    return CandidateStatus(id=candidate.id, outcome="Estimated", verdict=said[:1024])


def _entry(view: View, asked: Question, candidate: Candidate, plan: Planned, rank: int | None) -> CandidateStatus:
    room = plan.room
    estimate = Estimate(
        rank=rank,
        method=plan.method,
        rate_rps=quantity(plan.rate_rps) if plan.gpus else None,
        weights_gib=quantity(room.weights_gib, 1) if room else None,
        kv_gib=quantity(room.kv_gib, 1) if room else None,
        kv_tokens=room.kv_tokens if room else None,
        alone=_latencies(plan.alone_ms),
    )
    entry = CandidateStatus(
        id=candidate.id,
        outcome="Estimated",
        verdict=(_sentence(asked, plan, candidate) if plan.gpus else plan.reason)[:1024],
        estimate=estimate,
        configuration=_configuration(asked, candidate, plan) if plan.gpus else None,
    )
    return _priced(view, entry)


def _configuration(asked: Question, candidate: Candidate, plan: Planned) -> Configuration:
    at = asked.demand_rps / plan.replicas if plan.method == "Simulation" else plan.rate_rps
    return Configuration(
        candidate=candidate.id,
        engine=candidate.engine,
        precision=candidate.precision,
        kv_cache=candidate.kv_cache,
        replicas=plan.replicas,
        gpus=plan.replicas * _per_replica(candidate),
        latencies=_latencies(plan.latencies_ms),
        latencies_at_rps=quantity(at),
        utilisation_percent=quantity(100 * asked.demand_rps / (plan.replicas * plan.rate_rps), 1),
        headroom_percent=figures.headroom(asked.demand_rps, plan.replicas * plan.rate_rps),
        evidence="Estimated",
    )


def _per_replica(candidate: Candidate) -> int:
    return candidate.serving.accelerators if candidate.serving else candidate.parallelism


def _sentence(asked: Question, plan: Planned, candidate: Candidate) -> str:
    shown = ", ".join(f"{name} {plan.latencies_ms[name]:.4g} ms" for name in asked.limits_ms)
    size = figures.counted(plan.replicas * _per_replica(candidate), "accelerator")
    where = "at the demand" if plan.method == "Simulation" else "at that rate"
    return (
        f"Estimated by {plan.method.lower()}: {plan.rate_rps:.3g} requests/s per replica, "
        f"{figures.counted(plan.replicas, 'replica')}, {size} for {asked.demand_rps:g} requests/s; "
        f"p{asked.percentile} {where}: {shown}"
    )


def _latencies(found_ms: dict[str, float]) -> Latencies | None:
    if not found_ms:
        return None
    return Latencies(**{f"{metric}_ms": quantity(value, 1) for metric, value in found_ms.items()})


def _priced(view: View, entry: CandidateStatus) -> CandidateStatus:
    """The entry at the price as it is now."""
    plan, estimate = entry.configuration, entry.estimate
    if plan is None or estimate is None or estimate.rate_rps is None:
        return entry
    tokens = view.basis.workload.output_tokens
    hourly = cost.per_hour(plan.gpus, view.basis.gpu_hourly)
    at_rate = plan.replicas * float(estimate.rate_rps) * tokens
    costs = {
        "cost_per_hour": figures.amount(hourly, 4),
        "cost_per_million_tokens": figures.amount(cost.per_million_tokens(hourly, view.basis.demand_rps * tokens), 4),
        "cost_per_million_tokens_at_rate": figures.amount(cost.per_million_tokens(hourly, at_rate), 4),
    }
    return entry.model_copy(update={"configuration": plan.model_copy(update=costs)})
