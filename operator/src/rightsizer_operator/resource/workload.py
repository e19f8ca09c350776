"""``spec.workload``: what the target has to carry. Exactly one kind of workload; each brings its lengths and its peak.

Everything that computes with it goes through ``sizing.workload``.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from rightsizer_operator.resource.base import Positive, RelativePath, Resource, Sha256, Whole
from rightsizer_operator.resource.rules import Rule, Unique

KINDS = ("static", "trace", "prometheus")
"""The fields of a workload of which exactly one is set."""

SPREAD_TENTHS = 38
"""A 95th percentile of log-normal lengths is at most exp(1.645^2 / 2) = 3.87 times their mean."""


class LengthBin(Resource):
    tokens: Whole = Field(ge=1, le=1_000_000, description="Tokens of a request.")
    weight: Whole = Field(ge=1, le=1_000_000_000, description="How often they occur, against the other entries.")


LengthHistogram = Annotated[tuple[LengthBin, ...], Field(min_length=1, max_length=64), Unique("tokens")]


def _one_length(side: str, attribute: str) -> tuple[Rule, ...]:
    """A length is one number, with a percentile where it varies, or a histogram."""
    number, percentile, histogram = attribute, f"{attribute}_p95", f"{attribute}_histogram"

    def spread(load: Any) -> bool:
        mean, high = getattr(load, number), getattr(load, percentile)
        return mean is None or high is None or (mean <= high and high * 10 <= mean * SPREAD_TENTHS)

    return (
        Rule(
            cel=f"has(self.{side}) != has(self.{side}Histogram)",
            message=f"set exactly one of {side} and {side}Histogram",
            holds=lambda load: (getattr(load, number) is None) != (getattr(load, histogram) is None),
        ),
        Rule(
            cel=f"!has(self.{side}P95) || has(self.{side})",
            field=f".{side}P95",
            message=f"needs {side}, the mean",
            holds=lambda load: getattr(load, percentile) is None or getattr(load, number) is not None,
        ),
        Rule(
            cel=f"!has(self.{side}P95) || !has(self.{side}) || (self.{side} <= self.{side}P95 && "
            f"self.{side}P95 * 10 <= self.{side} * {SPREAD_TENTHS})",
            field=f".{side}P95",
            message=f"must lie between 1 and 3.8 times {side}, as of log-normal lengths; use {side}Histogram for "
            "other shapes",
            holds=spread,
        ),
    )


class Lengths(Resource):
    """Lengths and arrivals of the requests, stated."""

    input_tokens: Whole | None = Field(
        default=None, ge=1, le=1_000_000, description="Input tokens of a request; the mean where inputTokensP95 is set."
    )
    input_tokens_p95: Whole | None = Field(
        default=None, ge=1, le=3_800_000, description="95th percentile of log-normal input lengths. Default: all alike."
    )
    input_tokens_histogram: LengthHistogram | None = Field(
        default=None, description="Input lengths that occur, with weights; in the place of inputTokens."
    )
    output_tokens: Whole | None = Field(
        default=None, ge=1, le=100_000, description="Output tokens of a request; the mean where outputTokensP95 is set."
    )
    output_tokens_p95: Whole | None = Field(
        default=None, ge=1, le=380_000, description="95th percentile of log-normal output lengths. Default: all alike."
    )
    output_tokens_histogram: LengthHistogram | None = Field(
        default=None, description="Output lengths that occur, with weights; in the place of outputTokens."
    )
    arrivals: Literal["Poisson", "Constant", "Gamma"] = Field(default="Poisson", description="Arrival process.")
    burstiness: Positive | None = Field(
        default=None,
        description='Shape of Gamma arrivals: "1" is Poisson, below it comes in bursts, above it is more even.',
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        *_one_length("inputTokens", "input_tokens"),
        *_one_length("outputTokens", "output_tokens"),
        Rule(
            cel="has(self.burstiness) == (self.arrivals == 'Gamma')",
            field=".burstiness",
            message="is set where arrivals is Gamma, and only there",
            holds=lambda load: (load.burstiness is not None) == (load.arrivals == "Gamma"),
        ),
    )


class StaticWorkload(Lengths):
    request_rate: Positive = Field(description='Peak demand in requests a second over all replicas, e.g. "5.5".')


class TraceWorkload(Resource):
    path: RelativePath = Field(description="File on the modelCache volume (formats: docs/workloads.md).")
    format: Literal["Azure", "Mooncake", "BurstGPT"] | None = Field(
        default=None, description="Format of the file. Default: recognised from its first line."
    )
    sha256: Sha256 | None = Field(default=None, description="Digest the file must have.")
    start_seconds: Whole = Field(
        default=0, ge=0, le=1_000_000_000, description="Start of the replayed window, counted from the first request."
    )
    duration_seconds: Whole | None = Field(
        default=None, ge=1, le=1_000_000_000, description="Length of the replayed window. Default: to the end."
    )
    time_scale: Positive | None = Field(
        default=None,
        description='Demand as a multiple of the window\'s own mean rate, e.g. "2" for twice the traffic. Default: 1.',
    )
    request_rate: Positive | None = Field(
        default=None,
        description="Peak demand in requests a second over all replicas, in the place of the window's own mean rate.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.timeScale) || !has(self.requestRate)",
            field=".timeScale",
            message="set timeScale or requestRate, not both: each states the demand",
            holds=lambda trace: trace.time_scale is None or trace.request_rate is None,
        ),
    )


class PrometheusWorkload(Lengths):
    window_hours: Whole = Field(
        default=168, ge=1, le=2160, description="How far back the peak is looked for, in hours; 168 is a week."
    )
    average_minutes: Whole = Field(
        default=5, ge=1, le=60, description="The peak is the highest mean rate over so many minutes."
    )
    drift_percent: Whole = Field(
        default=25,
        ge=5,
        le=1000,
        description="A peak that differs by more, in percent, from the one that a finished search was made for starts "
        "a new search.",
    )


class WorkloadSpec(Resource):
    static: StaticWorkload | None = Field(default=None, description="Stated lengths, arrivals and peak rate.")
    trace: TraceWorkload | None = Field(
        default=None, description="Recorded requests, replayed with their lengths and bursts, scaled in time."
    )
    prometheus: PrometheusWorkload | None = Field(
        default=None,
        description="Stated lengths and arrivals; the peak rate is read from the engine's own counters in the "
        "Prometheus that the operator is configured with, for the pods of the target.",
    )
    api: Literal["Completions", "Chat"] = Field(
        default="Completions",
        description="Interface that the requests go to. Completions sends prompts as token ids of exact length; Chat "
        "sends text through the engine's chat template, which is part of the input tokens.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"[{', '.join(f'has(self.{kind})' for kind in KINDS)}].filter(set, set).size() == 1",
            message=f"set exactly one of {', '.join(KINDS)}",
            holds=lambda workload: sum(getattr(workload, kind) is not None for kind in KINDS) == 1,
        ),
    )
