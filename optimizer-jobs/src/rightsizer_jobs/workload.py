"""What is sent: lengths of the requests and their arrival process, as part of the assignment. Pure values.

Lengths are in tokens. A length is one number, a distribution, or absent where a trace has it.
"""

import math
from statistics import NormalDist
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Arrivals = Literal["Poisson", "Constant", "Gamma", "Trace"]
Api = Literal["Completions", "Chat"]
"""Which of the engine's two interfaces the requests go to: ``/v1/completions`` or ``/v1/chat/completions``."""

TraceFormat = Literal["Azure", "Mooncake", "BurstGPT"]

MOST_OUTPUT = 100_000
LONGEST_SHARE = 0.999
"""A log-normal length is cut at this quantile: one request in a thousand would be longer, without any bound."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Lognormal(Frozen):
    """Log-normal lengths with a mean and the length at one percentile, which is not below the mean."""

    mean: float = Field(ge=1, le=1_000_000)
    percentile: int = Field(default=95, ge=51, le=99)
    at_percentile: float = Field(ge=1, le=4_000_000)

    @property
    def shape(self) -> tuple[float, float]:
        """Mean and standard deviation of the logarithm. Of two solutions the one with the lighter tail."""
        z, ratio = NormalDist().inv_cdf(self.percentile / 100), math.log(self.at_percentile / self.mean)
        sigma = z - math.sqrt(max(0.0, z * z - 2 * ratio))
        return math.log(self.mean) - sigma * sigma / 2, sigma

    @property
    def deviation(self) -> float:
        """Standard deviation, tokens."""
        _, sigma = self.shape
        return self.mean * math.sqrt(math.exp(sigma * sigma) - 1)

    def quantile(self, share: float) -> int:
        """The length that ``share`` of the requests do not exceed."""
        mu, sigma = self.shape
        return max(1, round(math.exp(mu + sigma * NormalDist().inv_cdf(min(share, LONGEST_SHARE)))))

    @model_validator(mode="after")
    def _has_a_solution(self) -> Self:
        most = self.mean * math.exp(NormalDist().inv_cdf(self.percentile / 100) ** 2 / 2)
        if not self.mean <= self.at_percentile <= most:
            raise ValueError(
                f"the {self.percentile}th percentile of log-normal lengths of mean {self.mean:g} lies between "
                f"{self.mean:g} and {most:.6g}, not at {self.at_percentile:g}; use a histogram for other shapes"
            )
        return self


class Bin(Frozen):
    """So many tokens, with a weight that counts against the other bins'."""

    tokens: int = Field(ge=1, le=1_000_000)
    weight: float = Field(gt=0)


class Histogram(Frozen):
    """Lengths that occur, each with its weight."""

    bins: tuple[Bin, ...] = Field(min_length=1, max_length=64)

    @property
    def mean(self) -> float:
        return sum(bin_.tokens * bin_.weight for bin_ in self.bins) / sum(bin_.weight for bin_ in self.bins)

    @property
    def deviation(self) -> float:
        """Standard deviation, tokens."""
        mean, total = self.mean, sum(bin_.weight for bin_ in self.bins)
        return math.sqrt(sum(bin_.weight * (bin_.tokens - mean) ** 2 for bin_ in self.bins) / total)

    @property
    def longest(self) -> int:
        return max(bin_.tokens for bin_ in self.bins)

    def quantile(self, share: float) -> int:
        """The smallest length that at least ``share`` of the requests do not exceed."""
        wanted, reached = share * sum(bin_.weight for bin_ in self.bins), 0.0
        for bin_ in sorted(self.bins, key=lambda one: one.tokens):
            reached += bin_.weight
            if reached >= wanted * (1 - 1e-9):
                return bin_.tokens
        return self.longest


Length = Annotated[int, Field(ge=1, le=1_000_000)] | Lognormal | Histogram


def mean_of(length: Length) -> float:
    """Mean length, tokens."""
    return float(length) if isinstance(length, int) else length.mean


def deviation_of(length: Length) -> float:
    """Standard deviation, tokens."""
    return 0.0 if isinstance(length, int) else length.deviation


def quantile_of(length: Length, share: float) -> int:
    """The length that ``share`` of the requests do not exceed, tokens."""
    return length if isinstance(length, int) else length.quantile(share)


class TraceFile(Frozen):
    """A recorded trace on the model volume and the part of it that is replayed; formats: docs/workloads.md.

    The window counts from the first request of the file and ends with it where no length is given.
    """

    path: str = Field(min_length=1, max_length=512)
    format: TraceFormat | None = Field(default=None, description="recognised from the first line where absent")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    start_s: float = Field(default=0, ge=0)
    duration_s: float | None = Field(default=None, gt=0)


class TraceFacts(Frozen):
    """What a trial found in the replayed window of a trace. Rates are of the trace's own clock; lengths are means."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    requests: int = Field(ge=1)
    seconds: float = Field(gt=0)
    mean_rps: float = Field(gt=0)
    busiest_minute_rps: float = Field(gt=0)
    input_tokens: float = Field(ge=1)
    output_tokens: float = Field(ge=1)


class Workload(Frozen):
    """Lengths and arrival process of the requests. A trace has its own of both."""

    input_tokens: Length | None = None
    output_tokens: Length | None = None
    arrivals: Arrivals = "Poisson"
    burstiness: float | None = Field(
        default=None, gt=0, le=1000, description="shape of Gamma gaps: 1 is Poisson, below it bursts, above it is even"
    )
    trace: TraceFile | None = None
    api: Api = "Completions"

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.trace is not None) != (self.arrivals == "Trace"):
            raise ValueError("arrivals is Trace where a trace is given, and only there")
        if (self.input_tokens is None, self.output_tokens is None) != (self.trace is not None,) * 2:
            raise ValueError("input_tokens and output_tokens are both given, or a trace has them")
        if (self.burstiness is not None) != (self.arrivals == "Gamma"):
            raise ValueError("burstiness is given where arrivals is Gamma, and only there")
        if self.output_tokens is not None and mean_of(self.output_tokens) > MOST_OUTPUT:
            raise ValueError(f"output_tokens: at most {MOST_OUTPUT} a request")
        return self
