"""What a search over 24 candidates costs and finds: ``python -m benchmarks.race [--sets 14] [--fleet 150]``.

The operator's own ``advance`` (order, drop, rate to beat, ranking, certification) and the Jobs' own search run over the
engine model of ``benchmarks.oracle`` on virtual time. Each set is a random serving case with 24 engines around it; the
prior is the capacity with a random error. Against it: every candidate measured in full, and the best of them certified.
"""

import argparse
import dataclasses
import datetime
import math
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.occasion import heading
from benchmarks.oracle import trial
from benchmarks.oracle.candidates import Candidates, Engine, candidates
from benchmarks.oracle.cases import Case
from benchmarks.oracle.truth import share_at
from rightsizer_jobs.contract import CompressAssignment, Measurement, TrialAssignment, TrialReport
from rightsizer_jobs.stats import allowed_share, holds
from rightsizer_operator.phases import assignments, observe
from rightsizer_operator.resource.base import quantity
from rightsizer_operator.resource.run import Forecast, RunStatus
from rightsizer_operator.resource.spec import MeasurementSpec
from rightsizer_operator.sizing import gpus
from tests.phases import builders
from tests.phases.village import Village, a_job_pod, replaced

START_S = 150.0
PRIOR_ERROR = 0.20
FULL_SEED = 77_000
NEAR = 0.08
"""Candidates whose measured cost-efficiency is so near the best's are looked at in runs far longer than any search."""
TRUTH_REQUESTS = 12_000
TRUTH_STEP, TRUTH_ROUNDS = 1.04, 5
TARGET_SHARE, TARGET_MEAN, TARGET_WORST = 1 / 5, 0.01, 0.02

MEASUREMENT = MeasurementSpec()
"""The defaults, but for a saturation run that fills these engines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A candidate measured in full."""

    engine: Engine
    capacity_rps: float
    lower_rps: float
    seconds: float

    @property
    def efficiency(self) -> float:
        """Requests a second of one accelerator."""
        return self.lower_rps / self.engine.accelerators


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One set: minutes with starts, and how far from the best the choice is in true cost."""

    case: str
    race_min: float
    full_min: float
    tried: int
    stopped: int
    dropped: int
    certifications: int
    regret: float
    full_regret: float
    accelerators: int
    fewest: int
    cpu_s: float


class Cluster(Village):
    """A village whose trials run on engine models; the run's forecast is the prior."""

    def prepare(self, engines: Sequence[Engine], forecast: tuple[Forecast, ...]) -> None:
        self.engines = {engine.id: engine for engine in engines}
        self.forecast = forecast
        self.engine_s = 0.0

    def _create_run(self, manifest: builders.Object) -> None:
        super()._create_run(manifest)
        name = manifest["metadata"]["name"]
        prior = RunStatus(order=f"a prior with an error of {PRIOR_ERROR:.0%}", forecast=self.forecast)
        run = replaced(self.runs[name], status=prior)
        chosen = tuple(one for one in run.spec.candidates if one.id in self.engines)
        self.runs[name] = dataclasses.replace(run, spec=run.spec.model_copy(update={"candidates": chosen}))

    def play_jobs(self) -> None:
        for name, job in list(self.jobs.items()):
            if name in self.pods:
                continue
            assignment = observe.assignment_of(job)
            assert assignment is not None
            start = self.now
            if isinstance(assignment, CompressAssignment):
                result: object = builders.a_compress_report(assignment)
            else:
                result, seconds = measured(self.engines[assignment.candidate].case, assignment)
                self.engine_s += START_S + seconds
                self.now += datetime.timedelta(seconds=START_S + seconds)
            self.pods[name] = a_job_pod(job, start, self.now, result)


def measured(case: Case, assignment: TrialAssignment) -> tuple[TrialReport, float]:
    """The report of a trial as the Job would make it, and its engine seconds from ready."""
    told = {
        "purpose": assignment.purpose,
        "candidate": assignment.candidate,
        "attempt": assignment.attempt,
        "seed": assignment.seed,
        "ready_s": START_S,
        "answers": builders.answers() if assignment.questions else None,
    }
    if assignment.rate_rps is not None:
        held, seconds = trial.certify(
            case, assignment.rate_rps, seed=assignment.seed, measurement=assignment.measurement
        )
        outcome = "Succeeded" if holds(held, assignment.slo) else "MissedSLO"
        return TrialReport(**told, outcome=outcome, probes=(held,), engine_s=START_S + seconds), seconds
    found = trial.explore(
        case, seed=assignment.seed, measurement=assignment.measurement, rate_to_beat_rps=assignment.rate_to_beat_rps
    )
    report = TrialReport(
        **told, outcome=found.outcome, reason=found.reason[:400], probes=found.probes, capacity=found.capacity,
        saturation=found.saturation, engine_s=START_S + found.engine_s,
    )  # fmt: skip
    return report, found.engine_s


def in_full(engines: Sequence[Engine], measurement: Measurement, seed: int) -> list[Measured]:
    """Every candidate by itself, without a rate to beat."""
    results = []
    for number, engine in enumerate(engines):
        found = trial.explore(engine.case, seed=FULL_SEED + 100 * seed + number, measurement=measurement)
        capacity = found.capacity if found.outcome == "Succeeded" else None
        results.append(
            Measured(
                engine=engine,
                capacity_rps=capacity.rate_rps if capacity else 0.0,
                lower_rps=capacity.lower_rps if capacity else 0.0,
                seconds=START_S + found.engine_s,
            )
        )
    return results


def certified_s(best: Measured, measurement: Measurement, seed: int) -> float:
    """Seconds to certify the best of those measured in full, with its steps down."""
    rate, seconds = best.lower_rps, 0.0
    for step in range(4):
        held, spent = trial.certify(
            best.engine.case, rate, seed=FULL_SEED + 100 * seed + 50 + step, measurement=measurement
        )
        seconds += START_S + spent
        if holds(held, best.engine.case.slo):
            break
        rate *= 0.96
    return seconds


def true_capacity(case: Case, near_rps: float) -> float:
    """From long runs at three rates, moved until the worst share is the allowed one between them."""
    for _ in range(TRUTH_ROUNDS):
        found = _crossing(case, near_rps)
        if abs(math.log(found / near_rps)) <= math.log(TRUTH_STEP):
            break
        near_rps = found
    return found


def _crossing(case: Case, near_rps: float) -> float:
    """Where the share is the allowed one on the lines through three points; at most one step beyond them."""
    rates = [near_rps / TRUTH_STEP, near_rps, near_rps * TRUTH_STEP]
    shares = [max(1e-4, share_at(case, rate, TRUTH_REQUESTS)) for rate in rates]
    wanted, points = math.log(allowed_share(case.slo.percentile)), [math.log(share) for share in shares]
    first = 0 if wanted < points[1] else 1
    run = points[first + 1] - points[first] or 1e-6
    position = (wanted - points[first]) / run
    return rates[first] * TRUTH_STEP ** max(-1.0, min(2.0, position))


def raced(made: Candidates, full: Sequence[Measured], demand_rps: float, seed: int) -> Cluster:
    """A whole search by the operator, ended."""
    engines = made.engines
    source = random.Random(f"prior/{seed}")
    forecast = tuple(
        Forecast(candidate=one.engine.id, rate_rps=quantity(one.capacity_rps * math.exp(source.gauss(0, PRIOR_ERROR))))
        if one.capacity_rps else Forecast(candidate=one.engine.id, fails=True, reason="estimated to miss the limits")
        for one in full
    )  # fmt: skip
    case = engines[0].case
    limits = {f"{metric}Ms": round(limit) for metric, limit in case.slo.limits().items()}
    spec = builders.a_spec_document(
        search={
            "precisions": ["AsIs", "INT8", "FP8", "INT4"], "kvCache": ["Auto", "FP8"], "maxGPUsPerReplica": 8,
            "budget": {"gpuHours": "10000", "maxTrials": 64, "deadlineMinutes": 20_000},
            "measurement": MEASUREMENT.wire(),
        },
        workload={"static": {
            "inputTokens": case.demand.input_tokens.mean, "outputTokens": case.demand.output_tokens.mean,
            "requestRate": quantity(demand_rps),
        }},
    )  # fmt: skip
    spec["slo"] = limits
    arguments = builders.a_target()["spec"]["template"]["spec"]["containers"][0]["args"]
    parallel = ["--tensor-parallel-size", str(made.parallelism)] if made.parallelism > 1 else []
    cluster = Cluster(
        spec=builders.InferenceDeploymentSpec.model_validate(spec),
        nodes=[builders.a_node(slots=64)],
        target=builders.a_target(accelerators=made.parallelism, args=[*arguments, *parallel]),
    )
    cluster.prepare(engines, forecast)
    cluster.settle(2000)
    return cluster


def one_set(seed: int, fleet: int, measurement: Measurement) -> Result:
    began = time.process_time()
    made = candidates(seed)
    engines = made.engines
    full = in_full(engines, measurement, seed)
    best = max(full, key=lambda one: one.efficiency)
    demand = fleet * best.capacity_rps / best.engine.accelerators
    cluster = raced(made, full, demand, seed)
    status, proposal = cluster.run.status, cluster.run.status.proposal
    if proposal is None:
        raise SystemExit(f"set {seed}: no proposal: {cluster.status.activity}")
    names = {proposal.candidate, best.engine.id}
    near = [one for one in full if one.engine.id in names or one.efficiency > (1 - NEAR) * best.efficiency]
    true = {one.engine.id: true_capacity(one.engine.case, one.capacity_rps) for one in near}
    accelerators = {engine.id: engine.accelerators for engine in engines}
    efficiency = {name: rate / accelerators[name] for name, rate in true.items()}
    needed = {
        name: accelerators[name] * gpus.replicas_for(gpus.Requirement(demand), rate) for name, rate in true.items()
    }
    top = max(efficiency.values())
    outcomes = [one.outcome for one in status.candidates]
    trials = [one for one in status.trials if one.purpose == "Explore"]
    return Result(
        case=made.name,
        race_min=cluster.engine_s / 60,
        full_min=(sum(one.seconds for one in full) + certified_s(best, measurement, seed)) / 60,
        tried=len({one.subject for one in trials}),
        stopped=sum(one.outcome == "CannotBeat" for one in trials),
        dropped=outcomes.count("Unsupported"),
        certifications=sum(one.purpose == "Certify" for one in status.trials),
        regret=top / efficiency[proposal.candidate] - 1,
        full_regret=top / efficiency[best.engine.id] - 1,
        accelerators=proposal.gpus,
        fewest=min(needed.values()),
        cpu_s=time.process_time() - began,
    )


def told(results: Sequence[Result], first: int = 0) -> list[str]:
    lines = [
        "| set | case | race min | full min | share | tried | stopped early | dropped | certified | regret "
        "| regret in full | accelerators, fewest by truth |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {number} | {one.case} | {one.race_min:.0f} | {one.full_min:.0f} | {one.race_min / one.full_min:.0%} | "
        f"{one.tried} | {one.stopped} | {one.dropped} | {one.certifications} | {one.regret:.1%} "
        f"| {one.full_regret:.1%} | {one.accelerators}, {one.fewest} |"
        for number, one in enumerate(results, first)
    ]
    race, full = statistics.mean(r.race_min for r in results), statistics.mean(r.full_min for r in results)
    regrets = [one.regret for one in results]
    share, mean, worst = race / full, statistics.mean(regrets), max(regrets)
    lines += [
        "",
        f"mean: {race:.0f} engine minutes against {full:.0f} in full, {share:.1%} (to reach: {TARGET_SHARE:.0%}, "
        f"{_met(share <= TARGET_SHARE)}); regret mean {mean:.2%} (to reach: {TARGET_MEAN:.0%}, "
        f"{_met(mean <= TARGET_MEAN)}), worst {worst:.1%} (to reach: {TARGET_WORST:.0%}, "
        f"{_met(worst <= TARGET_WORST)}); in full mean {statistics.mean(r.full_regret for r in results):.2%}, worst "
        f"{max(r.full_regret for r in results):.1%}",
        f"{sum(one.cpu_s for one in results):.0f} CPU seconds",
    ]
    return lines


def _met(yes: bool) -> str:
    return "met" if yes else "missed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=14, help="random sets of 24 candidates")
    parser.add_argument("--first", type=int, default=0, help="seed of the first set")
    parser.add_argument("--fleet", type=int, default=150, help="accelerators that the best candidate needs")
    options = parser.parse_args()
    print(heading("rightsizer-operator"))
    measurement = assignments.measurement_of(MEASUREMENT, "Explore")
    results = []
    for number in range(options.first, options.first + options.sets):
        results.append(one_set(number, options.fleet, measurement))
        last = results[-1]
        print(f"set {number}: {last.race_min:.0f} of {last.full_min:.0f} min, regret {last.regret:.1%}", flush=True)
    print("\n" + "\n".join(told(results, options.first)))


if __name__ == "__main__":
    main()
