"""What goes into a Job (assignment) and what comes out (report); with
``workload`` and ``stats`` all that operator and jobs share.

The assignment travels as one JSON environment variable (``ASSIGNMENT_VARIABLE``), the report as the pod's termination
message, which the kubelet cuts silently at 4,096 bytes: a longer report is an error of the Job. Both sides validate;
unknown fields are refused.
Units are in the names (``_s`` seconds, ``_ms`` milliseconds, ``_rps`` requests a second).
"""

import base64
import json
import zlib
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, TypeAdapter

from rightsizer_jobs.workload import Frozen, TraceFacts, Workload

CONTRACT_VERSION: Literal[1] = 1
ASSIGNMENT_VARIABLE = "RIGHTSIZER_ASSIGNMENT"
REPORT_LIMIT_BYTES = 4096
REASON_LIMIT = 400
REPLAYED_LIMIT = 200

EngineKind = Literal["VLLM", "TensorRTLLM"]
Metric = Literal["ttft", "itl", "tpot", "e2e"]
Purpose = Literal["Explore", "Certify", "Verify"]
"""Explore: quality and capacity of a candidate. Certify: fresh start, new seed, hold one rate.

Verify: hold one rate on running pods.
"""

TrialOutcome = Literal[
    "Succeeded", "MissedSLO", "FailedQuality", "Undecided", "CannotBeat", "EngineFailed", "EngineHung", "Void"
]
CompressOutcome = Literal["Succeeded", "Failed", "VolumeFull", "Void"]


class Slo(Frozen):
    """Latency limits at one percentile; at least one limit is set. Definitions: docs/metrics.md."""

    percentile: int = Field(default=95, ge=50, le=99)
    ttft_ms: float | None = Field(default=None, gt=0)
    itl_ms: float | None = Field(default=None, gt=0)
    tpot_ms: float | None = Field(default=None, gt=0)
    e2e_ms: float | None = Field(default=None, gt=0)

    def limits(self) -> dict[Metric, float]:
        """The limits that are set, in milliseconds, by metric name."""
        found: dict[Metric, float | None] = {
            "ttft": self.ttft_ms, "itl": self.itl_ms, "tpot": self.tpot_ms, "e2e": self.e2e_ms,
        }  # fmt: skip
        return {metric: limit for metric, limit in found.items() if limit is not None}


class Endpoint(Frozen):
    """One engine instance with an OpenAI-compatible API, e.g. ``http://127.0.0.1:8000``."""

    engine: EngineKind
    base_url: str = Field(pattern=r"^http://[0-9A-Za-z.\-\[\]:]+$", max_length=300)
    served_model_name: str = Field(min_length=1, max_length=256)


class QuestionSet(Frozen):
    """JSONL multiple-choice questions on the model volume; format: docs/questions.md."""

    path: str = Field(min_length=1, max_length=512)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    max_questions: int = Field(default=0, ge=0, description="0: all of them")


class Measurement(Frozen):
    """Lengths of the steps of a trial. Shorter steps give a wider stated error, never another code path."""

    sanity_requests: int = Field(default=8, ge=1)
    warmup_block_s: float = Field(default=20, gt=0)
    warmup_max_blocks: int = Field(default=6, ge=1)
    saturation_s: float = Field(default=60, gt=0)
    saturation_concurrency: int = Field(default=320, ge=1, description="at first; doubled where the engine has room")
    probe_s: float = Field(default=60, gt=0)
    block_s: float = Field(default=30, gt=0)
    max_probes: int = Field(default=8, ge=1, le=12)
    target_error: float = Field(
        default=0.03, gt=0, lt=1, description="relative standard error of the capacity at which the search stops"
    )
    budget_s: float = Field(default=810, gt=0, description="time for saturation and probes together")
    client_processes: int = Field(default=0, ge=0, le=64, description="that send; 0: as the load needs and CPUs allow")
    hold_s: float = Field(default=600, gt=0, description="length of a certification or verification run")


class Deadlines(Frozen):
    """The client's own deadlines, from its start. ``total_s`` is shorter than the pod's activeDeadlineSeconds."""

    ready_s: float = Field(default=1200, gt=0)
    first_token_s: float = Field(default=120, gt=0)
    request_s: float = Field(default=120, gt=0, description="for a request, whatever it asks for")
    token_s: float = Field(default=0, ge=0, description="on top of request_s, for each output token asked for")
    total_s: float = Field(default=3600, gt=0)

    def answer_s(self, output_tokens: int) -> float:
        """After so many seconds a request for so many tokens counts as timed out."""
        return self.request_s + self.token_s * output_tokens


class Answers(Frozen):
    """Correctness of every question asked, in order: bit i (most significant first) of base64-decoded ``correct``."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    asked: int = Field(ge=0)
    correct: str = Field(max_length=3200)


Fingerprint = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
"""Of source weights: compress.source.fingerprint."""


class TrialAssignment(Frozen):
    version: Literal[1] = CONTRACT_VERSION
    kind: Literal["Trial"] = "Trial"
    purpose: Purpose
    run_uid: str
    candidate: str
    attempt: int = Field(ge=1)
    seed: int = Field(ge=0)
    endpoints: tuple[Endpoint, ...] = Field(min_length=1, max_length=64)
    model_path: str = Field(
        description="directory with config.json of the base model, as mounted; its vocabulary makes the prompts"
    )
    source_fingerprint: Fingerprint | None = Field(
        default=None, description="of the weights under model_path when the baseline was measured; others are Void"
    )
    workload: Workload
    slo: Slo
    measurement: Measurement = Measurement()
    deadlines: Deadlines = Deadlines()
    questions: QuestionSet | None = None
    baseline_answers: Answers | None = Field(
        default=None, description="lets the Job stop asking once the verdict is settled"
    )
    max_drop_points: float = Field(default=1.0, ge=0)
    confidence_percent: int = Field(default=95, ge=50, le=99)
    rate_to_beat_rps: float | None = Field(
        default=None, gt=0, description="below this the candidate cannot win: stop early with CannotBeat"
    )
    rate_rps: float | None = Field(
        default=None, gt=0, description="the rate to hold, for Certify and Verify; over all endpoints together"
    )
    top_up: bool = Field(
        default=False,
        description="the endpoints may serve other traffic: count it on the engines first and send only what is "
        "missing to rate_rps, so that they carry rate_rps in all",
    )
    accelerators: int = Field(
        default=0, ge=0, description="NVIDIA GPUs of the engine beside this client; 0: none, or not beside it"
    )
    records_dir: str | None = Field(default=None, description="where full records are written, as mounted")
    demand_share_rps: float | None = Field(
        default=None,
        gt=0,
        description="what one replica carries of the demand: last of all, how busy the engine is at that rate",
    )
    describe_model: bool = Field(
        default=False, description="report what config.json says of the model's size and shape, for the estimator"
    )


class CompressAssignment(Frozen):
    version: Literal[1] = CONTRACT_VERSION
    kind: Literal["Compress"] = "Compress"
    run_uid: str
    artefact: str = Field(pattern=r"^[a-z0-9][a-z0-9\-]{0,62}$")
    attempt: int = Field(ge=1)
    recipe: str = Field(description="a name of rightsizer_jobs.compress.recipes")
    source_path: str
    source_fingerprint: Fingerprint | None = Field(
        default=None, description="of the weights there when the baseline was measured; others are refused"
    )
    target_path: str
    calibration_path: str | None = None
    calibration_samples: int = Field(default=384, ge=1)
    max_sequence_length: int = Field(default=512, ge=8)
    deadline_s: float = Field(default=7200, gt=0)
    user: str = Field(
        default="", description="who needs the artefact: an artefact is only ever swept by its one user; empty: nobody"
    )
    keep: tuple[str, ...] = Field(default=(), description="artefacts of this user that no sweep may delete")


Assignment = Annotated[TrialAssignment | CompressAssignment, Field(discriminator="kind")]
ASSIGNMENT: TypeAdapter[TrialAssignment | CompressAssignment] = TypeAdapter(Assignment)


class Probe(Frozen):
    """One open-loop run at one rate. Shares are violations over all requests sent (failures count as violations)."""

    rate_rps: float
    achieved_rps: float
    seconds: float
    requests: int
    failed: int
    violations: dict[Metric, float]
    p_ms: dict[Metric, float] = Field(
        description="the SLO percentile of each metric, milliseconds; failures are infinite and shown as -1"
    )
    output_tps: float
    variance_inflation: float
    aborted: bool = False
    balanced: bool = False  # its arrivals, by loadgen.balance


class Capacity(Frozen):
    """Fitted largest rate with every limit met; ``standard_error`` is relative; ``lower_rps`` = rate x exp(-1 se)."""

    rate_rps: float = Field(ge=0)
    standard_error: float = Field(ge=0)
    lower_rps: float = Field(ge=0)
    slope: float = Field(description="dln(violation share)/dln(rate) around the capacity, as fitted")
    variance_inflation: float = Field(
        default=0, ge=0, description="requests that carry the information of one, as used for the error; 0: none fitted"
    )
    bound: Literal["Fitted", "AtLeast", "AtMost", "Between"] = Field(
        default="Fitted",
        description="Fitted: probes near the limit. Otherwise none came near it: all passed (the capacity is at least "
        "this rate), all failed (at most), or it lies between two probes",
    )


class Saturation(Frozen):
    rps: float
    output_tps: float
    concurrency: int
    ceiling: bool = Field(default=True, description="more in flight would not give more within the limits")


class EngineUse(Frozen):
    """How busy one engine was over a probe: means over the window; none: the engine publishes no such figure."""

    rate_rps: float
    ended: float | None = Field(default=None, description="end of the window, Unix seconds of the client's clock")
    seconds: float | None = Field(default=None, description="length of the window")
    running: float | None = Field(default=None, description="requests in the running batch")
    slots: float | None = Field(default=None, description="requests that the running batch has places for")
    waiting: float | None = Field(default=None, description="requests in the engine's queue")
    kv_usage: float | None = Field(default=None, description="share of the KV cache in use, 0..1")
    gpu_percent: float | None = Field(default=None, description="share of time in which a kernel ran (NVML)")
    gpu_unseen: str = Field(default="", max_length=120, description="why gpu_percent is none")


class ClientHealth(Frozen):
    """Evidence that the client kept its schedule."""

    send_lag_p95_ms: float
    loop_lag_p95_ms: float
    throttled_s: float | None = Field(
        default=None, description="cgroup CPU throttling of the client; none: not measured"
    )


class TrialReport(Frozen):
    version: Literal[1] = CONTRACT_VERSION
    kind: Literal["Trial"] = "Trial"
    purpose: Purpose
    candidate: str
    attempt: int
    seed: int
    outcome: TrialOutcome
    reason: str = Field(default="", max_length=REASON_LIMIT)
    ready_s: float | None = None
    engine_start: float | None = Field(
        default=None, description="process_start_time_seconds the engine reported; a change means it restarted"
    )
    engine_s: float = Field(default=0, description="seconds of engine time this trial used, from the client's start")
    idle_ms: dict[Metric, float] | None = Field(default=None, description="p50 of single requests on the idle engine")
    answers: Answers | None = None
    saturation: Saturation | None = None
    probes: tuple[Probe, ...] = Field(default=(), max_length=12)
    capacity: Capacity | None = None
    use: EngineUse | None = Field(
        default=None, description="at the largest rate that held every limit, else at the last one probed"
    )
    use_at_demand: EngineUse | None = Field(
        default=None, description="at the assignment's demand_share_rps, where that was given and could be held"
    )
    client: ClientHealth | None = None
    tokens_per_chunk: float | None = Field(
        default=None,
        gt=0,
        description="output tokens that a content chunk carried, where that is not one: itl is then the gap between "
        "chunks, not between tokens",
    )
    records: str | None = None
    replayed: str | None = Field(
        default=None,
        max_length=REPLAYED_LIMIT,
        description="what the engine says it replays; none: it is a real engine, as far as it tells",
    )
    trace: TraceFacts | None = Field(default=None, description="what the workload's trace holds, where it has one")
    model: dict[str, JsonValue] | None = Field(
        default=None,
        description="fields of the model's config.json that its size and shape follow from, where they were asked for",
    )
    source_fingerprint: Fingerprint | None = Field(
        default=None, description="of the weights under model_path; none: they could not be read"
    )


class CompressReport(Frozen):
    version: Literal[1] = CONTRACT_VERSION
    kind: Literal["Compress"] = "Compress"
    artefact: str
    attempt: int
    outcome: CompressOutcome
    reason: str = Field(default="", max_length=REASON_LIMIT)
    sha256: str | None = Field(
        default=None, description="over the sorted (file name, file sha256) pairs of the artefact"
    )
    size_bytes: int = 0
    seconds: float = 0
    tool: str = ""


Report = Annotated[TrialReport | CompressReport, Field(discriminator="kind")]
REPORT: TypeAdapter[TrialReport | CompressReport] = TypeAdapter(Report)


class ReportTooLong(ValueError):
    """The report would be cut by the kubelet."""


def dump_report(report: TrialReport | CompressReport) -> str:
    """The report as JSON, packed where the plain text does not fit; raises ReportTooLong above REPORT_LIMIT_BYTES."""
    text = report.model_dump_json(exclude_none=True)
    if len(text.encode()) > REPORT_LIMIT_BYTES:
        text = _pack(report)
    if len(text.encode()) > REPORT_LIMIT_BYTES:
        raise ReportTooLong(
            f"report has {len(text.encode())} bytes, at most {REPORT_LIMIT_BYTES} fit a termination message"
        )
    return text


def load_report(text: str) -> TrialReport | CompressReport:
    """Parse and validate a termination message; raises ValueError (pydantic.ValidationError) with the field named."""
    return REPORT.validate_json(_unpack(text) if text.startswith(_PACKED) else text)


_PACKED = '{"version":1,"kind":"Packed",'
_UNPACKED_LIMIT_BYTES = 64 * 1024


def _pack(report: TrialReport | CompressReport) -> str:
    """Deflated, probes by column, answers apart: 14,042 answers and 12 probes are 7,000 bytes of JSON."""
    values = report.model_dump(mode="json", exclude_none=True)
    bits = base64.b64decode(values.get("answers", {}).pop("correct", ""))
    flat = [_flatten(probe) for probe in values.pop("probes", [])]
    columns = {key: [probe[key] for probe in flat] for key in (flat[0] if flat else {})}
    plain = json.dumps([values, columns], separators=(",", ":")).encode()
    return f'{_PACKED}"data":"{_deflate(plain)}","correct":"{_deflate(bits)}"}}'


def _unpack(text: str) -> str:
    """The plain JSON of a packed report; raises ValueError."""
    packed = json.loads(text)
    values, columns = json.loads(_inflate(packed.get("data")))
    if "answers" in values:
        values["answers"]["correct"] = base64.b64encode(_inflate(packed.get("correct"))).decode()
    if columns:
        rows = zip(*columns.values(), strict=True)
        values["probes"] = [_unflatten(dict(zip(columns, row, strict=True))) for row in rows]
    return json.dumps(values)


def _deflate(data: bytes) -> str:
    return base64.b85encode(zlib.compress(data, 9)).decode()


def _inflate(text: str) -> bytes:
    try:
        return zlib.decompressobj().decompress(base64.b85decode(text), _UNPACKED_LIMIT_BYTES)
    except (zlib.error, TypeError) as error:
        raise ValueError(f"packed report is damaged: {error}") from error


def _flatten(probe: dict[str, Any]) -> dict[str, float]:
    violations, shown = probe.pop("violations"), probe.pop("p_ms")
    return {**probe, **violations, **{f"p_{metric}": figure for metric, figure in shown.items()}}


def _unflatten(row: dict[str, Any]) -> dict[str, Any]:
    metrics = [metric for metric in ("ttft", "itl", "tpot", "e2e") if metric in row]
    nested = {
        "violations": {metric: row.pop(metric) for metric in metrics},
        "p_ms": {metric: row.pop(f"p_{metric}") for metric in metrics},
    }
    return {**row, **nested}


def load_assignment(text: str) -> TrialAssignment | CompressAssignment:
    """Parse and validate an assignment; raises ValueError (pydantic.ValidationError) with the field named."""
    return ASSIGNMENT.validate_json(text)
