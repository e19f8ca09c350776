"""How far the estimator is from published measurements: ``python -m benchmarks.estimator_accuracy [--fit]``.

Prints the error of estimated mean TTFT and TPOT against benchmarks/data/measured.csv (778 closed-loop runs), by pair of
model and GPU and by engine: with the constants in the package, and for every pair with constants fitted on the other
pairs only (benchmarks/data/estimator_folds.json). ``--fit`` makes both anew; it takes minutes.
"""

import argparse
import concurrent.futures
import csv
import datetime
import json
import math
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.occasion import heading
from rightsizer_operator.sizing.estimate import rows as recorded
from rightsizer_operator.sizing.estimate.tables import Efficiencies

HERE = Path(__file__).resolve().parent
DATA, FOLDS = HERE / "data" / "measured.csv", HERE / "data" / "estimator_folds.json"
PACKAGED = HERE.parent / "operator/src/rightsizer_operator/sizing/estimate/efficiencies.json"
TARGET_TPOT, TARGET_TTFT = 0.12, 0.25
NAMES = {"Llama-3.1-8B-Instruct-FP8": "Llama-3.1-8B", "Llama-3.1-8B-Instruct": "Llama-3.1-8B"}

PRIOR = {
    "compute": 0.7, "compute_8bit": 0.6, "block_scaled": 0.67,
    "bandwidth": 0.8, "kv_bandwidth": 0.8, "attention": 0.4, "link": 0.6,
    "allreduce_us": 8.0, "layer_us": 10.0, "step_ms": 1.0, "sequence_us": 20.0, "request_ms": 20.0, "token_us": 50.0,
    "drift_tokens": 10.0,
}  # fmt: skip
"""What is believed before any row."""
WIDTH = {
    "compute": 0.15, "compute_8bit": 0.2, "block_scaled": 0.1,
    "bandwidth": 0.1, "kv_bandwidth": 0.25, "attention": 0.4, "link": 0.5,
    "allreduce_us": 0.6, "layer_us": 0.6, "step_ms": 0.8, "sequence_us": 1.0, "request_ms": 0.7, "token_us": 0.7,
    "drift_tokens": 1.0,
}  # fmt: skip
"""How far a constant may stray, as the standard deviation of its logarithm."""
MOST = {
    "compute": 0.85,
    "compute_8bit": 0.85,
    "block_scaled": 1.0,
    "bandwidth": 0.93,
    "kv_bandwidth": 0.93,
    "attention": 0.8,
    "link": 1.0,
}
STRICTNESS = 0.02
ENGINES = ("VLLM", "TensorRTLLM", "SGLang")
SAMPLE, BUSIEST, ROUNDS = 50, 256, 5
"""Rows and rounds of one fit, which keep it to a minute."""


@dataclass(frozen=True)
class Measured:
    """One line of the file."""

    row: recorded.Row
    pair: tuple[str, str]
    ttft_ms: float
    tpot_ms: float


def read(path: Path) -> list[Measured]:
    """All rows of a file in the format of measured.csv."""
    found = []
    with path.open(newline="") as file:
        for line, record in enumerate(csv.DictReader(file), 2):
            row = recorded.parsed(record, line)
            name = row.model.rpartition("/")[2]
            pair = (NAMES.get(name, name), row.gpu)
            found.append(Measured(row, pair, float(record["ttft_ms"]), float(record["tpot_ms"])))
    return found


Table = dict[str, Efficiencies]


def errors(measured: Measured, table: Table) -> tuple[float, float] | None:
    """Signed relative errors of TTFT and TPOT; None: refused."""
    found = recorded.estimate(measured.row, efficiencies=table)
    if found.ttft_ms is None or found.tpot_ms is None:
        return None
    return found.ttft_ms / measured.ttft_ms - 1, found.tpot_ms / measured.tpot_ms - 1


def loss(measured: Sequence[Measured], constants: dict[str, float], prior: dict[str, float]) -> float:
    """Mean absolute errors in units of their targets, pairs weighted by the root of their rows, plus the pull of the
    prior. A TPOT 80 % off and a TTFT three times too long count as that and no more."""
    by_group = defaultdict(list)
    table = {engine: Efficiencies(**constants) for engine in {one.row.engine for one in measured}}
    for one in measured:
        found = errors(one, table)
        ttft, tpot = (1.0, 1.0) if found is None else found
        by_group[one.pair, one.row.engine].append(
            0.6 * min(2.0, abs(ttft)) / TARGET_TTFT + min(0.8, abs(tpot)) / TARGET_TPOT
        )
    weight = sum(math.sqrt(len(group)) for group in by_group.values())
    fit = sum(sum(group) / math.sqrt(len(group)) for group in by_group.values()) / weight
    pull = sum((math.log(constants[name] / prior[name]) / WIDTH[name]) ** 2 for name in prior)
    return fit + STRICTNESS * pull


def fitted(measured: Sequence[Measured], prior: dict[str, float], rounds: int) -> dict[str, float]:
    """Constants by coordinate search from the prior."""
    current = dict(prior)
    best, stride = loss(measured, current, prior), dict(WIDTH)
    for _ in range(rounds):
        for name in stride:
            before = best
            for sign in (1, -1):
                while True:
                    moved = min(MOST.get(name, 1e9), current[name] * math.exp(sign * stride[name]))
                    tried = loss(measured, {**current, name: moved}, prior) if moved != current[name] else best
                    if tried >= best - 1e-6:
                        break
                    current[name], best = moved, tried
                if best < before:
                    break
            stride[name] *= 0.9 if best < before else 0.5
    return current


def constants_of(measured: Sequence[Measured], engine: str) -> dict[str, float]:
    """One engine's constants, fitted on an even sample of its rows of at most BUSIEST requests in flight."""
    own = [one for one in measured if one.row.engine == engine and one.row.concurrency <= BUSIEST]
    sample = own[:: max(1, -(-len(own) // SAMPLE))]
    print(f"  {engine}: {len(sample)} of {len(own)} rows", file=sys.stderr, flush=True)
    return rounded(fitted(sample, PRIOR, ROUNDS) if sample else PRIOR)


def rounded(constants: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in constants.items()}


def table_of(constants: dict[str, dict[str, float]]) -> Table:
    return {engine: Efficiencies(**own) for engine, own in constants.items()}


def pairs_of(measured: Sequence[Measured]) -> list[tuple[str, str]]:
    return sorted({one.pair for one in measured})


SPLIT = (("Llama-3.1-8B", "h100_sxm"), ("Llama-3.1-8B", "h200_sxm"), ("Llama-3.1-70B", "h200_sxm"))
"""Pairs that the fixed split fits on; the others only test."""


def fit(measured: Sequence[Measured]) -> None:
    """Writes the packaged constants, those of the split, and for each pair those of its engines without it."""
    sets = {"all": measured, "split": [one for one in measured if one.pair in SPLIT]}
    engines = {"all": ENGINES, "split": ENGINES}
    for pair in pairs_of(measured):
        sets["/".join(pair)] = [one for one in measured if one.pair != pair]
        engines["/".join(pair)] = tuple(sorted({one.row.engine for one in measured if one.pair == pair}))
    tasks = [(name, engine) for name in sets for engine in engines[name]]  # a few fit the same rows: no harm
    with concurrent.futures.ProcessPoolExecutor(max_workers=os.cpu_count()) as workers:
        found = list(workers.map(constants_of, [sets[name] for name, _ in tasks], [engine for _, engine in tasks]))
    folds: dict[str, dict[str, dict[str, float]]] = {name: {} for name in sets}
    for (name, engine), constants in zip(tasks, found, strict=True):
        folds[name][engine] = constants
    packaged = folds.pop("all")
    about = f"fitted {datetime.date.today()}: python -m benchmarks.estimator_accuracy --fit"
    FOLDS.write_text(json.dumps({"about": about, "folds": folds}, indent=1) + "\n")
    about = f"fitted {datetime.date.today()} on an even sample of benchmarks/data/measured.csv; see docs/estimator.md"
    PACKAGED.write_text(json.dumps({"about": about, "efficiencies": packaged}, indent=1) + "\n")


def report(title: str, measured: Sequence[Measured], table_for: Callable[[Measured], Table]) -> None:
    """One line for each pair and engine, and one for all."""
    print(f"\n{title}\n")
    print(
        "| model | GPU | engine | rows | refused | TPOT mean abs. | TPOT bias | TTFT mean abs. | TTFT median | bias |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    groups = defaultdict(list)
    for one in measured:
        groups[*one.pair, one.row.engine].append(errors(one, table_for(one)))
    for (model, gpu, engine), found in sorted(groups.items()):
        print(_line(f"{model} | {gpu} | {engine}", found))
    print(
        _line(
            "**VLLM and TensorRTLLM** | | ",
            [one for key, found in groups.items() if key[2] != "SGLang" for one in found],
        )
    )
    print(_line("**all** | | ", [one for found in groups.values() for one in found]))


def _line(title: str, found: Sequence[tuple[float, float] | None]) -> str:
    known = [one for one in found if one is not None]
    count = max(1, len(known))
    ttft, tpot = [one[0] for one in known], [one[1] for one in known]
    mean = [sum(abs(value) for value in values) / count for values in (tpot, ttft)]
    median = sorted(abs(value) for value in ttft)[len(known) // 2] if known else 0.0
    return (
        f"| {title} | {len(found)} | {len(found) - len(known)} | {mean[0]:.1%} | {sum(tpot) / count:+.1%} "
        f"| {mean[1]:.1%} | {median:.1%} | {sum(ttft) / count:+.1%} |"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--fit", action="store_true", help="fit all constants anew")
    options.add_argument("--rows", type=Path, default=DATA, help="other recordings in the same format")
    given = options.parse_args()
    print(heading())
    measured = read(given.rows)
    if given.fit:
        fit(measured)
    began = time.process_time()
    packaged = table_of(json.loads(PACKAGED.read_text())["efficiencies"])
    report("Constants of the package, fitted on a sample of these very rows", measured, lambda _: packaged)
    spent = time.process_time() - began
    if given.rows == DATA:
        folds = {pair: table_of(own) for pair, own in json.loads(FOLDS.read_text())["folds"].items()}
        title = "Leave one pair out: each pair with constants fitted on the other pairs"
        report(title, measured, lambda one: folds["/".join(one.pair)])
        tested = [one for one in measured if one.pair not in SPLIT]
        chosen = " and ".join(" on ".join(pair) for pair in SPLIT)
        report(f"Fixed split: fitted on {chosen}; tested on the rest", tested, lambda _: folds["split"])
    print(f"\n{len(measured)} rows estimated in {spent:.1f} CPU seconds")


if __name__ == "__main__":
    main()
