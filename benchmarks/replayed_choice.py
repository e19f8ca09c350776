"""Does the operator choose right? ``python -m benchmarks.replayed_choice``, in virtual time over recorded latencies.

For every pair of lengths in the recordings and every SLO of a grid, the operator's own decisions (``phases.advance``,
write by write) and the Jobs' own search run over the replay law (``e2e.replay``): candidates are both engines at TP 1,
2, 4 and 8, as far as they were recorded. What it proposes is held against exhaustive choice: every configuration's
capacity for open-loop Poisson arrivals, from long runs of the same law. Both are judged by what the law says they truly
carry, so that the regret is that of the choice and not of the margin a short measurement keeps.

``--rows FILE.csv`` takes other recordings in the format of ``benchmarks/data/measured.csv``.
"""

import argparse
import multiprocessing
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.occasion import heading
from e2e.replay import exhaustive, recordings, trial
from e2e.replay.exhaustive import Capacities, Choice
from e2e.replay.recordings import TABLE, BadRecordings, Curve, Curves, Lengths, Served
from rightsizer_jobs.contract import Slo, TrialReport
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.sizing import verdicts
from tests.phases import builders
from tests.phases.village import Village

TTFT_MS = (500, 800, 1200)
TPOT_MS = (20, 35, 40)
BEST_GPUS = 1024
"""Size of the best plan at the demand of a cell: so many that rounding up to whole replicas decides nothing."""
ERROR_PERCENT = 1
PROBE_S = 960
"""Wanted standard error of a capacity, and length of a probe: a regret of 2 % cannot be told with an error of 4 %, to
which the default length of 60 s comes.
"""
ALLOWED_REGRET = 0.02
GPU = "nvidia.com/gpu"
PRODUCTS = {"h100_sxm": "NVIDIA-H100-80GB-HBM3", "h200_sxm": "NVIDIA-H200"}
PORT = 8000
IMAGE = "docker.example/replay:1"


@dataclass(frozen=True, kw_only=True)
class Family:
    """What can be chosen between: one model and weight format on one GPU at one pair of lengths."""

    model: str
    system: str
    precision: str
    lengths: Lengths
    curves: dict[Served, Curve]

    @property
    def name(self) -> str:
        lengths = f"{self.lengths.input_tokens}/{self.lengths.output_tokens}"
        return f"{self.model} {self.precision or 'as is'} {self.system} {lengths}"

    @property
    def found(self) -> Served:
        """What serves at first: the widest replica, vLLM where it was recorded."""
        return max(self.curves, key=lambda one: (one.engine == "VLLM", one.parallelism))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One decision and its judgement. ``chosen`` and ``best`` are None where nothing is proposed or possible."""

    family: Family
    slo: Slo
    best: Choice | None
    chosen: Choice | None
    trials: int
    gpu_hours: float
    note: str = ""

    @property
    def regret(self) -> float:
        """Cost of the choice over that of the best, less one; infinite where it found nothing or what cannot serve."""
        if self.best is None:
            return 0.0 if self.chosen is None else float("inf")
        return float("inf") if self.chosen is None else self.chosen.gpus_per_rps / self.best.gpus_per_rps - 1

    @property
    def right(self) -> bool:
        return self.best is None or (self.chosen is not None and self.chosen.served == self.best.served)


def families(curves: Curves) -> Iterator[Family]:
    """Those with something to choose: at least two configurations, each recorded at two concurrencies or more."""
    grouped: dict[tuple[str, str, str, Lengths], dict[Served, Curve]] = defaultdict(dict)
    for served, by_lengths in curves.items():
        for lengths, curve in by_lengths.items():
            if len(curve.concurrency) > 1:
                grouped[served.model, served.system, served.precision, lengths][served] = curve
    for (model, system, precision, lengths), found in sorted(grouped.items()):
        if len(found) > 1:
            yield Family(model=model, system=system, precision=precision, lengths=lengths, curves=found)


def decide(family: Family, slo: Slo, demand_rps: float, probe_s: int) -> Village:
    """A search from the target as found to the proposal; every Job is played in virtual time."""
    return played(spec_of(family, slo, demand_rps, probe_s), target_of(family.found), family.curves)


def played(spec: InferenceDeploymentSpec, target: dict[str, Any], curves: Mapping[Served, Curve]) -> Village:
    """The whole search for a spec, over the law of these curves; ``curves`` on the clock of the spec's limits."""
    village = Village(
        spec=spec,
        target=target,
        nodes=[builders.merged(builders.a_node(), {"status": {"allocatable": {GPU: "64"}}})],
        settings=builders.some_settings(engine_images=dict.fromkeys(("VLLM", "TensorRTLLM"), IMAGE)),
        job_s=60,
    )
    by_name = {(one.engine, one.parallelism): curve for one, curve in curves.items()}

    def play(assignment: Any) -> TrialReport | dict[str, Any]:
        run = village.run
        known = (*run.spec.candidates, *run.status.derived)
        wanted = next(one for one in known if one.id == assignment.candidate)
        curve = by_name.get((wanted.engine, wanted.parallelism))
        if curve is None:  # never recorded: as an engine that does not start
            return {"phase": "Failed", **NEVER_STARTED}
        report = trial.VirtualTrial(assignment, curve).run()
        asked = assignment.questions is not None and bool(report.probes or report.saturation)
        return report.model_copy(update={"answers": builders.answers() if asked else None})

    village.script = play
    village.settle()
    return village


NEVER_STARTED: dict[str, Any] = {
    "initContainerStatuses": [
        {
            "name": "engine",
            "restartCount": 1,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1, "message": "replay: error: there is no recording"}},
        }
    ]
}


def target_of(served: Served) -> dict[str, Any]:
    """A Deployment of one replica as found."""
    flags = ["--served-model-name", "chat", "--port", str(PORT)]
    tp = str(served.parallelism)
    words = ["vllm", "serve", "/models/base", *flags, "--tensor-parallel-size", tp]
    if served.engine == "TensorRTLLM":
        names = ["--served_model_name", "chat", "--host", "0.0.0.0", "--port", str(PORT)]
        words = ["trtllm-serve", "/models/base", *names, "--tp_size", tp]
    limits = {GPU: tp, "memory": "64Gi"}
    split = 2 if words[0] == "vllm" else 1
    return builders.a_target(
        replicas=1,
        command=words[:split],
        args=words[split:],
        resources={"limits": limits},
        image=IMAGE,
    )


def spec_of(family: Family, slo: Slo, demand_rps: float, probe_s: int) -> InferenceDeploymentSpec:
    """Defaults, but for what the recordings dictate: a saturation run that fills the highest recorded concurrency,
    and probes long enough to tell what is close, and of three idle requests at least.
    """
    idle_s = max(c.ttft_at(1) + family.lengths.output_tokens * c.tpot_at(1) for c in family.curves.values()) / 1000
    probe_s = min(3600, max(probe_s, round(3 * idle_s)))
    most = max(curve.most for curve in family.curves.values())
    filling = most + most // 16 + 1  # a few wait, which shows that no more would go in
    spec = builders.a_spec(
        accelerator={"resource": GPU, "type": PRODUCTS.get(family.system, family.system)[:63]},
        workload={
            "static": {
                "inputTokens": family.lengths.input_tokens,
                "outputTokens": family.lengths.output_tokens,
                "requestRate": f"{demand_rps:.3f}",
            }
        },
        search={
            "engines": sorted({one.engine for one in family.curves} | {family.found.engine}),
            "precisions": ["AsIs"],
            "maxGPUsPerReplica": max(one.parallelism for one in family.curves),
            "budget": {"gpuHours": "10000", "maxTrials": 64, "deadlineMinutes": 10_080},
            "measurement": {
                "saturationConcurrency": filling,
                "saturationSeconds": probe_s,
                "probeSeconds": probe_s,
                "warmupSeconds": min(600, probe_s // 3),
                "targetErrorPercent": ERROR_PERCENT,
                "maxProbes": 12,
            },
        },
    )
    limits = {"percentile": slo.percentile, "ttftMs": round(slo.ttft_ms or 0), "tpotMs": round(slo.tpot_ms or 0)}
    return InferenceDeploymentSpec.model_validate({**spec.wire(), "slo": limits})


def judged(family: Family, known: dict[Served, Capacities], slo: Slo, probe_s: int = PROBE_S) -> Cell:
    found = exhaustive.choices(known.items(), slo)
    best = found[0] if found else None
    demand = BEST_GPUS / best.gpus_per_rps if best else 1.0
    village = decide(family, slo, demand, probe_s)
    status = village.run.status
    chosen = None
    if status.proposal is not None:
        candidate = next(one for one in village.run.spec.candidates if one.id == status.proposal.candidate)
        served = next(
            one for one in family.curves
            if (one.engine, one.parallelism) == (candidate.engine, candidate.parallelism)
        )  # fmt: skip
        chosen = next((one for one in found if one.served == served), Choice(served, 1e-9))
    elif best is not None and status.phase == "Complete":  # the baseline stays, at its own size
        chosen = next((one for one in found if one.served == family.found), None)
    note = "" if chosen else village.status.activity or village.message("Optimized")
    reports = [trial_report for trial_report in map(verdicts.report_of, status.trials) if trial_report is not None]
    hours = sum(one.engine_s * _parallelism(village, one.candidate) for one in reports) / 3600
    return Cell(family=family, slo=slo, best=best, chosen=chosen, trials=len(reports), gpu_hours=hours, note=note[:160])


def _parallelism(village: Village, candidate: str) -> int:
    return next(one.parallelism for one in village.run.spec.candidates if one.id == candidate)


def told(cell: Cell) -> str:
    limits = f"{cell.slo.ttft_ms:g}/{cell.slo.tpot_ms:g}"
    return (
        f"  {limits:>10}  best {_named(cell.best):<16} chosen {_named(cell.chosen):<16} regret {cell.regret:7.1%}  "
        f"{cell.trials:2d} trials {cell.gpu_hours:6.2f} GPU hours{'  ' + cell.note if cell.note else ''}"
    )


def _named(choice: Choice | None) -> str:
    return f"{choice.served.engine} TP{choice.served.parallelism}" if choice else "none"


def summary(cells: Sequence[Cell]) -> Iterator[str]:
    possible = [cell for cell in cells if cell.best is not None]
    near = [cell for cell in possible if cell.right or cell.regret <= ALLOWED_REGRET]
    counted = Counter(_named(cell.best) for cell in possible)
    yield f"{len(cells)} cells, {len(possible)} with a configuration that meets the limits"
    yield f"right engine and TP: {sum(cell.right for cell in possible)} of {len(possible)}"
    yield f"right, or within {ALLOWED_REGRET:.0%} of the best cost: {len(near)} of {len(possible)}"
    finite = [cell.regret for cell in possible if cell.regret < float("inf")]
    if finite:
        yield f"regret: mean {sum(finite) / len(finite):.2%}, worst {max(finite):.2%}"
        yield f"nothing found: {len(possible) - len(finite)}"
    wrong = sum(cell.best is None and cell.chosen is not None for cell in cells)
    yield f"proposals where nothing meets the limits: {wrong}"
    yield f"best by engine and TP: {', '.join(f'{name} {count}' for name, count in counted.most_common())}"


def cells_of(work: tuple[Family, int, int]) -> list[Cell]:
    """Every cell of a family; with the requests of an exhaustive run and the length of a probe."""
    family, requests, probe_s = work
    known = {
        served: Capacities(curve, family.lengths.output_tokens, requests=requests)
        for served, curve in family.curves.items()
    }
    grid = [Slo(ttft_ms=ttft, tpot_ms=tpot) for ttft in TTFT_MS for tpot in TPOT_MS]
    return [judged(family, known, slo, probe_s) for slo in grid]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replayed_choice", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--rows", type=Path, default=TABLE, metavar="FILE.csv", help="other recordings in the same format"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="families whose name holds this text")
    parser.add_argument("--requests", type=int, default=64_000, help="of an exhaustive run (default %(default)s)")
    parser.add_argument("--probe", type=int, default=PROBE_S, help="seconds of a probe (default %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default %(default)s)")
    given = parser.parse_args(arguments)
    try:
        chosen = [family for family in families(recordings.load(given.rows)) if given.only in family.name]
    except BadRecordings as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not chosen:
        print(
            f"error: {given.rows}: nothing to choose between: no two configurations at the same lengths",
            file=sys.stderr,
        )
        return 1
    print(heading("rightsizer-operator", "rightsizer-jobs"))
    cells: list[Cell] = []
    began = time.monotonic()
    with multiprocessing.Pool(given.workers) as pool:
        for found in pool.imap(cells_of, [(family, given.requests, given.probe) for family in chosen]):
            print("\n".join([found[0].family.name, *map(told, found)]), flush=True)
            cells += found
    print("\n".join(["", *summary(cells), f"{time.monotonic() - began:.0f} s with {given.workers} processes"]))
    return 0 if all(cell.right or cell.regret <= ALLOWED_REGRET for cell in cells) else 2


if __name__ == "__main__":
    sys.exit(main())
