"""``InferenceDeployment.spec``: the user's intent. The operator reads it and never writes it.

Field descriptions become the CRD's (``kubectl explain``); rules that need several fields are CEL rules in ``crd.py``.
"""

from typing import Annotated, Literal

from pydantic import Field

from rightsizer_operator.resource.base import ObjectName, Quantity, Resource

Engine = Literal["VLLM", "TensorRTLLM"]
Precision = Literal["AsIs", "BF16", "FP8", "INT8", "INT8W8A16", "INT4"]
KvCache = Literal["Auto", "FP8"]
Mode = Literal["Off", "Manual", "Auto"]
RelativePath = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*(/[A-Za-z0-9_][A-Za-z0-9_.\-]*)*$", max_length=256)
]


class TargetRef(Resource):
    api_version: Literal["apps/v1"] = Field(default="apps/v1", description="API version of the target; only apps/v1.")
    kind: Literal["Deployment"] = Field(default="Deployment", description="Kind of the target; only Deployment.")
    name: ObjectName = Field(description="Name of the Deployment in the same namespace that serves the model today.")
    container: ObjectName | None = Field(
        default=None,
        max_length=63,
        description="Name of the container that runs the engine. Needed when the pod has more than one container.",
    )
    take_ownership: bool = Field(
        default=False,
        description="Lets Rightsizer take over the closed list of fields from people and CI (kubectl, Helm). GitOps managers need the target's annotation rightsizer.dev/released-fields as well.",
    )


class Model(Resource):
    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*(/[A-Za-z0-9][A-Za-z0-9_.\-]*)?$", max_length=128,
        description="Name of the model, e.g. meta-llama/Llama-3.1-70B-Instruct.",
    )  # fmt: skip
    revision: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$", max_length=64, description="Revision of the weights."
    )
    path: RelativePath = Field(
        description="Directory of the unquantized weights (safetensors with config.json) on the modelCache volume."
    )


class ModelCache(Resource):
    claim_name: ObjectName = Field(
        description="PersistentVolumeClaim that holds the weights and receives artefacts. ReadWriteMany, or everything on one node."
    )


class Accelerator(Resource):
    resource: str = Field(
        pattern=r"^[a-z0-9]([a-z0-9.\-]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9_.\-]*[A-Za-z0-9])?$", max_length=128,
        description="Extended resource that counts accelerators, e.g. nvidia.com/gpu.",
    )  # fmt: skip
    type: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.\-]*[A-Za-z0-9])?$", max_length=63,
        description="Accelerator product, e.g. NVIDIA-H100-80GB-HBM3. Default: the node label nvidia.com/gpu.product of the target's pods.",
    )  # fmt: skip


class SloSpec(Resource):
    percentile: int = Field(
        default=95, ge=50, le=99, description="Percentile of requests that must stay within each limit."
    )
    ttft_ms: int | None = Field(
        default=None,
        ge=1,
        le=3_600_000,
        description="Time to first token, from the scheduled arrival, in milliseconds.",
    )
    itl_ms: int | None = Field(
        default=None,
        ge=1,
        le=3_600_000,
        description="Gap between streamed chunks, pooled over all requests, in milliseconds.",
    )
    tpot_ms: int | None = Field(
        default=None,
        ge=1,
        le=3_600_000,
        description="Per-request mean time per output token after the first, in milliseconds.",
    )
    e2e_ms: int | None = Field(
        default=None, ge=1, le=3_600_000, description="Scheduled arrival to last token, in milliseconds."
    )


class StaticWorkload(Resource):
    input_tokens: int = Field(ge=1, le=1_000_000, description="Input tokens of a request.")
    output_tokens: int = Field(ge=1, le=100_000, description="Output tokens of a request.")
    request_rate: Quantity = Field(description='Peak demand in requests a second over all replicas, e.g. "5.5".')
    arrivals: Literal["Poisson", "Constant"] = Field(default="Poisson", description="Arrival process.")


class WorkloadSpec(Resource):
    static: StaticWorkload = Field(description="Fixed lengths and a peak rate.")


class QuestionSetSpec(Resource):
    path: RelativePath = Field(
        description="JSONL file of multiple-choice questions on the modelCache volume (format: docs/questions.md)."
    )
    sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", max_length=64, description="Digest the file must have."
    )
    questions: int | None = Field(
        default=None,
        ge=1,
        le=25_000,
        description="How many questions the set has; lets an unresolvable margin be said before anything runs.",
    )


class Quality(Resource):
    max_drop_points: Quantity = Field(
        default="1.0", description="Largest allowed drop in accuracy against the baseline, in percentage points."
    )
    confidence_percent: int = Field(default=95, ge=50, le=99, description="One-sided confidence of the verdict.")
    question_set: QuestionSetSpec = Field(
        description="The questions that gate every change of weights, KV type or image."
    )


class Budget(Resource):
    gpu_hours: Quantity | None = Field(
        default=None, description="Accelerator hours that trials may use, counted from pod start."
    )
    deadline_minutes: int = Field(default=360, ge=1, le=20_160, description="Wall-clock limit of one run, in minutes.")
    max_trials: int = Field(default=24, ge=1, le=64, description="Largest number of trials of one run.")


class MeasurementSpec(Resource):
    probe_seconds: int = Field(
        default=60,
        ge=5,
        le=3600,
        description="Length of one open-loop probe. Shorter probes give a wider stated error.",
    )
    saturation_seconds: int = Field(default=60, ge=5, le=3600, description="Length of the closed-loop saturation run.")
    warmup_seconds: int = Field(default=20, ge=1, le=600, description="Length of one warm-up block.")
    max_probes: int = Field(default=6, ge=1, le=12, description="Largest number of probes of one trial.")
    target_error_percent: int = Field(
        default=3, ge=1, le=50, description="Relative standard error of the capacity at which a trial stops."
    )
    certification_seconds: int = Field(
        default=600, ge=10, le=7200, description="Length of the certification run at the certified rate."
    )
    verification_seconds: int = Field(
        default=120, ge=10, le=7200, description="Length of a verification run on the new pods."
    )
    saturation_concurrency: int = Field(
        default=64, ge=1, le=4096, description="Requests in flight in the saturation run."
    )
    ready_seconds: int = Field(
        default=1200, ge=10, le=14_400, description="How long an engine may take to become ready."
    )
    first_token_seconds: int = Field(
        default=120,
        ge=1,
        le=3600,
        description="How long a ready engine may take to its first token before it counts as hung.",
    )


class Search(Resource):
    strategy: Literal["Thorough"] = Field(default="Thorough", description="Thorough: every winner is measured.")
    engines: Annotated[tuple[Engine, ...], Field(min_length=1, max_length=4)] = Field(
        default=("VLLM",), description="Engines to consider."
    )
    precisions: Annotated[tuple[Precision, ...], Field(min_length=1, max_length=8)] = Field(
        default=("AsIs", "INT8", "INT4"),
        description="Weight formats to consider. AsIs: the weights the target serves today; always measured first.",
    )
    kv_cache: Annotated[tuple[KvCache, ...], Field(min_length=1, max_length=4)] = Field(
        default=("Auto",), description="KV-cache types to consider."
    )
    max_num_seqs: Annotated[tuple[int, ...], Field(max_length=4)] = Field(
        default=(), description="Batch limits to try on the leader, beside the engine's default."
    )
    max_gpus_per_replica: int = Field(
        default=1,
        ge=1,
        le=64,
        alias="maxGPUsPerReplica",
        description="Largest accelerators per replica (tensor parallelism) to consider.",
    )
    budget: Budget = Field(default=Budget(), description="What the search may use.")
    measurement: MeasurementSpec = Field(default=MeasurementSpec(), description="Lengths of the steps of a trial.")
    rerun: str = Field(
        default="", max_length=64, description="Any new value asks for a fresh run with unchanged inputs."
    )


class Api(Resource):
    input_per_million: Quantity = Field(description="Price of a million input tokens of the API to compare with.")
    output_per_million: Quantity = Field(description="Price of a million output tokens of the API to compare with.")


class Cost(Resource):
    gpu_hourly: Quantity | None = Field(
        default=None,
        alias="gpuHourly",
        description="Price of one accelerator hour. Default: the operator's price list.",
    )
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$", max_length=3, description="Currency of the prices.")
    api: Api | None = Field(default=None, description="Prices of an API, for the break-even.")


class UpdatePolicy(Resource):
    mode: Mode = Field(
        default="Manual",
        description="Off: no proposal is ever applied. Manual: applied when approvedProposal equals the proposal's hash. Auto: applied when ready.",
    )
    approved_proposal: str = Field(
        default="",
        max_length=64,
        pattern=r"^[0-9a-f]*$",
        description="Hash of the approved proposal. Ignored unless mode is Manual.",
    )
    allow_downtime: bool = Field(default=False, description="Lets a rewrite replace pods without spare accelerators.")


class InferenceDeploymentSpec(Resource):
    target_ref: TargetRef = Field(description="The Deployment to right-size. Immutable.")
    model: Model = Field(description="The model it serves.")
    model_cache: ModelCache = Field(description="Where weights and artefacts live.")
    accelerator: Accelerator = Field(description="What is counted.")
    slo: SloSpec = Field(description="Latency limits; at least one.")
    workload: WorkloadSpec = Field(description="The demand.")
    quality: Quality = Field(description="The quality gate.")
    search: Search = Field(default=Search(), description="What may be tried, and for how much.")
    cost: Cost = Field(default=Cost(), description="Prices.")
    update_policy: UpdatePolicy = Field(default=UpdatePolicy(), description="Who decides about a rewrite.")
    paused: bool = Field(
        default=False, description="No new Job and no new write while true; a needed way back is still taken."
    )
