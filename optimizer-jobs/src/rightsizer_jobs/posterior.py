"""Where a violation curve crosses the allowed share: the posterior of its position and slope, by sums over a grid.

Pure, standard library only. Called by ``stats``. The curve is ``ln share = ln allowed + slope (ln rate - x)``; the
violations of a probe are binomial over its effective requests.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

PRIOR_SLOPE = 12.0
PRIOR_SLOPE_SPREAD = 0.5
"""Elasticity dln(violation share)/dln(rate) before any measurement: its median, and the spread of its logarithm."""

PRIOR_REACH = 2.5
"""Slopes are weighed within so many spreads of the median: 3.4 to 42."""

GRID_ROUNDS = 3
"""Each closes in on what the one before found."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One probe as evidence: ln of its rate, effective requests above and below the limit, and ln of the share at which
    its curve ends: where the probe only says that the rate is too high, more of it says nothing more.
    """

    log_rate: float
    bad: float
    good: float
    log_top: float


@dataclass(frozen=True, slots=True)
class Located:
    """``x``: ln of the rate at which the share is the allowed one; ``error``: its standard deviation."""

    x: float
    error: float
    slope: float


def located(seen: Sequence[Seen], log_allowed: float) -> Located:
    """Mean and spread of x over the posterior of (x, slope)."""
    rates = _Axis(min(one.log_rate for one in seen) - 1.0, max(one.log_rate for one in seen) + 0.6, 48)
    slopes = _Axis(-PRIOR_REACH, PRIOR_REACH, 12)
    for _ in range(GRID_ROUNDS):
        (x, error), (z, spread) = _posterior(seen, rates, slopes, log_allowed)
        if error > 3 * rates.step and spread > slopes.step:
            break
        rates, slopes = rates.around(x, error), slopes.around(z, spread)
    slope = PRIOR_SLOPE * math.exp(PRIOR_SLOPE_SPREAD * z)
    return Located(x, error * _misfit(seen, x, slope, log_allowed), slope)


@dataclass(frozen=True, slots=True)
class _Axis:
    """Points between two ends."""

    low: float
    high: float
    steps: int

    @property
    def step(self) -> float:
        return (self.high - self.low) / self.steps

    def points(self) -> list[float]:
        return [self.low + self.step * n for n in range(self.steps + 1)]

    def around(self, mean: float, spread: float) -> "_Axis":
        reach = 4 * spread + self.step
        return _Axis(max(self.low, mean - reach), min(self.high, mean + reach), self.steps)


def _posterior(
    seen: Sequence[Seen], rates: _Axis, slopes: _Axis, log_allowed: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Mean and standard deviation of x, and of the slope in spreads of its prior."""
    weights: list[tuple[float, float, float]] = []
    for z in slopes.points():
        slope = PRIOR_SLOPE * math.exp(PRIOR_SLOPE_SPREAD * z)
        for x in rates.points():
            # Flat over the curve's level, not over x: shallow slopes would gain by their longer stretch of x.
            likelihood = z * PRIOR_SLOPE_SPREAD - z * z / 2
            for one in seen:
                share = min(log_allowed + slope * (one.log_rate - x), one.log_top)
                likelihood += one.bad * share + one.good * math.log1p(-math.exp(share))
            weights.append((likelihood, x, z))
    best = max(weight for weight, _, _ in weights)
    chances = [(math.exp(weight - best), x, z) for weight, x, z in weights]
    return _moments([(chance, x) for chance, x, _ in chances]), _moments([(chance, z) for chance, _, z in chances])


def _moments(weighted: Sequence[tuple[float, float]]) -> tuple[float, float]:
    total = sum(chance for chance, _ in weighted)
    mean = sum(chance * value for chance, value in weighted) / total
    return mean, math.sqrt(sum(chance * (value - mean) ** 2 for chance, value in weighted) / total)


def _misfit(seen: Sequence[Seen], x: float, slope: float, log_allowed: float) -> float:
    """Factor by which the probes scatter more than their own errors say (Birge ratio), at least 1."""
    total, freedom = 0.0, -2
    for one in seen:
        share = math.exp(min(log_allowed + slope * (one.log_rate - x), one.log_top))
        count = one.bad + one.good
        excess = one.bad - count * share
        if one.bad > 0 and not (excess > 0 and share >= math.exp(one.log_top)):
            total += excess * excess / (count * share * (1 - share))
            freedom += 1
    return math.sqrt(max(1.0, total / freedom)) if freedom > 0 else 1.0
