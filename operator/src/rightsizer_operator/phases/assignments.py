"""What Jobs are told to do: assignments with seeds, rates and deadlines. Called by ``measure``, ``choose`` and
``rewrite``.

A restart builds the same assignment again. Deadlines are ordered: a request's < the client's < the pod's < the Job's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rightsizer_jobs.contract import (
    Answers,
    CompressAssignment,
    Deadlines,
    Endpoint,
    EngineKind,
    Measurement,
    Purpose,
    QuestionSet,
    Slo,
    TrialAssignment,
)
from rightsizer_jobs.workload import TraceFacts, TraceFile, Workload
from rightsizer_operator.manifests import jobs
from rightsizer_operator.phases.plan import CALIBRATION_SAMPLES, MAX_SEQUENCE_LENGTH
from rightsizer_operator.resource.base import number
from rightsizer_operator.resource.run import Artefact, Candidate
from rightsizer_operator.resource.spec import InferenceDeploymentSpec, MeasurementSpec
from rightsizer_operator.resource.workload import TraceWorkload, WorkloadSpec
from rightsizer_operator.sizing import budget, fingerprint, patience, verdicts, workload
from rightsizer_operator.world import OptimizationRun

QUESTIONS_S = 3600.0
"""Time for the quality questions, at most."""
MARGIN_S = 300.0
"""For writing records and the report."""
WARMUP_BLOCKS = 6
STEP_ANSWERS = 28
"""Answers, one after the other, that the steps of a trial may last where that is longer than their settings: 8 single
requests, 2 in each warm-up block, 6 in the saturation run, 2 in a ramp."""
MOST_ENDPOINTS = 64
"""That one client measures together; of more new pods so many are verified, with their share of the demand."""
BASELINE_ERROR = 0.05
"""The error at which a baseline's exploration stops, at least: only a candidate that wins is sized by its capacity, and
that is nearly never the baseline."""
BUDGET_PROBES = 12.5
"""Lengths of a probe that a capacity search may take beside its saturation run, ramps included: 13.5 minutes in all by
default."""
QUALITY_PROBE = 100
"""Questions to new pods: enough to see weights that were read wrongly, few enough for pods that serve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """``beat``: below it an exploration may stop. ``hold``: of a certification or verification, over all endpoints
    together.
    """

    beat: float | None = None
    hold: float | None = None


def explore(
    run: OptimizationRun,
    candidate: Candidate,
    attempt: int,
    *,
    bar_rps: float | None,
    questions: bool,
    baseline_answers: Answers | None,
    describe_model: bool = False,
    demand_share_rps: float | None = None,
) -> TrialAssignment:
    """Quality, where it has not been measured yet, and capacity. All candidates share the seed: the same requests,
    the same gaps.
    """
    spec = run.spec.accepted
    return _trial(
        run, "Explore", candidate.id, attempt,
        accelerators=_gpus_beside(run, candidate),
        endpoints=(local_endpoint(run, candidate),),
        seed=fingerprint.seed(run.uid, "explore"),
        rates=Rates(beat=bar_rps),
        questions=_questions(spec, baseline_answers) if questions else None,
        baseline_answers=baseline_answers if questions else None,
        describe_model=describe_model,
        demand_share_rps=demand_share_rps,
        least_error=BASELINE_ERROR if candidate.id in (verdicts.AS_IS, verdicts.ORIGINAL) else 0.0,
    )  # fmt: skip


def certify(
    run: OptimizationRun, candidate: Candidate, attempt: int, rate_rps: float, *, demand_share_rps: float | None = None
) -> TrialAssignment:
    """A fresh start and a new seed at one rate."""
    return _trial(
        run, "Certify", candidate.id, attempt,
        accelerators=_gpus_beside(run, candidate),
        endpoints=(local_endpoint(run, candidate),),
        seed=fingerprint.seed(run.uid, "certify", candidate.id, attempt),
        rates=Rates(hold=rate_rps),
        demand_share_rps=demand_share_rps,
    )  # fmt: skip


def verify(
    run: OptimizationRun,
    subject: str,
    attempt: int,
    endpoints: Sequence[Endpoint],
    rate_rps: float,
    *,
    known_answers: Answers | None,
) -> TrialAssignment:
    """The run's workload against the new pods; with ``known_answers`` first a few questions, to be answered alike."""
    asked = _questions(run.spec.accepted, known_answers).model_copy(update={"max_questions": QUALITY_PROBE})
    return _trial(
        run, "Verify", subject, attempt,
        endpoints=tuple(endpoints),
        seed=fingerprint.seed(run.uid, "verify", subject, attempt),
        rates=Rates(hold=rate_rps),
        questions=asked if known_answers is not None else None,
        baseline_answers=known_answers,
    )  # fmt: skip


def compress(
    run: OptimizationRun, artefact: Artefact, attempt: int, *, deadline_s: float, user: str, keep: Iterable[str]
) -> CompressAssignment:
    """One artefact from the source weights. ``keep``: what a sweep must leave, should the volume run short."""
    return CompressAssignment(
        run_uid=run.uid,
        artefact=artefact.name,
        attempt=attempt,
        recipe=artefact.recipe,
        source_path=_on_volume(run.spec.accepted.model.path),
        source_fingerprint=verdicts.source_fingerprint(run.status.trials),
        target_path=_on_volume(artefact.path),
        calibration_path=_on_volume(calibration) if (calibration := run.spec.accepted.model.calibration_path) else None,
        calibration_samples=CALIBRATION_SAMPLES,
        max_sequence_length=MAX_SEQUENCE_LENGTH,
        deadline_s=deadline_s,
        user=user,
        keep=tuple(sorted(set(keep) - {""})),
    )


def local_endpoint(run: OptimizationRun, candidate: Candidate) -> Endpoint:
    """The engine beside the client in the same pod."""
    return endpoint(run, candidate.engine, "127.0.0.1")


def endpoint(run: OptimizationRun, engine: str, host: str) -> Endpoint:
    kind: EngineKind = "TensorRTLLM" if engine == "TensorRTLLM" else "VLLM"
    address = f"[{host}]" if ":" in host else host
    baseline = run.spec.baseline
    return Endpoint(
        engine=kind, base_url=f"http://{address}:{baseline.port}", served_model_name=baseline.served_model_name
    )


def _trial(
    run: OptimizationRun,
    purpose: Purpose,
    subject: str,
    attempt: int,
    *,
    endpoints: tuple[Endpoint, ...],
    seed: int,
    rates: Rates,
    accelerators: int = 0,
    questions: QuestionSet | None = None,
    baseline_answers: Answers | None = None,
    describe_model: bool = False,
    demand_share_rps: float | None = None,
    least_error: float = 0.0,
) -> TrialAssignment:
    spec = run.spec.accepted
    measurement = measurement_of(spec.search.measurement, purpose)
    measurement = measurement.model_copy(update={"target_error": max(least_error, measurement.target_error)})
    load = _workload(run)
    slo = verdicts.slo_of(spec.slo)
    return TrialAssignment(
        purpose=purpose,
        run_uid=run.uid,
        candidate=subject,
        attempt=attempt,
        seed=seed,
        endpoints=endpoints,
        model_path=_on_volume(spec.model.path),
        # New pods are held to the answers of the run, whatever lies under the path by now.
        source_fingerprint=None if purpose == "Verify" else verdicts.source_fingerprint(run.status.trials),
        workload=load,
        slo=slo,
        measurement=measurement,
        deadlines=deadlines_of(
            spec.search.measurement,
            measurement,
            slo,
            load,
            asks=questions is not None,
            watches=demand_share_rps is not None,
        ),
        questions=questions,
        baseline_answers=baseline_answers,
        max_drop_points=number(spec.quality.max_drop_points),
        confidence_percent=spec.quality.confidence_percent,
        rate_to_beat_rps=rates.beat,
        rate_rps=rates.hold,
        # Serving pods carry the users' traffic as well: both together make the demand.
        top_up=purpose == "Verify",
        demand_share_rps=demand_share_rps,
        describe_model=describe_model,
        accelerators=accelerators,
        records_dir=_on_volume(f"runs/{run.uid}/{purpose.lower()}-{subject}-{attempt}"),
    )


def _workload(run: OptimizationRun) -> Workload:
    load = run.spec.accepted.workload
    if load.trace is not None:
        found = verdicts.trace_facts(run.status.trials)
        return Workload(arrivals="Trace", trace=_trace(load.trace, found), api=load.api)
    return stated_load(load)


def stated_load(load: WorkloadSpec) -> Workload:
    """What is sent for a static workload."""
    assert load.static is not None
    return Workload(
        input_tokens=workload.input_length(load.static),
        output_tokens=workload.output_length(load.static),
        arrivals=load.static.arrivals,
        burstiness=None if load.static.burstiness is None else number(load.static.burstiness),
        api=load.api,
    )


def _trace(trace: TraceWorkload, facts: TraceFacts | None) -> TraceFile:
    """Pinned to what was replayed before, as the questions are."""
    return TraceFile(
        path=_on_volume(trace.path),
        format=trace.format,
        sha256=facts.sha256 if facts is not None else trace.sha256,
        start_s=trace.start_seconds,
        duration_s=trace.duration_seconds,
    )


def _gpus_beside(run: OptimizationRun, candidate: Candidate) -> int:
    """GPUs of the engine in the same pod, whose utilisation the client may see; 0: no NVIDIA GPUs."""
    resource = run.spec.baseline.accelerator_resource or run.spec.accepted.accelerator.resource
    served = candidate.serving
    return served.accelerators if served is not None and resource.startswith("nvidia.com/") else 0


def _questions(spec: InferenceDeploymentSpec, known: Answers | None) -> QuestionSet:
    """Pinned to what was asked before: a file that changes during a run is nobody's failure, and must be named."""
    asked = spec.quality.question_set
    return QuestionSet(path=_on_volume(asked.path), sha256=known.sha256 if known is not None else asked.sha256)


def measurement_of(spec: MeasurementSpec, purpose: Purpose) -> Measurement:
    """The steps' lengths. One clock: what is not set follows from the length of a probe."""
    hold = spec.verification_seconds if purpose == "Verify" else spec.certification_seconds
    return Measurement(
        warmup_block_s=spec.warmup_seconds,
        warmup_max_blocks=WARMUP_BLOCKS,
        saturation_s=spec.saturation_seconds,
        saturation_concurrency=spec.saturation_concurrency,
        probe_s=spec.probe_seconds,
        block_s=verdicts.block_s(spec.probe_seconds),
        max_probes=spec.max_probes,
        target_error=spec.target_error_percent / 100,
        budget_s=spec.saturation_seconds + BUDGET_PROBES * spec.probe_seconds,
        hold_s=hold,
    )


def deadlines_of(
    spec: MeasurementSpec, measurement: Measurement, slo: Slo, load: Workload, *, asks: bool, watches: bool
) -> Deadlines:
    """The client's own: the sum of what its steps may take. The last request may begin when all of that is over."""
    request_s, token_s = patience.allowed(slo)
    longest = patience.longest_output(load.output_tokens)
    answer = request_s + token_s * longest
    steps = STEP_ANSWERS * patience.within_limits_s(slo, longest)
    steps += WARMUP_BLOCKS * measurement.warmup_block_s + max(measurement.budget_s, measurement.hold_s)
    steps += budget.demand_run_s(spec) + answer if watches else 0.0
    quality = QUESTIONS_S if asks else 0.0
    return Deadlines(
        ready_s=spec.ready_seconds,
        first_token_s=spec.first_token_seconds,
        request_s=request_s,
        token_s=token_s,
        total_s=spec.ready_seconds + spec.first_token_seconds + steps + quality + answer + MARGIN_S,
    )


def _on_volume(path: str) -> str:
    return f"{jobs.VOLUME_PATH}/{path}"
