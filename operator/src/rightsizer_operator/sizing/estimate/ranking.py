"""Every candidate with its fit, its rate, its accelerators and its cost, best first. Called by ``rightsizer plan`` and
by ``phases`` for a run of strategy Rapid.

All are looked at by roofline, the best by simulation; what was only looked at says so, and needs no fewer accelerators
than the first. Every figure is ``Estimated``.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rightsizer_operator.sizing import cost, gpus
from rightsizer_operator.sizing.estimate import batching, capacity, memory, questions, rows, steps, tables
from rightsizer_operator.sizing.estimate.capacity import Estimate
from rightsizer_operator.sizing.estimate.failures import DoesNotFit, NotEstimable
from rightsizer_operator.sizing.estimate.memory import Memory
from rightsizer_operator.sizing.estimate.questions import Choice, Question
from rightsizer_operator.sizing.verdicts import AS_IS

SIMULATED = 20
"""How many of the best by roofline are simulated at least, beside the target as it is."""
EVIDENCE = "Estimated"
MORE = "allow more GPUs per replica or faster ones"
FIT = "does not fit"
"""How the reason begins where memory is short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One candidate. Ranked where ``gpus`` is set; else ``reason`` says what excludes it."""

    choice: Choice
    method: str = ""
    """Simulation or Roofline; empty: excluded before either."""
    reason: str = ""
    room: Memory | None = None
    rate_rps: float = 0.0
    """Largest rate of one replica inside the limits."""
    replicas: int = 0
    gpus: int = 0
    latencies_ms: dict[str, float] = field(default_factory=dict)
    """At the percentile, at the demand's share of one replica (by roofline: at the largest rate)."""
    alone_ms: dict[str, float] = field(default_factory=dict)
    cost_per_hour: float | None = None
    cost_per_million_tokens: float | None = None
    """Of output tokens, at the demand."""
    evidence: str = EVIDENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Engine:
    """A candidate that fits, ready to be asked."""

    choice: Choice
    clock: steps.StepClock
    limits: batching.Limits
    room: Memory
    alone: Estimate


def ranked(asked: Question, simulated: int = SIMULATED) -> tuple[Planned, ...]:
    """All combinations of levers: simulated ones, best first, then those by roofline, then excluded ones.

    Raises NotEstimable where requests are longer than the model's context, or where the limits are below what one
    request alone needs on the fastest candidate.
    """
    found = estimated(asked, questions.choices(asked), simulated)
    problem = unreachable(asked, found)
    if problem is not None:
        raise problem
    return found


def estimated(asked: Question, choices: Iterable[Choice], simulated: int = SIMULATED) -> tuple[Planned, ...]:
    """The same of the choices given; raises nothing."""
    ready, out = _sorted_out(asked, choices)
    looked = [(engine, capacity.roofline(engine.clock, engine.limits, asked)) for engine in ready]
    quick = sorted((_by_roofline(asked, engine, found) for engine, found in looked), key=_order)
    done = _simulated(asked, {engine.choice.id: engine for engine in ready}, quick, simulated)
    precise = sorted((plan for plan in done if plan.method == "Simulation" and plan.gpus), key=_order)
    others = sorted((plan for plan in done if plan.method != "Simulation" or not plan.gpus), key=_order)
    return (*precise, *others, *out)


def _simulated(asked: Question, engines: Mapping[str, _Engine], quick: Sequence[Planned], most: int) -> list[Planned]:
    """The plans by roofline, best first, with those replaced that are simulated: the target as it is, the first ones,
    and further ones as long as one shows fewer accelerators than the best simulated plan, which may be none yet."""
    done, best = [], math.inf
    order = sorted(range(len(quick)), key=lambda rank: quick[rank].choice.id != AS_IS)
    for rank in order:
        plan, own = quick[rank], quick[rank].choice.id == AS_IS
        if plan.gpus and (own or rank < most or plan.gpus < best):
            plan = _by_simulation(asked, engines[plan.choice.id], plan)
            best = min(best, plan.gpus or math.inf)
        done.append(plan)
    return done


def _sorted_out(asked: Question, choices: Iterable[Choice]) -> tuple[list[_Engine], list[Planned]]:
    ready, out = [], []
    for choice in choices:
        rule = questions.rule_against(asked, choice)
        if rule:
            out.append(Planned(choice=choice, reason=rule))
            continue
        try:
            engine = _engine(asked, choice)
        except DoesNotFit as problem:
            out.append(Planned(choice=choice, reason=f"{FIT}: {problem}"))
            continue
        metric = capacity.missed(asked, engine.alone.latencies_ms)
        if metric:
            out.append(_too_slow(asked, engine, metric))
        else:
            ready.append(engine)
    return ready, out


def _engine(asked: Question, choice: Choice) -> _Engine:
    configuration = questions.configured(asked, choice)
    of = tables.efficiencies(choice.engine, asked.gpu.name, asked.efficiencies)
    request = asked.input_tokens + asked.output_tokens
    room = memory.memory(configuration, request)
    clock = steps.clock(configuration, of)
    tokens = rows.cache_tokens(asked.model, room.kv_tokens, request)
    limits = batching.limits(configuration.rules, of, tokens, choice.max_num_seqs)
    return _Engine(choice=choice, clock=clock, limits=limits, room=room, alone=capacity.alone(clock, limits, asked))


def _too_slow(asked: Question, engine: _Engine, metric: str) -> Planned:
    needs, limit = engine.alone.latencies_ms[metric], asked.limits_ms[metric]
    return Planned(
        choice=engine.choice,
        room=engine.room,
        alone_ms=engine.alone.latencies_ms,
        reason=f"one request alone needs {needs:.4g} ms {metric}, {limit:g} ms allowed",
    )


def latencies_at(asked: Question, choice: Choice, rate_rps: float) -> dict[str, float] | None:
    """Latencies at the percentile of one replica at a rate, milliseconds by metric; None where it cannot run."""
    if questions.rule_against(asked, choice):
        return None
    try:
        engine = _engine(asked, choice)
    except DoesNotFit:
        return None
    return capacity.simulate(engine.clock, engine.limits, asked, rate_rps).latencies_ms


def unreachable(asked: Question, found: Sequence[Planned]) -> NotEstimable | None:
    """Where requests exceed the model's context, or no candidate serves even one alone inside the limits: the field at
    fault. None where one does, or none fits."""
    if problem := questions.beyond_context(asked):
        return problem
    alone = [plan.alone_ms for plan in found if plan.alone_ms]
    if not alone or any(not capacity.missed(asked, latencies) for latencies in alone):
        return None
    for metric, limit in asked.limits_ms.items():
        fastest = min(latencies[metric] for latencies in alone)
        if fastest > limit:
            return NotEstimable(
                f"spec.slo.{metric}Ms",
                f"{limit:g} ms is below what one request alone needs on the fastest candidate ({fastest:.4g} ms)",
                f"Allow at least {math.ceil(fastest)} ms, shorten the request, or {MORE}.",
            )
    return NotEstimable(
        "spec.slo", "no candidate meets all limits together, not even for one request alone",
        f"Relax a limit, or {MORE}.",
    )  # fmt: skip


def _by_roofline(asked: Question, engine: _Engine, found: Estimate | None) -> Planned:
    if found is None:
        said = "holds the limits for a single request only: no rate above zero does"
        return Planned(
            choice=engine.choice, method="Roofline", reason=said, room=engine.room, alone_ms=engine.alone.latencies_ms
        )
    return _plan(asked, engine, "Roofline", found.rate_rps, found.latencies_ms)


def _by_simulation(asked: Question, engine: _Engine, quick: Planned) -> Planned:
    found = capacity.simulated(engine.clock, engine.limits, asked, quick.rate_rps)
    if found is None:
        return Planned(
            choice=engine.choice, method="Simulation", room=engine.room, alone_ms=engine.alone.latencies_ms,
            reason=f"misses the limits at {quick.rate_rps / 20:.3g} requests/s already",
        )  # fmt: skip
    replicas = gpus.replicas_for(asked.required, found.rate_rps)
    at_demand = capacity.simulate(engine.clock, engine.limits, asked, asked.demand_rps / replicas)
    return _plan(asked, engine, "Simulation", found.rate_rps, at_demand.latencies_ms)


def _plan(asked: Question, engine: _Engine, method: str, rate: float, latencies: dict[str, float]) -> Planned:
    replicas = gpus.replicas_for(asked.required, rate)
    total = replicas * engine.choice.parallelism
    hourly = cost.per_hour(total, asked.gpu_hourly)
    return Planned(
        choice=engine.choice,
        method=method,
        room=engine.room,
        rate_rps=rate,
        replicas=replicas,
        gpus=total,
        latencies_ms=latencies,
        alone_ms=engine.alone.latencies_ms,
        cost_per_hour=hourly,
        cost_per_million_tokens=cost.per_million_tokens(hourly, asked.demand_rps * asked.output_tokens),
    )


def _order(plan: Planned) -> tuple[float, ...]:
    """Fewest accelerators first, then the most headroom per accelerator, then the simplest change."""
    if not plan.gpus:
        return (1.0, 0.0, 0.0, 0.0)
    return (0.0, plan.gpus, -float(f"{plan.rate_rps / plan.choice.parallelism:.4g}"), len(plan.choice.id))
