"""``InferenceDeployment.spec``: the user's intent. The operator reads it and never writes it.

Field descriptions become the CRD's (``kubectl explain``) and the reference page's; rules stand beside the fields they
judge. Everything that reads a spec gets it from here, parsed.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from rightsizer_operator.resource.architecture import Architecture
from rightsizer_operator.resource.base import (
    QUANTITY_PATTERN,
    Flag,
    ObjectName,
    Positive,
    Quantity,
    RelativePath,
    Resource,
    Sha256,
    Whole,
    matches,
    matching,
    number,
)
from rightsizer_operator.resource.effort import Budget as Budget
from rightsizer_operator.resource.effort import MeasurementSpec as MeasurementSpec
from rightsizer_operator.resource.rules import Rule, Unique
from rightsizer_operator.resource.workload import WorkloadSpec

Engine = Literal["VLLM", "TensorRTLLM"]
Precision = Literal["AsIs", "BF16", "FP8", "INT8", "INT8W8A16", "INT4"]
KvCache = Literal["Auto", "FP8"]
BatchingLever = Literal["MaxNumSeqs", "MaxNumBatchedTokens", "ChunkedPrefill", "MemoryFraction", "GraphSizes"]
Mode = Literal["Off", "Manual", "Auto"]
Milliseconds = Annotated[Whole, Field(ge=1, le=3_600_000)]
ContainerName = Annotated[
    str,
    Field(max_length=63),
    matching("^[a-z0-9]([a-z0-9\\-]*[a-z0-9])?$", "must be the name of a container: lower-case letters, digits and -"),
]


class TargetRef(Resource):
    api_version: Literal["apps/v1"] = Field(default="apps/v1", description="API version of the target; only apps/v1.")
    kind: Literal["Deployment"] = Field(default="Deployment", description="Kind of the target; only Deployment.")
    name: ObjectName = Field(description="Name of the Deployment in the same namespace that serves the model today.")
    container: ContainerName | None = Field(
        default=None,
        description="Name of the container that runs the engine. Needed when the pod has more than one container.",
    )
    take_ownership: Flag = Field(
        default=False,
        description="Lets Rightsizer take over the closed list of fields from people and CI (kubectl, Helm). "
        "GitOps managers need the target's annotation rightsizer.dev/released-fields as well.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.name == oldSelf.name",
            field=".name",
            message="is immutable: create another InferenceDeployment for another target",
        ),
        Rule(
            cel="!has(oldSelf.container) || (has(self.container) && self.container == oldSelf.container)",
            field=".container",
            message="is immutable once set: create another InferenceDeployment for another container",
        ),
    )


class Model(Resource):
    name: Annotated[
        str,
        Field(max_length=128),
        matching(
            r"^[A-Za-z0-9][A-Za-z0-9_.\-]*(/[A-Za-z0-9][A-Za-z0-9_.\-]*)?$",
            "must be a model name such as meta-llama/Llama-3.1-70B-Instruct, not a URL or a path",
        ),
    ] = Field(description="Name of the model, e.g. meta-llama/Llama-3.1-70B-Instruct.")
    revision: (
        Annotated[
            str,
            Field(max_length=64),
            matching(r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$", "must be a revision: letters, digits, _, . and -"),
        ]
        | None
    ) = Field(default=None, description="Revision of the weights.")
    path: RelativePath = Field(
        description="Directory of the unquantized weights (safetensors with config.json) on the modelCache volume."
    )
    calibration_path: RelativePath | None = Field(
        default=None,
        description="JSONL file of calibration samples on the modelCache volume, like the model's real traffic. "
        "INT8, INT8W8A16 and INT4 weights need it.",
    )
    architecture: Architecture | None = Field(
        default=None,
        description="Size and shape of the model, for estimates: the operator cannot read the model volume. "
        "Default: the table of published models, by name. rightsizer plan --print-architecture writes it.",
    )


class ModelCache(Resource):
    claim_name: ObjectName = Field(
        description="PersistentVolumeClaim of the same namespace that holds the weights and receives artefacts. "
        "ReadWriteMany, or everything on one node."
    )


class Accelerator(Resource):
    resource: Annotated[
        str,
        Field(max_length=128),
        matching(
            r"^[a-z0-9]([a-z0-9.\-]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9_.\-]*[A-Za-z0-9])?$",
            "must be an extended resource with its domain, e.g. nvidia.com/gpu",
        ),
    ] = Field(description="Extended resource that counts accelerators, e.g. nvidia.com/gpu.")
    type: (
        Annotated[
            str,
            Field(max_length=63),
            matching(
                r"^[A-Za-z0-9]([A-Za-z0-9_.\-]*[A-Za-z0-9])?$",
                "must be a product as node labels name it, e.g. NVIDIA-H100-80GB-HBM3",
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="Accelerator product, e.g. NVIDIA-H100-80GB-HBM3. "
        "Default: the node label nvidia.com/gpu.product of the target's pods.",
    )


def _within_e2e(field: str, attribute: str) -> Rule:
    """A part of a request cannot be allowed longer than the whole."""
    return Rule(
        cel=f"!has(self.{field}) || !has(self.e2eMs) || self.{field} <= self.e2eMs",
        field=f".{field}",
        message="must not exceed e2eMs: it is a part of the same request; lower it or raise e2eMs",
        holds=lambda slo: None in (getattr(slo, attribute), slo.e2e_ms) or getattr(slo, attribute) <= slo.e2e_ms,
    )


def _any_limit(slo: Any) -> bool:
    return any(limit is not None for limit in (slo.ttft_ms, slo.itl_ms, slo.tpot_ms, slo.e2e_ms))


class SloSpec(Resource):
    percentile: Whole = Field(
        default=95, ge=50, le=99, description="Percentile of requests that must stay within each limit."
    )
    ttft_ms: Milliseconds | None = Field(
        default=None, description="Time to first token, from the scheduled arrival, in milliseconds."
    )
    itl_ms: Milliseconds | None = Field(
        default=None, description="Gap between streamed chunks, pooled over all requests, in milliseconds."
    )
    tpot_ms: Milliseconds | None = Field(
        default=None, description="Per-request mean time per output token after the first, in milliseconds."
    )
    e2e_ms: Milliseconds | None = Field(default=None, description="Scheduled arrival to last token, in milliseconds.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.ttftMs) || has(self.itlMs) || has(self.tpotMs) || has(self.e2eMs)",
            message="set at least one limit: ttftMs, itlMs, tpotMs or e2eMs",
            holds=_any_limit,
        ),
        _within_e2e("ttftMs", "ttft_ms"),
        _within_e2e("itlMs", "itl_ms"),
        _within_e2e("tpotMs", "tpot_ms"),
    )


class Sizing(Resource):
    headroom_percent: Whole = Field(
        default=0,
        ge=0,
        le=400,
        description="Capacity kept free above the peak demand, in percent of the demand.",
    )
    spare_replicas: Whole = Field(
        default=0,
        ge=0,
        le=16,
        description="Replicas beyond those that carry the demand with its headroom. 1 is N+1: any one may fail.",
    )


class QuestionSetSpec(Resource):
    path: RelativePath = Field(
        description="JSONL file of multiple-choice questions on the modelCache volume (format: docs/questions.md)."
    )
    sha256: Sha256 | None = Field(default=None, description="Digest the file must have.")
    questions: Whole | None = Field(
        default=None,
        ge=1,
        le=14_200,
        description="How many questions the set has; lets an unresolvable margin be said before anything runs.",
    )


class Quality(Resource):
    max_drop_points: Annotated[
        Positive,
        Rule(
            cel=f"!{matches('self', QUANTITY_PATTERN)} || double(self) <= 100.0",
            message="must be at most 100 percentage points",
            holds=lambda points: number(points) <= 100,
        ),
    ] = Field(
        default="1.0",
        description="Largest allowed drop in accuracy against the baseline, in percentage points. "
        "To change no weights at all, allow only AsIs in search.precisions.",
    )
    confidence_percent: Whole = Field(default=95, ge=50, le=99, description="One-sided confidence of the verdict.")
    question_set: QuestionSetSpec = Field(
        description="The questions that gate every change of weights, KV type or image."
    )


class Search(Resource):
    strategy: Literal["Thorough", "Rapid"] = Field(
        default="Thorough",
        description="Thorough: every winner is measured. Rapid: estimates only, no Job and no proposal.",
    )
    engines: Annotated[tuple[Engine, ...], Field(min_length=1, max_length=2), Unique()] = Field(
        default=("VLLM",), description="Engines to consider."
    )
    precisions: Annotated[
        tuple[Precision, ...],
        Field(min_length=1, max_length=8),
        Unique(),
        Rule(
            cel="'AsIs' in self",
            message="must contain AsIs: the weights served today are the baseline of every comparison",
            holds=lambda precisions: "AsIs" in precisions,
        ),
    ] = Field(
        default=("AsIs", "INT8", "INT4"),
        description="Weight formats to consider. AsIs: the weights the target serves today; always measured first.",
    )
    kv_cache: Annotated[tuple[KvCache, ...], Field(min_length=1, max_length=4), Unique()] = Field(
        default=("Auto",), description="KV-cache types to consider."
    )
    max_num_seqs: Annotated[tuple[Annotated[Whole, Field(ge=1, le=65_536)], ...], Field(max_length=4), Unique()] = (
        Field(default=(), description="Batch limits to try on the leader, beside the engine's default.")
    )
    batching: Annotated[tuple[BatchingLever, ...], Field(max_length=5), Unique()] = Field(
        default=(),
        description="Batching settings to move on the leader, one move at a time from the engine's default, after the "
        "candidates. Each move is a trial with its own engine start; at most 8. Default: none.",
    )
    max_gpus_per_replica: Whole = Field(
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
    gpu_hourly: Positive | None = Field(
        default=None,
        alias="gpuHourly",
        description="Price of one accelerator hour. Default: the operator's price list.",
    )
    currency: Annotated[
        str, Field(max_length=3), matching("^[A-Z]{3}$", "must be a currency code of three capitals, e.g. USD")
    ] = Field(default="USD", description="Currency of the prices.")
    api: Api | None = Field(default=None, description="Prices of an API, for the break-even.")


def _approval_readable(policy: Any) -> bool:
    hash_ = policy.approved_proposal
    return policy.mode != "Manual" or not hash_ or (len(hash_) == 12 and set(hash_) <= set("0123456789abcdef"))


class UpdatePolicy(Resource):
    mode: Mode = Field(
        default="Manual",
        description="Off: no proposal is ever applied; always accepted, write it in quotes (YAML reads a bare Off as "
        "false). Manual: applied when approvedProposal equals the proposal's hash. Auto: applied when ready.",
    )
    approved_proposal: str = Field(
        default="", max_length=64, description="Hash of the approved proposal. Ignored unless mode is Manual."
    )
    allow_downtime: Flag = Field(default=False, description="Lets a rewrite replace pods without spare accelerators.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.mode != 'Manual' || self.approvedProposal.matches('^([0-9a-f]{12})?$')",
            field=".approvedProposal",
            message="must be the hash of a proposal, 12 hexadecimal digits, as status.proposal.hash shows it",
            holds=_approval_readable,
        ),
    )


class InferenceDeploymentSpec(Resource):
    target_ref: TargetRef = Field(description="The Deployment to right-size. Immutable.")
    model: Model = Field(description="The model that the target serves.")
    model_cache: ModelCache = Field(
        description="The volume with the weights; artefacts (compressed weights) are written to it."
    )
    accelerator: Accelerator = Field(description="The kind of accelerator that is counted, priced and saved.")
    slo: SloSpec = Field(description="Latency limits (service level objective); at least one.")
    workload: WorkloadSpec = Field(description="The demand that the target has to carry.")
    sizing: Sizing = Field(
        default=Sizing(),
        description="What is kept free on top of the demand. Default: nothing, the fewest accelerators.",
    )
    quality: Quality = Field(description="How much accuracy a change may cost, and the questions that prove it.")
    search: Search = Field(default=Search(), description="What may be tried, and for how much.")
    cost: Cost = Field(
        default=Cost(), description="Prices, for cost per million tokens and the break-even with an API."
    )
    update_policy: UpdatePolicy = Field(default=UpdatePolicy(), description="Who decides about a rewrite.")
    paused: Flag = Field(
        default=False, description="No new Job and no new write while true; a needed way back is still taken."
    )
