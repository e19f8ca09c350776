"""``InferenceDeployment.status``: what is true now, each figure with its evidence class."""

from typing import Annotated, Literal

from pydantic import Field

from rightsizer_operator.resource.base import Quantity, Resource, Sentence, Whole
from rightsizer_operator.resource.conditions import Condition
from rightsizer_operator.resource.rules import Unique

Evidence = Literal["Measured", "Replayed", "Estimated", "Observed"]


class Latencies(Resource):
    """At the SLO percentile, milliseconds."""

    ttft_ms: Quantity | None = Field(default=None, description="Time to first token, milliseconds.")
    itl_ms: Quantity | None = Field(default=None, description="Inter-token latency, milliseconds.")
    tpot_ms: Quantity | None = Field(default=None, description="Time per output token, milliseconds.")
    e2e_ms: Quantity | None = Field(default=None, description="End-to-end latency, milliseconds.")


class Use(Resource):
    """How busy one replica was at a rate: means over a probe."""

    at_rps: Quantity = Field(description="Rate of the replica, requests a second.")
    running: Quantity | None = Field(default=None, description="Requests in the running batch.")
    slots: Quantity | None = Field(default=None, description="Requests that the running batch has places for.")
    batch_percent: Quantity | None = Field(default=None, description="Places of the batch that are taken, percent.")
    waiting: Quantity | None = Field(default=None, description="Requests in the queue.")
    kv_cache_percent: Quantity | None = Field(default=None, description="KV cache in use, percent.")
    gpu_percent: Quantity | None = Field(default=None, description="Time in which a kernel ran, percent.")
    gpu_source: Literal["NVML", "DCGM"] | None = Field(
        default=None, description="NVML: read by the trial's client; DCGM: from Prometheus (dcgm-exporter)."
    )
    tensor_percent: Quantity | None = Field(default=None, description="Cycles with busy tensor cores (DCGM), percent.")
    dram_percent: Quantity | None = Field(default=None, description="Cycles with memory traffic (DCGM), percent.")
    gpu_query: Annotated[str, Field(max_length=2048)] = Field(default="", description="The PromQL query, of DCGM.")
    gpu_not_measured: Annotated[str, Field(max_length=256)] = Field(default="", description="Why gpuPercent is absent.")


class GpuReading(Resource):
    """How busy the GPUs of a measured engine were over a probe, as dcgm-exporter told Prometheus: means over the GPUs
    and the probe's window.
    """

    at_rps: Quantity = Field(description="Rate of the probe, requests a second over all engines.")
    gpu_percent: Quantity | None = Field(default=None, description="Time in which a kernel ran, percent.")
    tensor_percent: Quantity | None = Field(default=None, description="Cycles with busy tensor cores, percent.")
    dram_percent: Quantity | None = Field(default=None, description="Cycles with memory traffic, percent.")
    query: Annotated[str, Field(max_length=2048)] = Field(default="", description="The PromQL query of gpuPercent.")
    not_read: Annotated[str, Field(max_length=128)] = Field(default="", description="Why there is no figure.")


class Configuration(Resource):
    """A serving configuration with its size and figures."""

    candidate: Annotated[str, Field(max_length=63)] = Field(default="", description="Candidate it is, in the run.")
    engine: Annotated[str, Field(max_length=32)] = Field(default="", description="Engine.")
    precision: Annotated[str, Field(max_length=32)] = Field(default="", description="Weight format.")
    kv_cache: Annotated[str, Field(max_length=32)] = Field(default="", description="KV-cache type.")
    replicas: Whole = Field(default=0, ge=0, description="Replicas.")
    gpus: Whole = Field(default=0, ge=0, description="Accelerators over all replicas.")
    latencies: Latencies | None = Field(default=None, description="Latencies at the SLO percentile, milliseconds.")
    latencies_at_rps: Quantity | None = Field(
        default=None, description="Rate of one replica at which the latencies were measured, requests a second."
    )
    certified_rps: Quantity | None = Field(
        default=None, description="Certified rate of one replica, requests a second."
    )
    cost_per_hour: Quantity | None = Field(default=None, description="Price of all accelerators for one hour.")
    cost_per_million_tokens: Quantity | None = Field(
        default=None, description="Price of a million output tokens at the demand."
    )
    cost_per_million_tokens_at_rate: Quantity | None = Field(
        default=None, description="Price of a million output tokens with every replica at its certified rate."
    )
    utilisation_percent: Quantity | None = Field(
        default=None, description="Demand over what all replicas sustain, in percent."
    )
    headroom_percent: Annotated[str, Field(max_length=16)] | None = Field(
        default=None,
        description="What all replicas sustain beyond the demand, in percent of it; negative: they fall short.",
    )
    use: Use | None = Field(default=None, description="How busy one replica was, at the rate nearest to its own.")
    use_at_demand: Use | None = Field(
        default=None, description="How busy one replica was at its share of the demand, where that was measured."
    )
    evidence: Evidence | None = Field(default=None, description="Evidence class of these figures.")


class Demand(Resource):
    """The workload in figures: stated, or as a trial found it in the trace."""

    request_rate: Quantity | None = Field(
        default=None, description="Peak demand over all replicas, requests a second; absent until it is known."
    )
    source: Sentence = Field(default="", description="Where the demand comes from.")
    input_tokens: Quantity | None = Field(default=None, description="Mean input tokens of a request.")
    output_tokens: Quantity | None = Field(default=None, description="Mean output tokens of a request.")
    busiest_minute_rate: Quantity | None = Field(
        default=None, description="Requests a second in the busiest minute of the trace, on its own clock."
    )


class PeakReading(Resource):
    """The peak demand as it was read from Prometheus."""

    rate_rps: Quantity = Field(description="Highest mean rate in the window, requests a second over all replicas.")
    window_hours: Whole = Field(ge=1, description="Length of the window, hours.")
    average_minutes: Whole = Field(ge=1, description="Minutes over which each rate is a mean.")
    query: Annotated[str, Field(max_length=1024)] = Field(description="The PromQL query.")
    read_at: Annotated[str, Field(max_length=32)] = Field(description="When it was read; the window's end.")
    coverage_percent: Quantity | None = Field(
        default=None, description="Share of the window for which Prometheus has data, percent."
    )


class Proposal(Resource):
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$", max_length=12)] = Field(
        description="Identity of the proposal; write it to spec.updatePolicy.approvedProposal to approve."
    )
    candidate: Annotated[str, Field(max_length=63)] = Field(description="Winning candidate.")
    gpus: Annotated[str, Field(max_length=32)] = Field(description="Accelerators before and after, e.g. 4 -> 2.")
    cost_per_million_tokens: Annotated[str, Field(max_length=48)] = Field(
        default="", description="Cost per million output tokens at the demand, before and after; empty without a price."
    )
    configuration: Configuration = Field(description="The winning configuration.")
    sizing: Annotated[str, Field(max_length=256)] = Field(
        default="", description="How its replicas follow from the demand, the headroom and the spare replicas."
    )
    quality_drop_points: Annotated[str, Field(max_length=64)] = Field(
        default="", description="Measured drop with its interval, percentage points."
    )


class RunRef(Resource):
    name: Annotated[str, Field(max_length=63)] = Field(description="Name of the OptimizationRun.")


class InferenceDeploymentStatus(Resource):
    observed_generation: Whole = Field(default=0, description="Generation of the spec that this status speaks of.")
    phase: Annotated[str, Field(max_length=32)] = Field(default="", description="Printed summary of the conditions.")
    activity: Sentence = Field(default="", description="What is going on now, in one sentence.")
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), Unique("type")] = Field(
        default=(), description="The truth."
    )
    demand: Demand | None = Field(default=None, description="The workload in figures.")
    peak: PeakReading | None = Field(
        default=None, description="The peak demand that the figures speak of, where it was read from Prometheus."
    )
    current: Configuration | None = Field(default=None, description="What serves now.")
    proposal: Proposal | None = Field(default=None, description="What is proposed.")
    run_ref: RunRef | None = Field(default=None, description="The run this status rests on.")
    applied_run_ref: RunRef | None = Field(default=None, description="The run whose proposal the target runs.")
