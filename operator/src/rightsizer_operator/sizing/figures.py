"""Standings as the figures of the two kinds: configurations, quality certificates, verdict sentences. Called by
``phases``.

Every figure that is shown carries its evidence class; what was not measured is left out.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rightsizer_jobs import stats
from rightsizer_jobs.contract import EngineUse, Probe, Slo, TrialReport
from rightsizer_operator.resource.base import number, quantity
from rightsizer_operator.resource.run import CandidateStatus, QualityResult
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.resource.status import Configuration, Demand, Evidence, GpuReading, Latencies, Use
from rightsizer_operator.sizing import cost, gpus, ranking, verdicts
from rightsizer_operator.sizing.gpus import Requirement
from rightsizer_operator.sizing.verdicts import Standing
from rightsizer_operator.sizing.workload import Resolved

NEAR = 0.05
"""A probe within so much of a rate shows how busy an engine is at that rate; it is told with its own."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What figures are computed for: workload and price. ``gpu_hourly`` is None without a price."""

    spec: InferenceDeploymentSpec
    gpu_hourly: str | None
    workload: Resolved
    slots: Mapping[str, int] = field(default_factory=dict)
    """Batch limit by candidate, where its command line states one."""

    @property
    def demand_rps(self) -> float:
        return self.workload.demand_rps

    @property
    def required(self) -> Requirement:
        kept = self.spec.sizing
        return Requirement(self.demand_rps, kept.headroom_percent, kept.spare_replicas)

    @property
    def slo(self) -> Slo:
        return verdicts.slo_of(self.spec.slo)


def headroom(demand_rps: float, sustained_rps: float) -> str | None:
    """What is sustained beyond the demand, in percent of it; negative where it falls short, None where nothing is
    known.
    """
    if demand_rps <= 0 or sustained_rps <= 0:
        return None
    return f"{100 * (sustained_rps / demand_rps - 1):.1f}"


def counted(count: int, noun: str) -> str:
    """``1 replica``, ``2 replicas``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def amount(value: float | None, digits: int = 3) -> str | None:
    """A figure as the status holds it; None stays absent."""
    return None if value is None else quantity(value, digits)


def demand(load: Resolved) -> Demand:
    """The workload in figures, as the status shows it."""
    return Demand(
        request_rate=gpus.written(load.demand_rps) if load.demand_rps else None,
        source=load.source,
        input_tokens=amount(load.input_tokens or None, 1),
        output_tokens=amount(load.output_tokens or None, 1),
        busiest_minute_rate=amount(load.facts.busiest_minute_rps) if load.facts else None,
    )


def latencies(probe: Probe | None) -> Latencies | None:
    """Latencies at the percentile; a metric whose percentile is a failure is left out."""
    if probe is None:
        return None
    known = {metric: quantity(value, 1) for metric, value in probe.p_ms.items() if value >= 0}
    if not known:
        return None
    return Latencies(
        ttft_ms=known.get("ttft"), itl_ms=known.get("itl"), tpot_ms=known.get("tpot"), e2e_ms=known.get("e2e")
    )


def evidence_of(report: TrialReport) -> Evidence:
    """Measured, unless the engine said that it replays recordings: then nothing about it is a measurement."""
    return "Replayed" if report.replayed else "Measured"


def configuration(standing: Standing, basis: Basis, *, engine: str, replicas: int) -> Configuration:
    """A candidate at a number of replicas, with what was measured of it."""
    candidate, total = standing.candidate, replicas * standing.gpus_per_replica
    probe = ranking.nearest_probe(standing)
    hourly = cost.per_hour(total, basis.gpu_hourly)
    tokens = basis.workload.output_tokens
    rate = standing.rate_rps
    return Configuration(
        candidate=candidate.id,
        engine=candidate.engine or engine,
        precision=candidate.precision,
        kv_cache=candidate.kv_cache,
        replicas=replicas,
        gpus=total,
        latencies=latencies(probe),
        latencies_at_rps=gpus.written(probe.rate_rps) if probe else None,
        certified_rps=gpus.written(rate) if standing.certified else None,
        cost_per_hour=amount(hourly, 4),
        cost_per_million_tokens=amount(cost.per_million_tokens(hourly, basis.demand_rps * tokens), 4),
        cost_per_million_tokens_at_rate=amount(cost.per_million_tokens(hourly, replicas * rate * tokens), 4),
        utilisation_percent=amount(100 * basis.demand_rps / (replicas * rate) if replicas and rate > 0 else None, 1),
        headroom_percent=headroom(basis.demand_rps, replicas * rate),
        use=_use_at_rate(standing, basis),
        use_at_demand=_use_at_demand(standing, basis, replicas),
        evidence=evidence_of(standing.report) if standing.report else None,
    )


def _use_at_rate(standing: Standing, basis: Basis) -> Use | None:
    report = (standing.certification if standing.certified else None) or standing.report
    return use(report.use if report else None, standing.gpu_readings, basis.slots.get(standing.candidate.id))


def _use_at_demand(standing: Standing, basis: Basis, replicas: int) -> Use | None:
    """From the run that was nearest to one replica's share of the demand; None where none was near."""
    if not replicas or not basis.workload.known:
        return None
    share = basis.demand_rps / replicas
    reports = (standing.certification, standing.report)
    runs = [one for report in reports if report is not None for one in (report.use_at_demand, report.use)]
    found = nearest(share, (one for one in runs if one is not None))
    return use(found, standing.gpu_readings, basis.slots.get(standing.candidate.id))


def nearest(rate_rps: float, runs: Iterable[EngineUse]) -> EngineUse | None:
    """The run nearest to a rate; None where none is within NEAR of it."""
    found = min(runs, key=lambda one: abs(math.log(max(one.rate_rps, 1e-9) / rate_rps)), default=None)
    return found if found is not None and abs(found.rate_rps / rate_rps - 1) <= NEAR else None


def use(found: EngineUse | None, readings: tuple[GpuReading, ...] = (), slots: int | None = None) -> Use | None:
    """How busy one replica was. ``readings``: what Prometheus told of its GPUs; ``slots``: the batch limit that its
    command line states.
    """
    if found is None:
        return None
    places = found.slots or slots
    taken = None if found.running is None or not places else 100 * found.running / places
    return _with_gpus(
        Use(
            at_rps=quantity(found.rate_rps),
            running=amount(found.running, 1),
            slots=amount(places),
            batch_percent=amount(taken, 1),
            waiting=amount(found.waiting, 1),
            kv_cache_percent=amount(None if found.kv_usage is None else 100 * found.kv_usage, 1),
            gpu_percent=amount(found.gpu_percent, 1),
            gpu_source=None if found.gpu_percent is None else "NVML",
            gpu_not_measured=found.gpu_unseen,
        ),
        next((one for one in readings if abs(number(one.at_rps) - found.rate_rps) < 1e-3), None),
    )


def _with_gpus(seen: Use, reading: GpuReading | None) -> Use:
    """With the GPUs' utilisation from Prometheus, where the client saw none."""
    if reading is None or seen.gpu_percent is not None:
        return seen
    if reading.gpu_percent is None:
        why = "; ".join(part for part in (seen.gpu_not_measured, reading.not_read) if part)
        return seen.model_copy(update={"gpu_not_measured": why[:256], "gpu_query": reading.query})
    return seen.model_copy(
        update={
            "gpu_percent": reading.gpu_percent,
            "gpu_source": "DCGM",
            "tensor_percent": reading.tensor_percent,
            "dram_percent": reading.dram_percent,
            "gpu_query": reading.query,
            "gpu_not_measured": "",
        }
    )


def quality_result(verdict: stats.QualityVerdict | None, set_sha256: str) -> QualityResult | None:
    """The quality certificate."""
    if verdict is None:
        return None
    return QualityResult(
        asked=verdict.asked,
        lost=verdict.lost,
        won=verdict.won,
        drop_points=f"{verdict.drop_points:.2f}",
        lower_points=f"{verdict.lower_points:.2f}",
        upper_points=f"{verdict.upper_points:.2f}",
        set_sha256=set_sha256,
    )


def candidate_status(standing: Standing, basis: Basis, *, set_sha256: str, verdict: str) -> CandidateStatus:
    """One entry of the run's table."""
    capacity, saturation = standing.capacity, standing.saturation_rps
    planned = standing.rate_rps > 0 and basis.demand_rps > 0
    return CandidateStatus(
        id=standing.candidate.id,
        outcome=standing.outcome,
        verdict=verdict[:1024],
        attempts=standing.attempts,
        quality=quality_result(standing.quality, set_sha256),
        capacity_rps=gpus.written(capacity.rate_rps) if capacity else None,
        capacity_error_percent=quantity(100 * capacity.standard_error, 1) if capacity else None,
        saturation_rps=gpus.written(saturation) if saturation else None,
        configuration=configuration(
            standing,
            basis,
            engine=standing.candidate.engine,
            replicas=gpus.replicas_for(basis.required, standing.rate_rps),
        )
        if planned
        else None,
    )


def verdict_sentence(standing: Standing, basis: Basis) -> str:
    """Why a candidate stands where it stands, with figures; the winner's sentence is written by ``choose``."""
    if standing.outcome == "Pending":
        return standing.reason
    if standing.outcome in ("FailedQuality", "Undecided") and standing.quality:
        return _quality_sentence(standing, basis)
    if standing.outcome != "Succeeded":
        return standing.reason
    if standing.lost:
        return standing.lost
    kind = "certified" if standing.certified else "at least"
    if not basis.workload.known:
        return f"{kind} {gpus.words(standing.rate_rps)} requests/s per replica; the demand is not known"
    plan = ranking.plan_of(standing, basis.required)
    return (
        f"{kind} {gpus.words(standing.rate_rps)} requests/s per replica: {counted(plan.replicas, 'replica')}, "
        f"{counted(plan.gpus, 'accelerator')} "
        f"for {load_words(basis.required)}"
    )


def load_words(required: Requirement) -> str:
    """The demand with what is kept free: ``7.5 requests/s``, ``7.5 requests/s with 20 % headroom and 1 spare
    replica``.
    """
    kept = [f"{required.headroom_percent:g} % headroom"] if required.headroom_percent else []
    kept += [counted(required.spare_replicas, "spare replica")] if required.spare_replicas else []
    return f"{required.demand_rps:g} requests/s{' with ' if kept else ''}{' and '.join(kept)}"


def size_words(required: Requirement, rate_rps: float, replicas: int) -> str:
    """How the number of replicas follows from demand, headroom, spare replicas and the rate of one."""
    carrying = required.carrying(replicas)
    load = f"{required.carried_rps:g} requests/s"
    if required.headroom_percent:
        load += f" ({required.demand_rps:g} and {required.headroom_percent:g} % headroom)"
    spare = f", {required.spare_replicas} more spare" if required.spare_replicas else ""
    carry = f"{counted(carrying, 'replica')} {'carries' if carrying == 1 else 'carry'}"
    return f"{carry} {load} at {rate_rps:g} each{spare}"


def _quality_sentence(standing: Standing, basis: Basis) -> str:
    verdict = standing.quality
    assert verdict is not None
    allowed, confidence = basis.spec.quality.max_drop_points, basis.spec.quality.confidence_percent
    text = (
        f"{verdict.asked} questions: drop {verdict.drop_points:.2f} points, {confidence} % bounds "
        f"{verdict.lower_points:.2f} to {verdict.upper_points:.2f}, {allowed} allowed"
    )
    if standing.outcome == "FailedQuality":
        return text
    return f"{text}: neither proven nor refuted, more questions are needed"
