"""``OptimizationRun``: one search. Spec: frozen inputs, immutable. Status: every trial's report, a verdict per
candidate, the decision. ``phases`` makes and reads it, ``cluster`` stores it.

Trials are append-only with the report as it came; everything else in the status is computed from them, so a restart
loses nothing.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from rightsizer_operator.resource.base import Flag, Quantity, Resource, Sentence, Whole
from rightsizer_operator.resource.conditions import Condition
from rightsizer_operator.resource.rules import Rule, Unique
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.resource.status import Configuration, GpuReading, Latencies, PeakReading

Short = Annotated[str, Field(max_length=63)]
Words = Annotated[tuple[Annotated[str, Field(max_length=4096)], ...], Field(max_length=256)]

Outcome = Literal[
    "Pending",
    "Running",
    "Succeeded",
    "MissedSLO",
    "FailedQuality",
    "Undecided",
    "CannotBeat",
    "EngineFailed",
    "EngineHung",
    "Void",
    "Unsupported",
    "Estimated",
]


class EnvVar(Resource):
    name: Annotated[str, Field(max_length=256)] = Field(description="Name.")
    value: Annotated[str, Field(max_length=4096)] = Field(default="", description="Literal value.")


class Serving(Resource):
    """The closed field list of one container: what is measured is what is deployed."""

    image: Annotated[str, Field(max_length=512)] = Field(description="Image of the engine container.")
    command: Words = Field(default=(), description="Command.")
    args: Words = Field(default=(), description="Arguments.")
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64), Unique("name")] = Field(
        default=(), description="Named variables with literal values that a candidate sets."
    )
    accelerators: Whole = Field(default=1, ge=0, le=64, description="Accelerators of one replica.")
    cpu_request: Annotated[str, Field(max_length=32)] = Field(default="", description="CPU request, as found.")
    cpu_limit: Annotated[str, Field(max_length=32)] = Field(default="", description="CPU limit, as found.")
    memory_request: Annotated[str, Field(max_length=32)] = Field(default="", description="Memory request, as found.")
    memory_limit: Annotated[str, Field(max_length=32)] = Field(default="", description="Memory limit, as found.")
    artefact: Short = Field(
        default="",
        description="Artefact on the model volume that is mounted read-only; empty: the baseline's own weights.",
    )
    engine_config: Annotated[str, Field(max_length=4096)] = Field(
        default="",
        description="TensorRT-LLM settings that have no flag, as YAML; written as a pod annotation, mounted as a file.",
    )


class Baseline(Resource):
    """The target as found. Values outside the closed list only as names and hashes."""

    target_uid: Short = Field(description="UID of the target.")
    container: Short = Field(description="The engine container.")
    engine: Annotated[str, Field(max_length=32)] = Field(description="Engine that serves.")
    served_model_name: Annotated[str, Field(max_length=256)] = Field(
        description="Name the API answers to; kept by every candidate."
    )
    port: Whole = Field(ge=1, le=65535, description="Port of the engine's API.")
    replicas: Whole = Field(ge=0, description="Replicas as found.")
    replicas_managed_by: Annotated[str, Field(max_length=253)] = Field(
        default="", description="HPA or ScaledObject that owns the replicas; empty: nobody."
    )
    serving: Serving = Field(description="The closed field list as found.")
    hash: Short = Field(description="Hash of the serving fields and replicas.")
    template_hash: Short = Field(description="Hash of the whole pod template.")
    model_claim: Annotated[str, Field(max_length=253)] = Field(
        default="", description="Claim of the model volume, from the accepted spec."
    )
    accelerator_resource: Annotated[str, Field(max_length=128)] = Field(
        default="", description="Extended resource that counts accelerators, from the accepted spec."
    )


class Batching(Resource):
    """Batching settings beside the batch limit; an absent one is as the baseline or the engine has it."""

    max_num_batched_tokens: Whole | None = Field(default=None, ge=1, description="Tokens of one step, at most.")
    chunked_prefill: Flag | None = Field(default=None, description="Whether long prompts are cut into chunks.")
    memory_percent: Whole | None = Field(
        default=None, ge=1, le=99, description="Share of the accelerator's memory (TensorRT-LLM: of what is free)."
    )
    graph_size: Whole | None = Field(default=None, ge=1, description="Largest batch with a captured CUDA graph.")


class Candidate(Resource):
    """One complete serving configuration."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9\-]*$", max_length=40)] = Field(
        description="Readable id, unique in the run."
    )
    engine: Annotated[str, Field(max_length=32)] = Field(description="Engine.")
    precision: Annotated[str, Field(max_length=32)] = Field(description="Weight format.")
    kv_cache: Annotated[str, Field(max_length=32)] = Field(default="Auto", description="KV-cache type.")
    parallelism: Whole = Field(default=1, ge=1, le=64, description="Tensor parallelism.")
    max_num_seqs: Whole | None = Field(default=None, ge=1, description="Batch limit; absent: as the baseline has it.")
    batching: Batching | None = Field(default=None, description="Further batching settings; absent: as found.")
    parent: Annotated[str, Field(max_length=40)] = Field(default="", description="Candidate it was derived from.")
    serving: Serving | None = Field(
        default=None, description="What would be deployed; absent where the candidate is excluded."
    )
    excluded: Sentence = Field(
        default="", description="Rule that excludes it before any trial; empty: it may be tried."
    )


class Efficiency(Resource):
    """What measured trials taught about one engine on one accelerator. Factors: geometric mean over the trials of
    measured over estimated time.
    """

    engine: Annotated[str, Field(max_length=32)] = Field(description="Engine.")
    accelerator: Short = Field(description="Accelerator, as the estimator's table names it.")
    prompt_factor: Quantity = Field(default="1", description="On reading prompts, from the time to first token.")
    prompt_count: Whole = Field(default=0, ge=0, description="Trials behind it.")
    prompt_spread: Quantity | None = Field(default=None, description="Standard deviation of its logarithm.")
    decode_factor: Quantity = Field(default="1", description="On decoding, from the time of an output token.")
    decode_count: Whole = Field(default=0, ge=0, description="Trials behind it.")
    decode_spread: Quantity | None = Field(default=None, description="Standard deviation of its logarithm.")


Efficiencies = Annotated[tuple[Efficiency, ...], Field(max_length=8), Unique("engine")]


class RunSpec(Resource):
    inference_deployment: Short = Field(description="Name of the InferenceDeployment.")
    generation: Whole = Field(description="Generation of the accepted spec.")
    fingerprint: Short = Field(description="Hash of the inputs.")
    generator_version: Whole = Field(description="Version of the candidate generator and of the fingerprint.")
    attempt: Whole = Field(default=1, ge=1, description="Counts runs with the same fingerprint.")
    accepted: InferenceDeploymentSpec = Field(description="Copy of the accepted spec.")
    accelerator_type: Short = Field(default="", description="Accelerator product; empty: unknown.")
    gpu_hourly: Quantity | None = Field(
        default=None, description="Price of one accelerator hour; absent: no price known."
    )
    peak: PeakReading | None = Field(
        default=None,
        description="The peak demand as it was read, where the workload asks Prometheus for it: `accepted` then states "
        "it as a static workload.",
    )
    baseline: Baseline = Field(description="The target as found.")
    candidates: Annotated[tuple[Candidate, ...], Field(max_length=64), Unique("id")] = Field(
        description="Base candidates, in order of trial."
    )
    learned: Efficiencies = Field(default=(), description="What earlier runs taught; this run's estimates use it.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(cel="self == oldSelf", message="is immutable: change the InferenceDeployment, which starts a new run"),
    )


class TrialRecord(Resource):
    """One finished Job with its report as it came."""

    job: Short = Field(description="Name of the Job.")
    purpose: Literal["Compress", "Explore", "Certify", "Verify"] = Field(description="What the Job was for.")
    subject: Short = Field(description="Candidate or artefact.")
    attempt: Whole = Field(ge=1, description="Attempt.")
    outcome: Annotated[str, Field(max_length=32)] = Field(
        description="Outcome the operator recorded; its own observation overrules the report."
    )
    reason: Sentence = Field(default="", description="Why.")
    report: Annotated[str, Field(max_length=4096)] = Field(
        default="", description="The Job's report, JSON, as it came; empty where there was none."
    )
    log_tail: Annotated[str, Field(max_length=2048)] = Field(
        default="", description="Last lines of the engine's log, where they could be had."
    )
    rate_rps: Quantity | None = Field(
        default=None, description="Rate to beat (Explore) or rate held (Certify, Verify), requests a second."
    )
    gpu_readings: Annotated[tuple[GpuReading, ...], Field(max_length=2)] = Field(
        default=(), description="Utilisation of its GPUs from Prometheus, where the client could not see them."
    )
    gpu_seconds: Whole = Field(default=0, ge=0, description="Accelerator seconds used, from pod start.")
    started_at: Annotated[str, Field(max_length=32)] = Field(default="", description="Pod start.")
    finished_at: Annotated[str, Field(max_length=32)] = Field(default="", description="When the result was recorded.")

    # Not `self == oldSelf`: a newer operator writes fields that an older record lacks.
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.outcome == oldSelf.outcome && "
            "(!has(oldSelf.report) || (has(self.report) && self.report == oldSelf.report))",
            message="the outcome and report of a finished trial are never rewritten",
        ),
    )


class QualityResult(Resource):
    asked: Whole = Field(ge=0, description="Questions asked of both.")
    lost: Whole = Field(ge=0, description="Right on the baseline, wrong on the candidate.")
    won: Whole = Field(ge=0, description="Wrong on the baseline, right on the candidate.")
    drop_points: Annotated[str, Field(max_length=16)] = Field(
        description="Drop in percentage points; negative: better."
    )
    lower_points: Annotated[str, Field(max_length=16)] = Field(description="One-sided lower bound of the drop.")
    upper_points: Annotated[str, Field(max_length=16)] = Field(description="One-sided upper bound of the drop.")
    set_sha256: Annotated[str, Field(max_length=64)] = Field(description="Digest of the question set.")


class Estimate(Resource):
    """What was computed of a candidate, of evidence class Estimated throughout."""

    rank: Whole | None = Field(default=None, ge=1, description="Place among the estimated plans; absent: out.")
    method: Annotated[str, Field(max_length=16)] = Field(
        default="", description="Simulation, Roofline, or empty: out before either."
    )
    rate_rps: Quantity | None = Field(
        default=None, description="Largest rate of one replica within the limits, requests a second."
    )
    weights_gib: Quantity | None = Field(default=None, description="Weights on one accelerator, GiB.")
    kv_gib: Quantity | None = Field(default=None, description="Left for the KV cache on one accelerator, GiB.")
    kv_tokens: Whole | None = Field(default=None, ge=0, description="Tokens that the KV cache of one replica holds.")
    alone: Latencies | None = Field(default=None, description="One request on an idle engine, milliseconds.")


class CandidateStatus(Resource):
    id: Annotated[str, Field(max_length=40)] = Field(description="Candidate.")
    outcome: Outcome = Field(default="Pending", description="Where it stands.")
    verdict: Sentence = Field(default="", description="Why it won, lost or was never tried.")
    attempts: Whole = Field(default=0, ge=0, description="Trials so far.")
    quality: QualityResult | None = Field(default=None, description="Quality certificate.")
    capacity_rps: Quantity | None = Field(default=None, description="Capacity of one replica, requests a second.")
    capacity_error_percent: Quantity | None = Field(
        default=None, description="Relative standard error of the capacity."
    )
    saturation_rps: Quantity | None = Field(
        default=None, description="Closed-loop saturation, requests a second; none where the engine still had room."
    )
    configuration: Configuration | None = Field(default=None, description="Plan for the demand and its figures.")
    estimate: Estimate | None = Field(default=None, description="What was computed instead of measured.")


class Artefact(Resource):
    name: Short = Field(description="Content address: model, recipe, tool version, calibration set.")
    recipe: Short = Field(description="Recipe.")
    path: Annotated[str, Field(max_length=512)] = Field(description="Directory on the model volume.")
    state: Literal["Pending", "Running", "Ready", "Failed"] = Field(description="Where it stands.")
    sha256: Annotated[str, Field(max_length=64)] = Field(default="", description="Digest of its files.")
    size_bytes: Whole = Field(default=0, ge=0, description="Size.")
    reason: Sentence = Field(default="", description="Why it failed.")


class Alternative(Resource):
    """A plan with fewer accelerators than the proposal, and what rules it out (proof of minimality)."""

    candidate: Annotated[str, Field(max_length=40)] = Field(
        description="Candidate; or what the entry speaks of: no smaller plan, outside the search, further candidates."
    )
    replicas: Whole = Field(ge=0, description="Replicas of its largest plan with fewer accelerators.")
    gpus: Whole = Field(ge=0, description="Accelerators of that plan.")
    ruled_out_by: Sentence = Field(description="What rules it out, with figures.")
    evidence: Annotated[str, Field(max_length=16)] = Field(
        description="Measured; Rule: excluded before any trial; Open: not ruled out."
    )
    needed_rps: Quantity | None = Field(
        default=None, description="What one replica of the plan would have to sustain, requests a second."
    )
    shown_rps: Quantity | None = Field(
        default=None,
        description="What one replica was certified for, else its measured lower bound, requests a second.",
    )


class RunProposal(Resource):
    hash: Annotated[str, Field(max_length=12)] = Field(description="Identity.")
    candidate: Annotated[str, Field(max_length=40)] = Field(description="Winner.")
    replicas: Whole = Field(ge=1, description="Replicas for the demand.")
    gpus: Whole = Field(ge=0, description="Accelerators over all replicas.")
    serving: Serving = Field(description="What is deployed.")
    certified_rps: Quantity = Field(description="Certified rate of one replica.")


Step = Literal[
    "Template",
    "VerifyTemplate",
    "Replicas",
    "VerifyReplicas",
    "Applied",
    "RollBackReplicas",
    "RollBackTemplate",
    "RolledBack",
]


class Rollout(Resource):
    """Where the rewrite stands. Every step is repeated safely after a crash."""

    proposal: Annotated[str, Field(max_length=12)] = Field(description="Proposal it applies.")
    step: Step = Field(description="Current step.")
    since: Annotated[str, Field(max_length=32)] = Field(description="When the step began.")
    attempt: Whole = Field(default=1, ge=1, description="Verification attempt.")
    reason: Sentence = Field(default="", description="Why it goes back, or what the verification is worth.")
    verified: Literal["", "Pass", "Fail", "Inconclusive"] = Field(
        default="", description="Result of the last verification."
    )
    observed: Configuration | None = Field(default=None, description="Figures seen on the new pods.")
    reasserted_at: Annotated[tuple[Annotated[str, Field(max_length=32)], ...], Field(max_length=8)] = Field(
        default=(), description="When the proposal was written again after somebody put the baseline back."
    )


class Forecast(Resource):
    """What one replica of a candidate would carry by computation. It decides the order of trials and which candidates
    are too far behind for one; it is never shown as a measurement.
    """

    candidate: Annotated[str, Field(max_length=40)] = Field(description="Candidate.")
    rate_rps: Quantity | None = Field(
        default=None, description="Estimated largest rate of one replica inside the limits; absent: none, see reason."
    )
    fails: Flag = Field(
        default=False, description="Whether it is estimated not to fit, or to miss a limit by far at any rate."
    )
    reason: Annotated[str, Field(max_length=256)] = Field(default="", description="Why there is no rate.")
    evidence: Literal["Estimated"] = Field(default="Estimated", description="Evidence class; always Estimated.")


class Remaining(Resource):
    """What is left of the budget; a limit that is not set is absent."""

    trials: Whole = Field(ge=0, description="Trials.")
    gpu_hours: Quantity | None = Field(default=None, description="Accelerator hours.")
    money: Quantity | None = Field(default=None, description="Money, in cost.currency.")
    deadline: Annotated[str, Field(max_length=32)] = Field(description="When the run's time is over.")


class RunStatus(Resource):
    phase: Annotated[str, Field(max_length=32)] = Field(
        default="",
        description="Compressing, Measuring, Certifying, Estimated, Proposed, Exhausted, Superseded, Failed.",
    )
    activity: Sentence = Field(default="", description="What is going on now.")
    started_at: Annotated[str, Field(max_length=32)] = Field(default="", description="Start.")
    finished_at: Annotated[str, Field(max_length=32)] = Field(default="", description="When the decision fell.")
    derived: Annotated[tuple[Candidate, ...], Field(max_length=32), Unique("id")] = Field(
        default=(), description="Candidates derived from leaders."
    )
    trials: Annotated[tuple[TrialRecord, ...], Field(max_length=96), Unique("job")] = Field(
        default=(), description="Every finished Job."
    )
    candidates: Annotated[tuple[CandidateStatus, ...], Field(max_length=64), Unique("id")] = Field(
        default=(), description="One entry per candidate."
    )
    artefacts: Annotated[tuple[Artefact, ...], Field(max_length=32), Unique("name")] = Field(
        default=(), description="Compressed weights."
    )
    efficiencies: Efficiencies = Field(
        default=(), description="What trials taught so far, earlier runs included; handed to the next run."
    )
    trials_used: Whole = Field(default=0, ge=0, description="Trials used of the budget.")
    gpu_seconds: Whole = Field(default=0, ge=0, description="Accelerator seconds used.")
    money: Quantity | None = Field(
        default=None, description="Price of the accelerator time used; absent without a price."
    )
    remaining: Remaining | None = Field(default=None, description="What is left of the budget.")
    order: Sentence = Field(default="", description="What the order of trials rests on; empty: not decided yet.")
    forecast: Annotated[tuple[Forecast, ...], Field(max_length=64), Unique("candidate")] = Field(
        default=(), description="Estimates that decided the order; made once, when the baseline has been measured."
    )
    payback_hours: Quantity | None = Field(
        default=None, description="Hours of the proposal's saving that pay for the search; absent without a price."
    )
    current: Configuration | None = Field(default=None, description="The baseline with its measured figures.")
    proposal: RunProposal | None = Field(default=None, description="The decision.")
    proof: Annotated[tuple[Alternative, ...], Field(max_length=64)] = Field(
        default=(), description="Proof of minimality."
    )
    rollout: Rollout | None = Field(default=None, description="Where the rewrite stands.")
    conditions: Annotated[tuple[Condition, ...], Field(max_length=8), Unique("type")] = Field(
        default=(), description="Complete once a decision fell."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(oldSelf.trials) || "
            "(has(self.trials) && oldSelf.trials.all(old, self.trials.exists(new, new.job == old.job)))",
            message="trials is append-only: a finished trial is never removed",
        ),
    )
