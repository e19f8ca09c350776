"""Who asks, when, and for how many tokens. Pure: one seed gives the same requests and the same unit-rate gaps at every
rate and for every engine.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, takewhile
from statistics import NormalDist

from rightsizer_jobs.loadgen.arrivals import poisson_gaps
from rightsizer_jobs.loadgen.sequence import STRATUM


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: seconds from the start of the run, tokens in and out."""

    at: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """A length: lognormal around ``mean`` with the coefficient of variation ``spread`` (0: fixed), at most ``most``."""

    mean: int
    spread: float = 0.0
    most: int = 1_000_000

    def quantiles(self) -> list[int]:
        """As the product draws lengths: evenly spaced quantiles."""
        sigma = math.sqrt(math.log(1 + self.spread**2))
        found: list[int] = []
        for number in range(STRATUM):
            normal = NormalDist().inv_cdf((number + 0.5) / STRATUM)
            value = math.exp(math.log(self.mean) - sigma * sigma / 2 + sigma * normal)
            found.append(min(self.most, max(1, round(value))))
        return found


@dataclass(frozen=True, slots=True)
class Demand:
    """Lengths and the arrival process. ``burstiness``: coefficient of variation of the gaps, 1 is Poisson, above it
    gamma. ``swell``: relative amplitude of a slow wave over the rate with ``swell_requests`` requests a period, as
    recorded traces have it; it stretches and shrinks with the rate, as a replayed trace does.
    """

    input_tokens: Tokens
    output_tokens: Tokens
    burstiness: float = 1.0
    swell: float = 0.0
    swell_requests: int = 400

    @property
    def bursty(self) -> bool:
        """Whether arrivals swing more than Poisson ones."""
        return self.burstiness > 1 or self.swell > 0

    def instants(self, rate_rps: float, seed: int, until_s: float) -> list[int]:
        """When requests arrive, nanoseconds from the start of the run."""
        elapsed = accumulate(gap / rate_rps for gap in self.gaps(seed))
        return [round(at * 1e9) for at in takewhile(lambda at: at < until_s, elapsed)]

    def lengths(self, seed: int) -> Iterator[tuple[int, int]]:
        """Input and output tokens, request by request, in strata as the product has them."""
        source = random.Random(seed ^ 0x5EED)
        inputs, outputs = self.input_tokens.quantiles(), self.output_tokens.quantiles()
        while True:
            yield from zip(source.sample(inputs, STRATUM), source.sample(outputs, STRATUM), strict=True)

    def gaps(self, seed: int) -> Iterator[float]:
        """Gaps of mean 1."""
        if self.burstiness == 1.0 and self.swell == 0.0:
            yield from poisson_gaps(seed)
        source = random.Random(seed)
        shape = self.burstiness**-2
        phase = source.random()
        for index in range(1 << 62):
            wave = 1.0
            if self.swell:
                wave = 1 + self.swell * math.sin(2 * math.pi * (index / self.swell_requests + phase))
            yield source.gammavariate(shape, 1 / shape) * wave

    def arrivals(self, rate_rps: float, seed: int) -> Iterator[Arrival]:
        """Without an end."""
        elapsed = 0.0
        for gap, (tokens_in, tokens_out) in zip(self.gaps(seed), self.lengths(seed), strict=False):
            elapsed += gap / rate_rps
            yield Arrival(elapsed, tokens_in, tokens_out)
