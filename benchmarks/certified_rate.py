"""aiperf beside the product's client on a real engine at a certified rate: ``python -m benchmarks.certified_rate``.

vLLM's CPU build serves the demo's 26M model on core 0; the clients have core 1. The product's own trial explores the
capacity and certifies a rate on a fresh start, with the demo's workload and clock. Then, on that engine, aiperf
repeats the certificate by the command that ``rightsizer explain`` prints, and the product's client sends once more at
the very instants that aiperf had drawn. Needs root; 10 to 15 minutes. Exit code 1 where engine or aiperf cannot be had,
2 where no rate is certified.
"""

import argparse
import asyncio
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import uvloop

from benchmarks.accuracy import aiperf
from benchmarks.accuracy.server import pin
from benchmarks.certified import engine, figures, rate
from benchmarks.certified.figures import Figures
from benchmarks.occasion import heading
from e2e.stage import objects
from rightsizer_cli import witness
from rightsizer_jobs.contract import TrialReport
from rightsizer_jobs.loadgen.health import Watchman, believe
from rightsizer_jobs.loadgen.load import engine_gone
from rightsizer_jobs.loadgen.order import Open
from rightsizer_jobs.trial import steps
from rightsizer_jobs.trial.bench import Bench
from rightsizer_jobs.trial.findings import Findings, Stop
from rightsizer_jobs.wire.session import Session
from rightsizer_operator.sizing import verdicts

CLIENT_CORE = 1
STARTUP_S = 180
LEGEND = """Milliseconds at p50/p95/p99, by the product's definitions: waits count from the instant a request was due.
TTFT and E2E of aiperf count from its send: what it was late by (send lag) is added. ITL: each gap between chunks.
"""


def certified(bed: rate.Bed, made: engine.Made, log: Path) -> None:
    """Explore on one start, certify on the next ones, and compare on the one that certified."""
    with engine.serving(made, log / "explore.log") as url:
        report = rate.explored(bed, url)
    assert report.capacity is not None
    capacity = report.capacity
    print(f"explored in {report.engine_s:.0f} s: {report.reason}; lower bound {capacity.lower_rps:g} requests/s")
    for step, rps in enumerate(rate.steps(capacity.lower_rps)):
        with engine.serving(made, log / f"certify-{step}.log") as url:
            held = rate.measured(bed, url, "Certify", rate.CERTIFY_SEED + step, rps)
            print(f"{rps:g} requests/s on a fresh start: {held.outcome}: {held.reason}", flush=True)
            if held.outcome == "Succeeded":
                compare(bed, url, rps, held)
                return
    raise rate.NotCertified("every step down missed the limits")


def compare(bed: rate.Bed, url: str, rps: float, held: TrialReport) -> None:
    slo = verdicts.slo_of(bed.spec.slo)
    ours = figures.of_records("ours, the certification", rate.counted(bed, held, rps), bed.hold_s)
    lines = repeated(bed, url, rps, held.seed)
    theirs = figures.of_aiperf("aiperf, its own arrivals", lines, bed.hold_s, objects.OUTPUT_TOKENS)
    again = at_instants(bed, url, figures.due(lines), rps)
    print("\n" + LEGEND + "\n" + figures.HEADER)
    for found in (ours, theirs, again):
        print(figures.row(found, slo))
    print(f"\naiperf less ours, at the same instants: {figures.apart(again, theirs)}")


def repeated(bed: rate.Bed, url: str, rps: float, seed: int) -> Sequence[dict]:
    """aiperf's records of its measured phase; raises aiperf.Unavailable with its own words when it fails.

    HF_HUB_OFFLINE is taken away: with it aiperf 0.13.0 takes the folder of a tokenizer for the name of a repository.
    """
    folder = aiperf.install()
    words = witness.command(
        served_model_name=objects.TARGET,
        tokenizer=str(bed.model),
        url=url,
        api=bed.spec.workload.api,
        load=bed.load,
        slo=verdicts.slo_of(bed.spec.slo),
        rate_rps=rps,
        seconds=bed.hold_s,
        seed=seed,
    )
    print(f"\n{shlex.join(words)}", flush=True)
    with tempfile.TemporaryDirectory() as output:
        done = subprocess.run(
            [str(folder / "bin" / words[0]), *words[1:], "--output-artifact-dir", output],
            capture_output=True, text=True, check=False, timeout=bed.hold_s + 2 * STARTUP_S,
            env=surroundings(os.environ),
        )  # fmt: skip
        return aiperf.lines_of(done, Path(output))


def surroundings(environ: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environ.items() if name != "HF_HUB_OFFLINE"}
    return {**kept, "AIPERF_SERVICE_REGISTRATION_TIMEOUT": str(STARTUP_S)}


def at_instants(bed: rate.Bed, url: str, instants: Sequence[int], rps: float) -> Figures:
    """The product's open loop at given instants, from an idle engine, as aiperf began."""
    assignment = bed.assignment(url, "Certify", rate.CERTIFY_SEED, rps, rate.VOIDS + 1)

    async def send() -> tuple[list, str]:
        async with Session() as session:
            bench = Bench.set_up(assignment, session, Findings(assignment))
            await steps.ready(bench)
            async with Watchman() as watchman:
                run = await bench.load(Open(instants, 0.0, bed.hold_s), engine_gone, rps * objects.OUTPUT_TOKENS)
            return [record for record in run.records if run.window.counts(record)], believe(
                run, watchman, assignment.slo
            )

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        records, void = runner.run(send())
    name = f"ours at aiperf's instants{', VOID: ' + void.split(':')[0] if void else ''}"
    return figures.of_records(name, records, bed.hold_s)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hold", type=float, default=90, help="seconds for which a rate is held, by either client")
    parser.add_argument("--ttft", type=int, default=rate.TTFT_MS, help="limit of the first token, milliseconds")
    parser.add_argument("--itl", type=int, default=rate.ITL_MS, help="limit of the gap between tokens, milliseconds")
    parser.add_argument("--logs", type=Path, help="folder for the engines' logs; default: a temporary one")
    given = parser.parse_args()
    print(heading("rightsizer-jobs", "uvloop"), flush=True)
    try:
        aiperf.install()
        made = engine.make()
    except (aiperf.Unavailable, engine.Unavailable) as error:
        print(f"cannot be run here: {error}", file=sys.stderr)
        return 1
    pin(CLIENT_CORE)
    with tempfile.TemporaryDirectory() as scratch:
        logs = given.logs or Path(scratch)
        logs.mkdir(parents=True, exist_ok=True)
        try:
            records = Path(scratch) / "records"
            certified(rate.Bed.of(made.model, records, given.hold, given.ttft, given.itl), made, logs)
        except aiperf.Unavailable as error:
            print(f"aiperf failed: {error}", file=sys.stderr)
            return 1
        except (rate.NotCertified, Stop) as error:
            print(f"no rate was certified: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
