"""How long a plan takes: ``python -m benchmarks.plan_speed``.

Every candidate by roofline, the best 20 and the target as it is by simulation, in this process; then the whole command
in a process of its own. CPU seconds tell the work, wall seconds what somebody waits for on this machine.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.occasion import heading
from rightsizer_operator.sizing.estimate import questions, ranking, tables
from rightsizer_operator.sizing.estimate.questions import Question, Serving

EXAMPLE = Path(__file__).resolve().parents[1] / "examples/llama-70b.yaml"
BUDGET_S = 5.0
CASES = (
    ("Llama-3.1-70B", "H100-SXM", 1000, 200, 4.0),
    ("Llama-3.1-8B", "L40S", 2000, 100, 40.0),
    ("Qwen3-235B-A22B", "H200", 8000, 1000, 2.0),
    ("DeepSeek-V3", "B200", 4000, 1000, 10.0),
)
"""Model, GPU, input tokens, output tokens, requests a second."""


def asked(model: str, gpu: str, input_tokens: int, output_tokens: int, demand_rps: float) -> Question:
    """A question of more than 500 candidates."""
    facts, product = tables.published_model(model), tables.gpu(gpu)
    assert facts is not None
    assert product is not None
    return Question(
        model=facts,
        gpu=product,
        serving=Serving(parallelism=8, replicas=1),
        percentile=95,
        limits_ms={"ttft": 5000.0, "tpot": 80.0},
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        demand_rps=demand_rps,
        steady=False,
        engines=("VLLM", "TensorRTLLM"),
        precisions=("AsIs", "FP8", "INT8", "INT8W8A16", "INT4"),
        kv_types=("Auto", "FP8"),
        batch_limits=(32, 64, 128, 256, 512),
        most_gpus=16,
        gpu_hourly=None,
    )


def timed(work: Callable[[], object], runs: int) -> tuple[float, float, float]:
    """Median CPU seconds, median and longest wall seconds."""
    cpu, wall = [], []
    for _ in range(runs):
        began, used = time.perf_counter(), _cpu()
        work()
        wall.append(time.perf_counter() - began)
        cpu.append(_cpu() - used)
    return statistics.median(cpu), statistics.median(wall), max(wall)


def _cpu() -> float:
    """Of this process and of its ended children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def command() -> None:
    """``rightsizer plan`` of the example, from its start to its end."""
    program = str(Path(sys.executable).with_name("rightsizer"))
    subprocess.run([program, "plan", "-f", str(EXAMPLE), "-o", "json"], check=True, capture_output=True, timeout=300)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="runs of each line (default: 5)")
    given = parser.parse_args()
    print(heading("rightsizer-operator", "rightsizer-cli"), f"{given.runs} runs each, budget {BUDGET_S:g} s\n", sep="")
    print("| what | candidates | simulated | CPU s, median | wall s, median | wall s, slowest |")
    print("|---|---|---|---|---|---|")
    for case in CASES:
        question = asked(*case)
        found = ranking.estimated(question, questions.choices(question))
        simulated = sum(plan.method == "Simulation" for plan in found)
        cpu, wall, longest = timed(lambda one=question: ranking.estimated(one, questions.choices(one)), given.runs)
        what = f"{case[0]} on {case[1]}, {case[2]}/{case[3]} tokens"
        print(f"| {what} | {len(found)} | {simulated} | {cpu:.2f} | {wall:.2f} | {longest:.2f} |", flush=True)
    cpu, wall, longest = timed(command, given.runs)
    print(f"| `rightsizer plan -f examples/llama-70b.yaml` | | | {cpu:.2f} | {wall:.2f} | {longest:.2f} |")


if __name__ == "__main__":
    main()
