"""vLLM on an NVIDIA GPU of this machine, measured and estimated: ``python -m benchmarks.gpu_engine --vllm PYTHON``.

``--vllm`` names the Python that has vLLM for CUDA, ``--model`` a folder with config.json and tokenizer; with
``--flags=--load-format=dummy`` it needs no weights (speed does not hang on them, and quality is not asked). Measured
are closed loops, in the format of ``data/measured.csv``, and the product's own trial: the capacity, and with
``--certify`` its lower bound on a fresh start. The GPU is read through NVML beside it. Each figure stands beside what
the estimator says with the constants in the package. Start and trial of an 8B model with ``--probe 12`` took under four
minutes on an H100, the closed loops come on top; exit code 1 where the engine fails.
"""

import argparse
import asyncio
import csv
import json
import os
import shlex
import statistics
import subprocess
import sys
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from benchmarks.certified.engine import end
from benchmarks.occasion import heading
from e2e.embedded import ports
from rightsizer_jobs.contract import Deadlines, Endpoint, Measurement, Slo, TrialAssignment, TrialReport
from rightsizer_jobs.loadgen.load import Live, engine_gone
from rightsizer_jobs.loadgen.metrics import tpot, ttft
from rightsizer_jobs.loadgen.order import Closed
from rightsizer_jobs.trial import steps
from rightsizer_jobs.trial.bench import Bench
from rightsizer_jobs.trial.findings import Findings, Stop
from rightsizer_jobs.trial.run import run
from rightsizer_jobs.wire.session import Session
from rightsizer_jobs.workload import Workload
from rightsizer_operator.sizing.estimate import model_facts, ranking, rows, tables
from rightsizer_operator.sizing.estimate.failures import NotEstimable
from rightsizer_operator.sizing.estimate.questions import Choice, Question, Serving

Result = TypeVar("Result")
SERVED = "gpu-engine"
EXPLORE_SEED, CERTIFY_SEED = 20261126, 20261127
WAVES = 10
"""Requests of a closed loop, as a multiple of those in flight: as in the recordings."""
COLUMNS = (
    "id", "backend", "backend_version", "model_path", "system", "precision", "isl", "osl", "concurrency", "tp_size",
    "pp_size", "moe_tp_size", "moe_ep_size", "attention_dp_size", "ttft_ms", "tpot_ms",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Bed:
    """What all starts and runs of one call have in common. ``gpu`` as node labels name it; ``precision``: empty or fp8,
    what ``flags`` make of the weights.
    """

    vllm: Path
    model: Path
    name: str
    gpu: str
    precision: str
    flags: tuple[str, ...]
    input_tokens: int
    output_tokens: int
    slo: Slo
    measurement: Measurement
    out: Path

    def assignment(self, url: str, hold_rps: float | None = None) -> TrialAssignment:
        return TrialAssignment(
            purpose="Explore" if hold_rps is None else "Certify",
            run_uid=SERVED,
            candidate="as-is",
            attempt=1,
            seed=EXPLORE_SEED if hold_rps is None else CERTIFY_SEED,
            endpoints=(Endpoint(engine="VLLM", base_url=url, served_model_name=SERVED),),
            model_path=str(self.model),
            workload=Workload(input_tokens=self.input_tokens, output_tokens=self.output_tokens),
            slo=self.slo,
            measurement=self.measurement,
            deadlines=Deadlines(ready_s=600, total_s=1800),
            rate_rps=hold_rps,
            accelerators=1,
            records_dir=str(self.out / "records"),
        )


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A closed loop: means over its requests, milliseconds."""

    concurrency: int
    requests: int
    ttft_ms: float
    tpot_ms: float


@dataclass(frozen=True)
class Started:
    """An engine of ours, before it is ready."""

    url: str
    process: subprocess.Popen[bytes]

    def while_it_lives(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Raises Stop when the engine ends first."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(self._watched(work))

    async def _watched(self, work: Coroutine[Any, Any, Result]) -> Result:
        task = asyncio.ensure_future(work)
        while not (await asyncio.wait({task}, timeout=1))[0]:
            if self.process.poll() is not None:
                task.cancel()
                raise Stop("EngineFailed", f"the engine ended with exit code {self.process.returncode}")
        return await task


@contextmanager
def serving(bed: Bed, log: str) -> Iterator[Started]:
    """A freshly started engine; at the end its process group is ended."""
    (port,) = ports.free(1)
    words = [
        str(bed.vllm), "-m", "vllm.entrypoints.openai.api_server", "--model", str(bed.model),
        "--served-model-name", SERVED, "--host", "127.0.0.1", "--port", str(port), *bed.flags,
    ]  # fmt: skip
    print(shlex.join(words), flush=True)
    quiet = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    with (bed.out / log).open("wb") as output:
        process = subprocess.Popen(
            words, env={**os.environ, **quiet}, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield Started(f"http://127.0.0.1:{port}", process)
    finally:
        end(process)


async def loops(bed: Bed, url: str, concurrencies: Sequence[int], seconds: float) -> list[Loop]:
    """Closed loops, each of WAVES requests a place or of so many seconds, on a warm engine; raises Stop."""
    assignment = bed.assignment(url)
    async with Session() as session:
        bench = Bench.set_up(assignment, session, Findings(assignment))
        await steps.ready(bench)
        print(f"ready after {bench.findings.ready_s:.0f} s", flush=True)
        await steps.first_token(bench)
        await steps.sane(bench)
        await steps.warm_up(bench)
        return [await _loop(bench, concurrency, seconds) for concurrency in concurrencies]


async def _loop(bench: Bench, concurrency: int, seconds: float) -> Loop:
    wanted = WAVES * concurrency

    def watch(live: Live) -> str:
        return engine_gone(live) or ("all waves have ended" if live.finished >= wanted else "")

    pace_ms = (bench.findings.idle_ms or {})["tpot"]
    load = await bench.load(Closed(concurrency, seconds), watch, concurrency * 1000 / pace_ms, seconds)
    counted = [one for one in load.records if one.index < wanted and not one.failed]
    if not counted:
        raise Stop("EngineFailed", f"no answer in {seconds:g} s with {concurrency} in flight: {load.stopped}")
    found = Loop(
        concurrency=concurrency,
        requests=len(counted),
        ttft_ms=statistics.fmean(value for one in counted for value in ttft(one)),
        tpot_ms=statistics.fmean(value for one in counted for value in tpot(one)),
    )
    print(found, flush=True)
    return found


def kept(bed: Bed, version: str, found: Sequence[Loop]) -> None:
    """rows.csv, in the format of measured.csv."""
    with (bed.out / "rows.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for number, one in enumerate(found):
            lengths = (bed.input_tokens, bed.output_tokens, one.concurrency)
            head = (f"gpu_engine_{number}", "vllm", version, bed.name, bed.gpu, bed.precision)
            table.writerow((*head, *lengths, 1, 1, "", "", "", f"{one.ttft_ms:.4f}", f"{one.tpot_ms:.4f}"))


def against_estimates(bed: Bed, found: Sequence[Loop]) -> Iterator[str]:
    facts, gpu = model_facts.from_config(json.loads((bed.model / "config.json").read_text()), bed.name), bed.gpu
    yield "| in flight | requests | TTFT mean, ms | estimated | TPOT mean, ms | estimated |\n|---|---|---|---|---|---|"
    for one in found:
        row = rows.Row(
            engine="VLLM", model=bed.name, gpu=gpu, precision=rows.PRECISIONS[bed.precision],
            input_tokens=bed.input_tokens, output_tokens=bed.output_tokens, concurrency=one.concurrency,
            tensor_parallel=1, pipeline_parallel=1, attention_data_parallel=1,
        )  # fmt: skip
        said = rows.estimate(row, model=facts)
        figures = [
            f"{ours:.4g} | {theirs:.4g} ({theirs / ours - 1:+.0%})" if theirs else f"{ours:.4g} | {said.reason}"
            for ours, theirs in ((one.ttft_ms, said.ttft_ms), (one.tpot_ms, said.tpot_ms))
        ]
        yield f"| {one.concurrency} | {one.requests} | {' | '.join(figures)} |"
    if bed.precision:
        yield "\nestimated with an FP8 cache, as recordings of such weights had it, and with their share of the memory"


def question(bed: Bed) -> tuple[Question, Choice]:
    """The capacity, as it is asked of the estimator; raises NotEstimable."""
    gpu = tables.gpu(bed.gpu)
    if gpu is None:
        raise NotEstimable("--gpu", f"{bed.gpu} is not in the table of GPUs", "Name one of docs/estimator.md.")
    asked = Question(
        model=model_facts.from_config(json.loads((bed.model / "config.json").read_text()), bed.name), gpu=gpu,
        serving=Serving(), percentile=bed.slo.percentile,
        limits_ms={str(metric): limit for metric, limit in bed.slo.limits().items()},
        input_tokens=bed.input_tokens, output_tokens=bed.output_tokens, demand_rps=1.0, steady=False,
        engines=("VLLM",), precisions=("AsIs", "FP8"), kv_types=("Auto",), batch_limits=(), most_gpus=1,
        gpu_hourly=None,
    )  # fmt: skip
    choice = Choice(
        id="measured", engine="VLLM", precision="FP8" if bed.precision == "fp8" else "AsIs", kv_cache="Auto",
        parallelism=1, max_num_seqs=None,
    )  # fmt: skip
    return asked, choice


def probes(bed: Bed, report: TrialReport) -> Iterator[str]:
    """Each probe with what the estimator expects at its rate, and the capacity."""
    asked, choice = question(bed)
    metrics = list(bed.slo.limits())
    yield "| requests/s | s | violating | " + " | ".join(f"p95 {one}, ms | estimated" for one in metrics) + " |"
    yield "|---" * (3 + 2 * len(metrics)) + "|"
    for one in report.probes:
        said = ranking.latencies_at(asked, choice, one.rate_rps) or {}
        worst = max(one.violations.values(), default=0.0)
        told = [f"{one.p_ms[metric]:.4g} | {said.get(metric, float('nan')):.4g}" for metric in metrics]
        yield f"| {one.rate_rps:.4g} | {one.seconds:.0f} | {worst:.1%} | {' | '.join(told)} |"
    if report.capacity is not None:
        (planned,) = ranking.estimated(asked, (choice,))
        yield (
            f"\ncapacity {report.capacity.rate_rps:.4g} +-{report.capacity.standard_error:.1%}, at least "
            f"{report.capacity.lower_rps:.4g} requests/s (Measured); {planned.rate_rps:.4g} (Estimated"
            f"{', ' + planned.reason if planned.reason else ''})"
        )
    yield f"{report.outcome}: {report.reason}\nsaturation {report.saturation}\nidle {report.idle_ms}"
    yield f"GPU and engine: {report.use}\nclient: {report.client}; ready after {report.ready_s} s"


def measured(bed: Bed, concurrencies: Sequence[int], seconds: float, version: str, certify: bool) -> None:
    """Everything on one start, the certification on a second; raises Stop where the engine or a closed loop fails."""
    with serving(bed, "explore.log") as engine:
        found = engine.while_it_lives(loops(bed, engine.url, concurrencies, seconds))
        kept(bed, version, found)
        print("\n".join(["", *against_estimates(bed, found), ""]), flush=True)
        report = _trial(bed, engine, "explore")
    if certify and report.capacity is not None and report.capacity.lower_rps > 0:
        with serving(bed, "certify.log") as engine:
            _trial(bed, engine, "certify", report.capacity.lower_rps)


def _trial(bed: Bed, engine: Started, name: str, hold_rps: float | None = None) -> TrialReport:
    report = engine.while_it_lives(run(bed.assignment(engine.url, hold_rps)))
    (bed.out / f"{name}.json").write_text(report.model_dump_json(indent=1))
    print("\n".join([f"\n{name}", *probes(bed, report)]), flush=True)
    return report


def missing(given: argparse.Namespace) -> str:
    """What the call lacks, with the remedy; empty: nothing."""
    absent = [f"--{name}" for name in ("vllm", "model", "out") if getattr(given, name) is None]
    if absent:
        return f"cannot be run here: {', '.join(absent)} must be given, and an NVIDIA GPU is needed"
    if not given.vllm.is_file():
        return f"--vllm: there is no {given.vllm}"
    if not (given.model / "config.json").is_file():
        return f"--model: {given.model} has no config.json"
    return ""


def whole_numbers(text: str) -> list[int]:
    found = [int(one) for one in text.split(",") if one.strip().isdigit()]
    if len(found) < len(text.split(",")) or min(found) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers, as 1,16,64")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm", type=Path, metavar="PYTHON", help="the Python that has vLLM for CUDA")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="with config.json and tokenizer")
    parser.add_argument("--name", help="of the model; default: the folder's")
    parser.add_argument("--gpu", default="NVIDIA-H100-80GB-HBM3", help="product, as node labels name it")
    parser.add_argument("--precision", choices=("", "fp8"), default="", help="what the flags make of the weights")
    parser.add_argument("--flags", default="", help="more for the engine, e.g. --flags='--quantization fp8'")
    parser.add_argument("--input", type=int, default=1024, help="tokens of a prompt (default %(default)s)")
    parser.add_argument("--output", type=int, default=128, help="tokens of an answer (default %(default)s)")
    parser.add_argument("--ttft", type=float, default=500, help="limit, ms at p95 (default %(default)s)")
    parser.add_argument("--tpot", type=float, default=40, help="limit, ms at p95 (default %(default)s)")
    parser.add_argument(
        "--in-flight", type=whole_numbers, default="1,8,32,64,128", help="closed loops (default %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=120, help="of a closed loop at most (default %(default)s)")
    parser.add_argument("--probe", type=float, default=20, help="seconds of a probe (default %(default)s)")
    parser.add_argument("--certify", type=float, default=0, help="seconds to hold the lower bound; 0: not at all")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for rows, reports, records and logs")
    given = parser.parse_args()
    if problem := missing(given):
        print(problem, file=sys.stderr)
        return 1
    given.out.mkdir(parents=True, exist_ok=True)
    told = subprocess.run(
        [given.vllm, "-c", "import importlib.metadata as m; print(m.version('vllm'))"], capture_output=True, text=True
    )
    if told.returncode:
        print(f"--vllm: {given.vllm} has no vLLM: {told.stderr.strip()[-200:]}", file=sys.stderr)
        return 1
    measurement = Measurement(
        sanity_requests=4, warmup_block_s=4, warmup_max_blocks=4, saturation_s=given.probe, probe_s=given.probe,
        block_s=given.probe / 3, max_probes=8, budget_s=8 * given.probe, hold_s=given.certify or 1,
    )  # fmt: skip
    bed = Bed(
        vllm=given.vllm, model=given.model, name=given.name or given.model.name, gpu=given.gpu,
        precision=given.precision, flags=tuple(shlex.split(given.flags)), input_tokens=given.input,
        output_tokens=given.output, slo=Slo(ttft_ms=given.ttft, tpot_ms=given.tpot), measurement=measurement,
        out=given.out,
    )  # fmt: skip
    try:
        question(bed)
    except NotEstimable as error:
        print(f"{error}. {error.remedy}", file=sys.stderr)
        return 1
    print(heading(), f"vLLM {told.stdout.strip()}, {given.gpu}", sep="", flush=True)
    try:
        measured(bed, given.in_flight, given.seconds, told.stdout.strip(), given.certify > 0)
    except Stop as stop:
        print(f"{stop.outcome}: {stop.reason}; the engine's log is in {given.out}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
