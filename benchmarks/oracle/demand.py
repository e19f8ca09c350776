"""Who asks, when, and for how many tokens. Pure: one seed gives the same requests and the same unit-rate gaps at every
rate and for every engine.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from rightsizer_jobs.loadgen.arrivals import poisson_gaps


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

    def draw(self, source: random.Random) -> int:
        if self.spread == 0:
            return self.mean
        sigma = math.sqrt(math.log(1 + self.spread**2))
        value = math.exp(source.gauss(math.log(self.mean) - sigma * sigma / 2, sigma))
        return min(self.most, max(1, round(value)))


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

    def lengths(self, seed: int) -> Iterator[tuple[int, int]]:
        """Input and output tokens, request by request."""
        source = random.Random(seed ^ 0x5EED)
        while True:
            yield self.input_tokens.draw(source), self.output_tokens.draw(source)

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

    def arrivals(self, rate_rps: float, seed: int, gaps_seed: int | None = None) -> Iterator[Arrival]:
        """Without an end. ``gaps_seed``: of the gaps, where it is not that of the lengths."""
        elapsed = 0.0
        for gap, (tokens_in, tokens_out) in zip(
            self.gaps(seed if gaps_seed is None else gaps_seed), self.lengths(seed), strict=False
        ):
            elapsed += gap / rate_rps
            yield Arrival(elapsed, tokens_in, tokens_out)
