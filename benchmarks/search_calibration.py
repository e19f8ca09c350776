"""The capacity search on an engine model: bias, spread, cost, and whether the stated errors are true.

Every search is the real one (``rightsizer_jobs.trial.search``, ``stats``, ``loadgen.metrics``) on virtual time, against
cases whose true capacity is known from runs far longer than any search (``benchmarks.oracle``). Each is then certified
as the operator does it: a new seed, a fresh start, a miss steps the rate down. The cases are variations of the six of
``benchmarks.oracle.cases`` whose seeds were never used to tune the search.
"""

import argparse
import functools
import hashlib
import inspect
import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.occasion import heading
from benchmarks.oracle import demand, engine
from benchmarks.oracle import truth as curves
from benchmarks.oracle.cases import CASES, Case, varied
from benchmarks.oracle.trial import certify, explore
from benchmarks.oracle.truth import Truth, truth
from rightsizer_jobs.loadgen import arrivals, metrics, sequence
from rightsizer_jobs.stats import holds
from rightsizer_operator.phases import assignments
from rightsizer_operator.resource.effort import MeasurementSpec
from rightsizer_operator.sizing.verdicts import MAX_STEP_DOWNS, STEP_DOWN

FIRST_VARIATION = 101
"""Variations below it, and the plain cases, are for tuning."""
CLEAR = 0.075
"""A true share above it is a violation that matters; 0.05 is allowed."""
CERTIFY_SEED = 500_000_000

CLOCKS = {
    "default": MeasurementSpec(),
    "demo": MeasurementSpec(
        probe_seconds=20, saturation_seconds=20, warmup_seconds=5, max_probes=4, target_error_percent=12,
        certification_seconds=45,
    ),
}  # fmt: skip
"""The settings of a resource that says nothing, and those of the demo (``e2e/stage/objects.py``)."""


@dataclass(frozen=True, slots=True)
class Known:
    case: Case
    truth: Truth


@dataclass(frozen=True, slots=True)
class Search:
    """One search and its certification. Errors are ln(found / true); shares are true violation shares at the rate."""

    name: str
    settled: bool
    minutes: float
    target: float
    true_rps: float
    found: float = 0.0
    lower: float = 0.0
    error: float = 0.0
    share: float = 0.0
    slope: float = 0.0
    true_slope: float = 0.0
    inflation: float = 0.0
    certified: float | None = None
    certified_share: float = 0.0
    certify_minutes: float = 0.0
    steps_down: int = 0

    @property
    def z(self) -> float:
        return self.found / self.error


def one_search(known: Known, spec: MeasurementSpec, seed: int) -> Search:
    case, true = known.case, known.truth
    measurement = assignments.measurement_of(spec, "Explore")
    explored = explore(case, seed=seed, measurement=measurement)
    capacity, minutes = explored.capacity, explored.engine_s / 60
    base = Search(case.name, False, minutes, measurement.target_error, true.capacity_rps)
    if capacity is None or capacity.lower_rps <= 0:
        return base
    rate, spent = capacity.lower_rps, 0.0
    certified, steps = None, 0
    while certified is None and steps <= MAX_STEP_DOWNS:
        probe, seconds = certify(case, rate, seed=CERTIFY_SEED + 10 * seed + steps, measurement=measurement)
        spent += seconds
        if holds(probe, case.slo):
            certified = rate
        else:
            rate, steps = rate * STEP_DOWN, steps + 1
    return Search(
        name=case.name,
        settled=True,
        minutes=minutes,
        target=measurement.target_error,
        true_rps=true.capacity_rps,
        found=math.log(capacity.rate_rps / true.capacity_rps),
        lower=math.log(capacity.lower_rps / true.capacity_rps),
        error=max(1e-6, capacity.standard_error),
        share=true.share(capacity.lower_rps),
        slope=capacity.slope,
        true_slope=true.slope,
        inflation=capacity.variance_inflation,
        certified=None if certified is None else math.log(certified / true.capacity_rps),
        certified_share=0.0 if certified is None else true.share(certified),
        certify_minutes=spent / 60,
        steps_down=steps,
    )


COLUMNS = (
    "shape", "true req/s", "searches", "estimate: mean, sd", "stated error", "sd of z", "lower bound: mean",
    "lets too many violate: any, clearly", "certified: mean, sd", "lets too many violate: any, clearly", "steps down",
    "not certified", "engine minutes", "with certification", "slope (true)", "inflation",
)  # fmt: skip


def table(title: str, searches: Sequence[Search]) -> None:
    """One line for each shape and one for all. Too many: more than 5 %; clearly: more than 7.5 %."""
    print(f"\n{title}\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for name in dict.fromkeys(one.name for one in searches):
        print(_line(name, [one for one in searches if one.name == name]))
    print(_line("**all**", searches))


def _line(title: str, searches: Sequence[Search]) -> str:
    found = [one for one in searches if one.settled]
    held = [one for one in found if one.certified is not None]
    rates = sorted({one.true_rps for one in searches})
    certified = [one.certified for one in held if one.certified is not None]
    cells = (
        title,
        f"{rates[0]:.1f}-{rates[-1]:.1f}",
        f"{len(searches)}",
        f"{_mean(found, lambda s: s.found):+.1%}, {_spread([s.found for s in found]):.1%}",
        f"{_mean(found, lambda s: s.error):.1%}",
        f"{_spread([s.z for s in found]):.2f}",
        f"{_mean(found, lambda s: s.lower):+.1%}",
        _over([one.share for one in found]),
        f"{statistics.fmean(certified or [math.nan]):+.1%}, {_spread(certified):.1%}",
        _over([one.certified_share for one in held]),
        f"{_mean(found, lambda s: s.steps_down):.2f}",
        f"{len(searches) - len(held)}",
        f"{_mean(searches, lambda s: s.minutes):.1f}",
        f"{_mean(searches, lambda s: s.minutes + s.certify_minutes):.1f}",
        f"{_mean(found, lambda s: s.slope):.0f} ({_mean(found, lambda s: s.true_slope):.0f})",
        f"{_mean(found, lambda s: s.inflation):.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _mean(searches: Iterable[Search], of: Callable[[Search], float]) -> float:
    return statistics.fmean([of(one) for one in searches] or [math.nan])


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else math.nan


def _over(shares: Sequence[float]) -> str:
    return ", ".join(f"{sum(share > limit for share in shares) / max(1, len(shares)):.1%}" for limit in (0.05, CLEAR))


def verdict(searches: Sequence[Search]) -> None:
    """What is to be reached, and what was."""
    found = [one for one in searches if one.settled]
    held = [one for one in found if one.certified is not None]
    mean = statistics.fmean([one.certified for one in held if one.certified is not None])
    clear = sum(one.certified_share > CLEAR for one in held) / len(searches)
    optimism = sum(one.z > 2 for one in found) / len(searches)
    fast = [one for one in searches if one.true_rps >= 5]
    print("\n| to reach over all | found |\n|---|---|")
    print(f"| mean of the certified rates between -4 % and 0 | {mean:+.1%} |")
    print(f"| certified rates that let more than 7.5 % violate in under 2 % | {clear:.1%} |")
    print(f"| sd of z between 0.8 and 1.3 | {_spread([one.z for one in found]):.2f} |")
    print(f"| optimistic by more than 2 standard errors in under 3 % | {optimism:.1%} |")
    print(f"| mean cost at most 15 engine minutes | {_mean(searches, lambda s: s.minutes):.1f} |")
    print(
        f"| (from 5 requests/s on: stated error, minutes) | {_mean(fast, lambda s: s.error):.1%}, "
        f"{_mean(fast, lambda s: s.minutes):.1f} |"
    )


def _known(job: tuple[Case, int, Path | None]) -> Known:
    """The true curve, kept in a file where a folder for it is given: it depends on the case and on what computes it."""
    case, requests, folder = job
    if folder is None:
        return Known(case, truth(case, requests=requests))
    name = hashlib.sha256(f"{requests} {case!r} {_computed_by()}".encode()).hexdigest()[:16]
    path = folder / f"{case.name}-{name}.json"
    if not path.exists():
        path.write_text(json.dumps(asdict(truth(case, requests=requests))))
    values = json.loads(path.read_text())
    return Known(case, Truth(tuple(values["log_rates"]), tuple(values["log_shares"]), values["allowed"]))


@functools.cache
def _computed_by() -> str:
    """The text of the modules that a true curve comes from: another text, another curve."""
    return "".join(inspect.getsource(module) for module in (demand, engine, curves, arrivals, metrics, sequence))


def _searched(job: tuple[Known, MeasurementSpec, int]) -> Search:
    return one_search(*job)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--searches", type=int, default=216, help="searches with the default settings (default 216)")
    options.add_argument("--demo-searches", type=int, default=108, help="searches with the demo's settings")
    options.add_argument("--variations", type=int, default=2, help="variations of each shape")
    options.add_argument("--first", type=int, default=FIRST_VARIATION, help="the first variation's number")
    options.add_argument("--truth", type=int, default=120_000, help="requests at each point of a true curve")
    options.add_argument("--keep", type=Path, help="folder in which true curves are kept from run to run")
    options.add_argument("--workers", type=int, default=2, help="processes")
    given = options.parse_args()
    print(heading())
    began = time.monotonic()
    cases = [varied(case, given.first + n) for case in CASES for n in range(given.variations)]
    with multiprocessing.Pool(given.workers) as pool:
        known = pool.map(_known, [(case, given.truth, given.keep) for case in cases], chunksize=1)
        print(f"{len(cases)} cases, their true capacities from {given.truth} requests a point")
        for clock, wanted in (("default", given.searches), ("demo", given.demo_searches)):
            each = round(wanted / len(known))
            if each < 1:
                continue
            jobs = [(one, CLOCKS[clock], 1000 * n + seed) for n, one in enumerate(known) for seed in range(1, each + 1)]
            searches = pool.map(_searched, jobs, chunksize=2)
            table(f"{clock} settings: {len(searches)} searches", searches)
            verdict(searches)
    print(f"\n{time.monotonic() - began:.0f} s with {given.workers} processes")


if __name__ == "__main__":
    main()
