"""The workload in figures: what everything that reads ``spec.workload`` computes with. Pure.

One function turns each kind of workload into the same figures, so that sizes, costs and estimates do not ask which kind
it was.
"""

from dataclasses import dataclass, field

from rightsizer_jobs.workload import Bin, Histogram, Length, Lognormal, TraceFacts, mean_of, quantile_of
from rightsizer_operator.resource.base import number
from rightsizer_operator.resource.workload import (
    LengthBin,
    Lengths,
    StaticWorkload,
    TraceWorkload,
    WorkloadSpec,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Lengths are means, in tokens; the demand is the peak over all replicas, in requests a second.

    What only a trial can read from the model volume is 0 until one has.
    """

    demand_rps: float
    input_tokens: float
    output_tokens: float
    arrivals: str
    source: str
    """Where the demand comes from, in words."""
    inputs: Length | None = field(default=None, repr=False)
    outputs: Length | None = field(default=None, repr=False)
    """Distributions of the lengths, where they are stated."""
    burstiness: float | None = None
    """Shape of Gamma arrivals."""
    facts: TraceFacts | None = None
    """What a trial found in the trace."""

    @property
    def known(self) -> bool:
        """Whether the demand is known yet."""
        return self.demand_rps > 0

    @property
    def alike(self) -> bool:
        """Whether all requests are alike and arrive as the estimator has them arrive."""
        return (
            self.arrivals in ("Poisson", "Constant") and isinstance(self.inputs, int) and isinstance(self.outputs, int)
        )

    @property
    def lengths(self) -> str:
        """``64 tokens in, 24 out``."""
        return f"{self.input_tokens:.6g} tokens in, {self.output_tokens:.6g} out"

    def least_output(self, percentile: int) -> float:
        """A length that more requests exceed than the percentile lets off; 0: none is known."""
        return quantile_of(self.outputs, percentile / 100) if self.outputs is not None else 0.0


def resolved(workload: WorkloadSpec, facts: TraceFacts | None = None) -> Resolved:
    """The figures of a workload. ``facts``: what a trial found in its trace; none yet: its figures are not known."""
    if workload.static is not None:
        return _stated(workload.static)
    assert workload.trace is not None
    return _recorded(workload.trace, facts)


def _stated(static: StaticWorkload) -> Resolved:
    inputs, outputs = input_length(static), output_length(static)
    return Resolved(
        demand_rps=number(static.request_rate),
        input_tokens=mean_of(inputs),
        output_tokens=mean_of(outputs),
        arrivals=static.arrivals,
        source="stated",
        inputs=inputs,
        outputs=outputs,
        burstiness=None if static.burstiness is None else number(static.burstiness),
    )


def _recorded(trace: TraceWorkload, facts: TraceFacts | None) -> Resolved:
    scale = 1.0 if trace.time_scale is None else number(trace.time_scale)
    if trace.request_rate is not None:
        demand, source = number(trace.request_rate), "stated"
    elif facts is None:
        demand, source = 0.0, "the trace, which no trial has read yet"
    else:
        demand = facts.mean_rps * scale
        times = "" if scale == 1 else f" x {scale:g}"
        source = f"mean rate of {facts.requests} requests in {facts.seconds:g} s of the trace{times}"
    return Resolved(
        demand_rps=demand,
        input_tokens=facts.input_tokens if facts else 0.0,
        output_tokens=facts.output_tokens if facts else 0.0,
        arrivals="Trace",
        source=source,
        facts=facts,
    )


def stated_demand(workload: WorkloadSpec) -> tuple[str, float]:
    """The field that states the demand, and its number: a rate, or a multiple of the trace's own (1 by default)."""
    if workload.static is not None:
        return "spec.workload.static.requestRate", number(workload.static.request_rate)
    trace = workload.trace
    if trace is not None and trace.request_rate is not None:
        return "spec.workload.trace.requestRate", number(trace.request_rate)
    scale = trace.time_scale if trace is not None else None
    return "spec.workload.trace.timeScale", 1.0 if scale is None else number(scale)


def input_length(static: Lengths) -> Length:
    """The distribution of the input lengths."""
    return _length(static.input_tokens, static.input_tokens_p95, static.input_tokens_histogram)


def output_length(static: Lengths) -> Length:
    """The distribution of the output lengths."""
    return _length(static.output_tokens, static.output_tokens_p95, static.output_tokens_histogram)


def _length(tokens: int | None, p95: int | None, histogram: tuple[LengthBin, ...] | None) -> Length:
    if histogram is not None:
        return Histogram(bins=tuple(Bin(tokens=one.tokens, weight=one.weight) for one in histogram))
    assert tokens is not None
    return tokens if p95 is None or p95 == tokens else Lognormal(mean=tokens, at_percentile=p95)


def stated_at(load: WorkloadSpec, rate_rps: str) -> WorkloadSpec:
    """A workload that asks Prometheus, as a static one at the rate that was read."""
    names = [name for name in StaticWorkload.model_fields if name != "request_rate"]
    lengths = {name: getattr(load.prometheus, name) for name in names}
    return load.model_copy(update={"static": StaticWorkload(**lengths, request_rate=rate_rps), "prometheus": None})
