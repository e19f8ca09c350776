"""The real search over the engine model on virtual time: the steps of ``rightsizer_jobs.trial.run``, with the same pure
functions, and seconds that nobody waits for.
"""

import math
from dataclasses import dataclass
from itertools import takewhile

from benchmarks.oracle.cases import Case
from benchmarks.oracle.engine import alone, closed_loop, open_loop
from rightsizer_jobs.contract import Capacity, Measurement, Probe, Saturation, TrialOutcome
from rightsizer_jobs.loadgen.arrivals import NANOSECONDS
from rightsizer_jobs.loadgen.metrics import summarise
from rightsizer_jobs.trial import probing, search, steps
from rightsizer_jobs.trial.saturation import saturation

DEADLINE_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Explored:
    """What a search found and what it cost; ``engine_s`` counts from ready."""

    outcome: TrialOutcome
    reason: str
    engine_s: float
    saturation: Saturation | None = None
    probes: tuple[Probe, ...] = ()
    capacity: Capacity | None = None


def explore(
    case: Case,
    *,
    seed: int,
    measurement: Measurement,
    rate_to_beat_rps: float | None = None,
    deadline_s: float = DEADLINE_S,
) -> Explored:
    """Sanity, warm-up, saturation, probes until ``search.decide`` ends it."""
    idle, spent = _idle(case, seed, measurement)
    if missing := steps.idle_misses(idle, case.slo):
        return Explored(outcome="MissedSLO", reason=missing, engine_s=spent)
    answer_s = idle["e2e"] / 1000
    spent += _warm_up(case, seed, measurement, answer_s)
    began = spent
    saturated: Saturation | None = None
    probes: list[Probe] = []
    while True:
        situation = search.Situation(
            probes=tuple(probes),
            saturation=saturated,
            slo=case.slo,
            measurement=measurement,
            spent_s=spent - began,
            left_s=deadline_s - spent - 3 * answer_s,
            rate_to_beat_rps=rate_to_beat_rps,
            answer_s=answer_s,
            idle_tpot_ms=idle.get("tpot", 0.0),
        )
        step = search.decide(situation)
        if isinstance(step, search.Done):
            return Explored(
                outcome=step.outcome, reason=step.reason, engine_s=spent, saturation=saturated,
                probes=tuple(probes), capacity=step.capacity,
            )  # fmt: skip
        if isinstance(step, search.Saturate):
            saturated = _saturation(case, seed, step, saturated)
            spent += step.seconds
            continue
        probe, seconds = run_at(
            case, step.rate_rps, seed=search.probe_seed(seed, len(probes) + 1),
            ramp_s=situation.ramp_s, measured_s=step.seconds, block_s=measurement.block_s, idle_ttft_ms=idle["ttft"],
        )  # fmt: skip
        probes.append(probe)
        spent += seconds


def certify(case: Case, rate_rps: float, *, seed: int, measurement: Measurement) -> tuple[Probe, float]:
    """One rate held on a fresh start: the probe and the engine seconds from ready."""
    idle, spent = _idle(case, seed, measurement)
    answer_s = idle["e2e"] / 1000
    spent += _warm_up(case, seed, measurement, answer_s)
    probe, seconds = run_at(
        case, rate_rps, seed=seed, ramp_s=search.ramp_seconds(measurement, measurement.hold_s, answer_s),
        measured_s=measurement.hold_s, block_s=measurement.block_s, idle_ttft_ms=idle["ttft"],
    )  # fmt: skip
    return probe, spent + seconds


def run_at(
    case: Case,
    rate_rps: float,
    *,
    seed: int,
    ramp_s: float,
    measured_s: float,
    block_s: float,
    idle_ttft_ms: float,
) -> tuple[Probe, float]:
    """One open-loop run, watched for overload as a real one is; the probe and the seconds until its last answer.

    ``seed``: of the requests and their gaps.
    """
    until_s = ramp_s + measured_s
    lead = takewhile(lambda one: one.at < until_s, case.demand.arrivals(rate_rps, seed, balance=True))
    bursts = [round(one.at * NANOSECONDS) for one in lead] if case.demand.bursty else ()
    limit = probing.queue_limit(rate_rps, case.slo, idle_ttft_ms, bursts)
    run = open_loop(
        case.shape,
        case.demand.arrivals(rate_rps, seed, balance=True),
        ramp_s=ramp_s,
        measured_s=measured_s,
        watch=probing.overload_watch(rate_rps, limit),
    )
    probe = summarise(
        run.records, run.window, rate_rps=rate_rps, slo=case.slo, block_s=block_s, aborted=bool(run.stopped),
        balanced=True,
    )  # fmt: skip
    last = max((record.exchange.chunks_ns[-1] for record in run.records if record.exchange.chunks_ns), default=0) / 1e9
    return probe, run.window.seconds if run.stopped else max(last, ramp_s + measured_s)


def _idle(case: Case, seed: int, measurement: Measurement) -> tuple[dict[str, float], float]:
    records = alone(case.shape, case.demand.lengths(seed), measurement.sanity_requests)
    return dict(steps.idle_figures(records)), sum(record.exchange.chunks_ns[-1] for record in records) / 1e9


def _warm_up(case: Case, seed: int, measurement: Measurement, answer_s: float) -> float:
    """Two blocks at least; an engine model is always warm, but two blocks may differ by their lengths."""
    before, block_s = math.nan, search.warm_up_seconds(measurement, answer_s)
    for number in range(measurement.warmup_max_blocks):
        lengths = case.demand.lengths(seed + number)
        run, _ = closed_loop(case.shape, lengths, concurrency=steps.WARM_CONCURRENCY, seconds=block_s)
        pace = steps.pace_ms(run.records)
        if abs(pace - before) < steps.WARM_CHANGE * max(pace, before):
            return (number + 1) * block_s
        before = pace
    return measurement.warmup_max_blocks * block_s


def _saturation(case: Case, seed: int, wanted: search.Saturate, before: Saturation | None) -> Saturation:
    run, waiting = closed_loop(
        case.shape, case.demand.lengths(seed), concurrency=wanted.concurrency, seconds=wanted.seconds
    )
    return saturation(
        run.records,
        run.window,
        concurrency=wanted.concurrency,
        mean_output_tokens=case.demand.output_tokens.mean,
        waiting=waiting,
        slo=case.slo,
        before=before,
    )
