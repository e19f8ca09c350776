"""The true violation share of a case over its rate, from runs far longer than any search, and the capacity it means."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.oracle.cases import Case
from benchmarks.oracle.engine import closed_loop, open_loop
from rightsizer_jobs.contract import Slo
from rightsizer_jobs.loadgen.load import Live
from rightsizer_jobs.loadgen.metrics import FORMULAS, output_rate
from rightsizer_jobs.loadgen.records import Record
from rightsizer_jobs.stats import allowed_share

RUN_REQUESTS = 6000
LEAD_REQUESTS = 600
"""Requests of one run, after so many that do not count."""
SEED = 700_000_000
"""Far from every seed a search uses."""
STEPS = (0.88, 0.94, 0.97, 1.0, 1.03, 1.06, 1.12)
"""Rates of the curve, as shares of the capacity found first."""


@dataclass(frozen=True, slots=True)
class Truth:
    """ln of the rate and ln of the violation share (of the worst metric) at the points of the curve."""

    log_rates: tuple[float, ...]
    log_shares: tuple[float, ...]
    allowed: float

    @property
    def capacity_rps(self) -> float:
        """Where the share is the allowed one."""
        wanted = math.log(self.allowed)
        return math.exp(_interpolated(self.log_shares, self.log_rates, wanted))

    def share(self, rate_rps: float) -> float:
        """The violation share at a rate; beyond the curve, its last slope."""
        return min(1.0, math.exp(_interpolated(self.log_rates, self.log_shares, math.log(rate_rps))))

    @property
    def slope(self) -> float:
        """dln(share)/dln(rate) at the capacity."""
        at = math.log(self.capacity_rps)
        return (
            _interpolated(self.log_rates, self.log_shares, at + 0.04)
            - _interpolated(self.log_rates, self.log_shares, at - 0.04)
        ) / 0.08


def truth(case: Case, *, requests: int = 120_000) -> Truth:
    """The curve around the capacity, from ``requests`` a point: fewer to find where it lies, and far from it."""
    low, high = 0.0, saturation_rps(case)
    middle = 0.7 * high
    allowed = allowed_share(case.slo.percentile)
    for _ in range(9):  # to 0.2 % of saturation, on few requests
        if share_at(case, middle, RUN_REQUESTS) <= allowed:
            low = middle
        else:
            high = middle
        middle = (low + high) / 2
    rates = [step * middle for step in STEPS]
    counts = [requests if abs(step - 1) < 0.1 else requests // 4 for step in STEPS]
    shares = [max(1e-5, share_at(case, rate, count)) for rate, count in zip(rates, counts, strict=True)]
    return Truth(tuple(math.log(rate) for rate in rates), tuple(_rising([math.log(p) for p in shares])), allowed)


def share_at(case: Case, rate_rps: float, requests: int) -> float:
    """The worst metric's share of violations over long runs at one rate."""
    runs = max(1, round(requests / RUN_REQUESTS))
    total = 0.0
    for number in range(runs):
        run = open_loop(
            case.shape,
            case.demand.arrivals(rate_rps, SEED + number),
            ramp_s=LEAD_REQUESTS / rate_rps,
            measured_s=RUN_REQUESTS / rate_rps,
            watch=_hopeless,
        )
        if run.stopped:
            return 1.0
        total += worst([record for record in run.records if run.window.counts(record)], case.slo)
    return total / runs


def worst(records: Sequence[Record], slo: Slo) -> float:
    """The largest violation share over the limits, by the client's own formulas."""
    shares = []
    for metric, limit in slo.limits().items():
        formula, above, values = FORMULAS[metric], 0, 0
        for record in records:
            found = formula(record)
            values += len(found)
            above += sum(value > limit for value in found) if found and max(found) > limit else 0
        shares.append(above / values if values else 0.0)
    return max(shares)


def saturation_rps(case: Case, seconds: float = 600.0) -> float:
    """What a closed loop with every place taken completes, in requests a second."""
    run, _ = closed_loop(case.shape, case.demand.lengths(SEED), concurrency=case.shape.sequences, seconds=seconds)
    return output_rate(run.records, run.window) / case.demand.output_tokens.mean


def _hopeless(live: Live) -> str:
    return "overloaded" if live.unserved > 1000 else ""


def _rising(values: Sequence[float]) -> list[float]:
    """The nearest values that never fall (violators pooled), rising by a hair, so that they can be inverted."""
    pools: list[list[float]] = []
    for value in values:
        pools.append([value])
        while len(pools) > 1 and fmean(pools[-2]) > fmean(pools[-1]):
            pools[-2].extend(pools.pop())
    level = [fmean(pool) for pool in pools for _ in pool]
    return [value + 1e-6 * number for number, value in enumerate(level)]


def _interpolated(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """Straight between the points, and beyond them."""
    for position in range(1, len(xs)):
        if x <= xs[position] or position == len(xs) - 1:
            a, b = position - 1, position
            return ys[a] + (ys[b] - ys[a]) * (x - xs[a]) / (xs[b] - xs[a])
    raise ValueError("a curve needs two points")
