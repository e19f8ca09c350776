"""The result of a run as one document, ``result.json``: typed, versioned, the same on every cluster. Schema:
docs/report.md.

``assemble`` makes it from the two kinds; ``report`` writes it, ``page`` draws it, ``explain`` reads it. Field names
are camelCase in JSON, units are in the names. Fields may be added; a change of meaning is a new ``SCHEMA``.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from rightsizer_operator.resource.base import camel

SCHEMA: Literal["rightsizer.dev/result/v1"] = "rightsizer.dev/result/v1"

Evidence = Literal["Measured", "Replayed", "Estimated", "Observed"]
State = Literal[
    "InProgress",
    "Estimated",
    "NothingBetter",
    "Exhausted",
    "Superseded",
    "Proposed",
    "Rewriting",
    "Applied",
    "RolledBack",
    "Failed",
]


class Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=camel, populate_by_name=True)


class Figure(Document):
    """A number that is shown to a person, with its evidence class and, where there is one, its interval."""

    value: float
    evidence: Evidence
    low: float | None = None
    high: float | None = None


class Subject(Document):
    namespace: str
    name: str
    target: str
    container: str
    served_model_name: str
    model: str
    model_revision: str = ""
    accelerator: str
    accelerator_type: str = ""
    run: str
    run_uid: str
    fingerprint: str
    started_at: str = ""
    finished_at: str = ""


class Peak(Document):
    """The demand as it was read from Prometheus."""

    rate_rps: float
    window_hours: int
    average_minutes: int
    query: str
    read_at: str
    coverage_percent: float | None = None


class Targets(Document):
    percentile: int
    limits_ms: dict[str, float]
    demand_rps: float
    headroom_percent: int = 0
    """Capacity that the plan keeps free above the demand."""
    spare_replicas: int = 0
    """Replicas beyond those that carry the demand with its headroom."""
    peak: Peak | None = None
    """Where the demand was read; absent where it was stated."""
    input_tokens: int
    output_tokens: int
    arrivals: str
    max_drop_points: float
    confidence_percent: int


class Decision(Document):
    state: State
    sentence: str
    mode: str
    candidate: str = ""
    hash: str = ""
    approved: bool = False
    verified: str = ""


class Use(Document):
    """How busy one replica was at a rate: means over a probe. A figure that is absent was not measured."""

    at_rps: float
    running: Figure | None = None
    """Requests in the engine's running batch."""
    slots: float | None = None
    """Requests that the batch has places for, as the engine or its command line says."""
    batch_percent: Figure | None = None
    """``running`` over ``slots``."""
    waiting: Figure | None = None
    kv_cache_percent: Figure | None = None
    gpu_percent: Figure | None = None
    """Share of time in which a kernel ran."""
    gpu_source: str = ""
    """NVML, or DCGM through Prometheus."""
    tensor_percent: Figure | None = None
    """Share of cycles with busy tensor cores; of DCGM."""
    dram_percent: Figure | None = None
    """Share of cycles with memory traffic; of DCGM."""
    gpu_query: str = ""
    """The query, of DCGM."""
    gpu_not_measured: str = ""
    """Why there is no gpu_percent."""


class Side(Document):
    """A configuration with its size and figures: what was found, what is proposed, or what was seen in production."""

    candidate: str
    engine: str
    precision: str
    kv_cache: str
    image: str = ""
    replicas: int
    gpus: int
    latencies_ms: dict[str, Figure] = {}
    latencies_at_rps: float | None = None
    rate_rps: Figure | None = None
    """Certified rate of one replica; the measured capacity where nothing was certified (``certified`` is then
    false)."""
    certified: bool = False
    utilisation_percent: Figure | None = None
    """Demand over what all replicas sustain."""
    headroom_percent: Figure | None = None
    """What all replicas sustain beyond the demand, in percent of it; negative: they fall short."""
    use: Use | None = None
    """At the rate, or the nearest one that held."""
    use_at_demand: Use | None = None
    """At one replica's share of the demand."""
    cost_per_hour: Figure | None = None
    cost_per_million_tokens: Figure | None = None
    """At the demand, all cost on output tokens."""
    cost_per_million_tokens_at_rate: Figure | None = None
    """With every replica at its rate."""


class Rung(Document):
    """One lever of the ladder: a measured candidate beside the configuration as found."""

    candidate: str
    lever: str
    capacity_rps: Figure | None = None
    times_as_is: Figure | None = None
    """Capacity of one accelerator against that of the configuration as found."""
    saturation_rps: Figure | None = None
    """Closed loop, one replica: the throughput that no open loop exceeds."""
    drop_points: Figure | None = None
    cost_per_million_tokens_at_capacity: Figure | None = None
    outcome: str
    winner: bool = False


class Point(Document):
    """One open-loop probe. A latency is null where the percentile itself was a failed request."""

    purpose: str
    rate_rps: float
    seconds: float
    requests: int
    failed: int
    percentile_ms: dict[str, float | None]
    violations: dict[str, float]
    aborted: bool = False


class Curve(Document):
    candidate: str
    points: tuple[Point, ...]


class Certificate(Document):
    """Quality against the baseline, paired question by question."""

    candidate: str
    asked: int
    lost: int
    won: int
    accuracy_percent: Figure | None = None
    drop_points: Figure
    allowed_points: float
    confidence_percent: int
    verdict: Literal["Pass", "Fail", "Undecided"]
    question_set_sha256: str


class CandidateResult(Document):
    candidate: str
    lever: str
    engine: str
    precision: str
    kv_cache: str
    outcome: str
    verdict: str
    attempts: int
    evidence: Literal["Measured", "Replayed", "Estimated", "Rule", "None"]
    log_tail: str = ""


class EstimatedPlan(Document):
    """A candidate of a run of strategy Rapid that is estimated to serve the demand inside the limits."""

    rank: int
    candidate: str
    lever: str
    method: str
    replicas: int
    gpus: int
    rate_rps: Figure | None = None
    """Largest rate of one replica."""
    latencies_ms: dict[str, Figure] = {}
    latencies_at_rps: float | None = None
    cost_per_million_tokens: Figure | None = None
    kv_tokens: int | None = None
    """Tokens that the KV cache of one replica holds."""


class Learned(Document):
    """What measured trials, of this run and earlier ones, taught the estimator about an engine: how many times as long
    as estimated it takes, with the number of trials and the standard deviation of the logarithm."""

    engine: str
    accelerator: str
    prompt_factor: float
    prompt_count: int
    prompt_spread: float | None = None
    decode_factor: float
    decode_count: int
    decode_spread: float | None = None


class Alternative(Document):
    candidate: str
    replicas: int
    gpus: int
    ruled_out_by: str
    evidence: str
    needed_rps: float | None = None
    """What one replica would have to sustain."""
    shown_rps: float | None = None
    """What one replica was certified for, else its measured lower bound."""


class Minimality(Document):
    """Every plan with fewer accelerators than the proposal, and what rules it out."""

    complete: bool
    alternatives: tuple[Alternative, ...]


class Api(Document):
    """The same traffic bought from an API, at the stated prices."""

    input_per_million: float
    output_per_million: float
    per_hour: float
    per_million_output_tokens: float
    break_even_rps: float | None = None
    """Demand above which the proposal is cheaper than the API."""


class Cost(Document):
    currency: str
    gpu_hourly: float
    saved_per_hour: Figure | None = None
    saved_percent: Figure | None = None
    api: Api | None = None


class Search(Document):
    trials: int
    gpu_hours: float
    wall_hours: float | None = None
    money: float | None = None
    payback_hours: float | None = None
    probe_seconds: int
    certification_seconds: int


class Repeat(Document):
    """How to repeat the certificate with an independent tool."""

    rate_rps: float
    seconds: float
    seed: int
    command: str


class ArtefactResult(Document):
    name: str
    recipe: str
    state: str
    sha256: str = ""
    size_bytes: int = 0


class Versions(Document):
    cli: str
    generator: int
    images: tuple[str, ...]
    question_set_sha256: str = ""
    artefacts: tuple[ArtefactResult, ...] = ()


class Result(Document):
    schema_version: str = SCHEMA
    subject: Subject
    targets: Targets
    decision: Decision
    before: Side | None = None
    after: Side | None = None
    observed: Side | None = None
    ladder: tuple[Rung, ...] = ()
    curves: tuple[Curve, ...] = ()
    baseline_accuracy_percent: Figure | None = None
    quality: tuple[Certificate, ...] = ()
    candidates: tuple[CandidateResult, ...] = ()
    estimates: tuple[EstimatedPlan, ...] = ()
    """Best first; only of a run of strategy Rapid."""
    learned: tuple[Learned, ...] = ()
    minimality: Minimality | None = None
    cost: Cost | None = None
    search: Search
    repeat: Repeat | None = None
    versions: Versions
    notes: tuple[str, ...] = ()
    replayed: tuple[str, ...] = ()
    """What the engines said they replay; empty: real engines. Where it is not, nothing is called measured."""

    def wire(self) -> dict[str, object]:
        """The document as written: camelCase, absent instead of null, except in latencies where null has a meaning."""
        return _without_none(self.model_dump(by_alias=True, mode="json"))


def _without_none(document: dict[str, object]) -> dict[str, object]:
    return {key: _pruned(value, key == "percentileMs") for key, value in document.items() if value is not None}


def _pruned(value: object, keep: bool) -> object:
    if isinstance(value, dict):
        return value if keep else _without_none(value)
    return [_pruned(item, False) for item in value] if isinstance(value, list) else value
