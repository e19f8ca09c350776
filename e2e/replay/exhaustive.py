"""The best plan there is on the recordings: every configuration's capacity for open-loop Poisson arrivals, from long
runs of the law. Pure. What a search found is held against this.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from e2e.replay import virtual
from e2e.replay.recordings import Curve, Lengths, Served
from rightsizer_jobs.contract import Metric, Slo
from rightsizer_jobs.loadgen.metrics import percentile

STEP = 1.02
"""Between two rates that are run; the capacity is interpolated between them."""
LEAST_SHARE = 0.004
"""Of the saturation rate: below it a capacity counts as none."""
LED_IN = 0.1
"""Share of the requests that lead in, uncounted."""
SEED = 20251125


def saturation_rps(curve: Curve, tokens: int) -> float:
    """Requests a second of a closed loop at the highest recorded concurrency."""
    return 1000 * curve.most / (curve.ttft_at(curve.most) + (tokens - 1) * curve.tpot_at(curve.most))


@dataclass(slots=True)
class Capacities:
    """Capacities of one curve for any limits; each rate is run once. ``requests``: of a run."""

    curve: Curve
    tokens: int
    percent: int = 95
    requests: int = 20_000
    _known: dict[int, dict[Metric, float]] = field(default_factory=dict, repr=False)

    def at(self, slo: Slo) -> float:
        """Largest rate with every limit met, requests a second; 0 where none is. ttft, tpot and e2e only."""
        low, high = 0, math.ceil(math.log(1 / LEAST_SHARE) / math.log(STEP))
        if self._load(high, slo) > 0:
            return 0.0
        while high - low > 1:  # rates fall with the step: high holds, low does not or is the saturation itself
            middle = (low + high) // 2
            low, high = (low, middle) if self._load(middle, slo) <= 0 else (middle, high)
        above, below = self._load(low, slo), self._load(high, slo)
        share = 0.0 if above <= 0 else below / (below - above)
        return self._rate(high) * STEP**share if low or above > 0 else self._rate(low)

    def _rate(self, step: int) -> float:
        return saturation_rps(self.curve, self.tokens) * STEP**-step

    def _load(self, step: int, slo: Slo) -> float:
        """ln of how far the worst percentile is above its limit; at most 0 where every limit holds."""
        if step not in self._known:
            self._known[step] = self._run(self._rate(step))
        return max(math.log(self._known[step][metric] / limit) for metric, limit in slo.limits().items())

    def _run(self, rate_rps: float) -> dict[Metric, float]:
        instants = virtual.poisson_ms(rate_rps, self.requests, SEED)
        found = virtual.latencies(self.curve, instants, self.tokens)[round(LED_IN * self.requests) :]
        ttft, tpot, e2e = zip(*found, strict=True)
        return {
            "ttft": percentile(ttft, self.percent),
            "tpot": percentile(tpot, self.percent) if self.tokens > 1 else 1e-9,
            "e2e": percentile(e2e, self.percent),
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """A configuration with what it truly carries."""

    served: Served
    capacity_rps: float

    def gpus(self, demand_rps: float) -> int:
        """Of the replicas that carry the demand."""
        return self.served.parallelism * max(1, math.ceil(demand_rps / self.capacity_rps * (1 - 1e-9)))

    @property
    def gpus_per_rps(self) -> float:
        return self.served.parallelism / self.capacity_rps


def choices(table: Iterable[tuple[Served, Capacities]], slo: Slo) -> tuple[Choice, ...]:
    """Every configuration that meets the limits at some rate, cheapest per request first."""
    found = (Choice(served, capacity) for served, known in table if (capacity := known.at(slo)) > 0)
    return tuple(sorted(found, key=lambda choice: choice.gpus_per_rps))


def best(found: Iterable[Choice], demand_rps: float) -> Choice | None:
    """The fewest GPUs for the demand; among equals the one with the most to spare."""
    return min(
        found,
        key=lambda one: (one.gpus(demand_rps), -one.capacity_rps * one.gpus(demand_rps) / one.served.parallelism),
        default=None,
    )


__all__ = ["Capacities", "Choice", "Lengths", "best", "choices", "saturation_rps"]
