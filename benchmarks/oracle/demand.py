"""Who asks, when, and for how many tokens. Pure: one seed gives the same requests and the same unit-rate gaps at every
rate and for every engine.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from statistics import NormalDist

from rightsizer_jobs.loadgen.arrivals import gamma_gaps, poisson_gaps
from rightsizer_jobs.loadgen.balance import BALANCED, balanced
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

    def lengths(self, seed: int) -> Iterator[tuple[int, int]]:
        """Input and output tokens, request by request, in strata as the product has them."""
        source = random.Random(seed ^ 0x5EED)
        inputs, outputs = self.input_tokens.quantiles(), self.output_tokens.quantiles()
        while True:
            yield from zip(source.sample(inputs, STRATUM), source.sample(outputs, STRATUM), strict=True)

    def gaps(self, seed: int) -> Iterator[float]:
        """Independent gaps of mean 1, before the swell."""
        if self.burstiness == 1.0:
            return poisson_gaps(seed)
        return gamma_gaps(seed, self.burstiness**-2)

    def arrivals(self, rate_rps: float, seed: int, *, balance: bool = False) -> Iterator[Arrival]:
        """Without an end. ``balance``: bursts as the product sends them, not as chance brings them."""
        gaps = self.gaps(seed)
        if balance:
            gaps = balanced(gaps, [sum(tokens) for tokens in islice(self.lengths(seed), BALANCED)])
        phase, elapsed = random.Random(f"{seed} swell").random(), 0.0
        for index, (gap, (tokens_in, tokens_out)) in enumerate(zip(gaps, self.lengths(seed), strict=False)):
            wave = 1 + self.swell * math.sin(2 * math.pi * (index / self.swell_requests + phase))
            elapsed += gap * wave / rate_rps
            yield Arrival(elapsed, tokens_in, tokens_out)
