"""The workload in figures: what everything that reads ``spec.workload`` computes with. Pure.

One function turns each kind of workload into the same figures, so that sizes, costs and estimates do not ask which kind
it was.
"""

from dataclasses import dataclass

from rightsizer_operator.resource.base import number
from rightsizer_operator.resource.spec import WorkloadSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Lengths are means, in tokens; the demand is the peak over all replicas, in requests a second."""

    demand_rps: float
    input_tokens: float
    output_tokens: float
    arrivals: str

    @property
    def lengths(self) -> str:
        """``64 tokens in, 24 out``."""
        return f"{self.input_tokens:.6g} tokens in, {self.output_tokens:.6g} out"


def resolved(workload: WorkloadSpec) -> Resolved:
    """The figures of a workload."""
    static = workload.static
    return Resolved(
        demand_rps=number(static.request_rate),
        input_tokens=static.input_tokens,
        output_tokens=static.output_tokens,
        arrivals=static.arrivals,
    )
