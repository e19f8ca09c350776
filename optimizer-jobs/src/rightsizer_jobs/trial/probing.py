"""One open-loop run at one rate, watched, believed or void, and summarised.

Called by ``run`` for probes, certification and verification.
"""

import logging
from collections.abc import Callable, Sequence

from rightsizer_jobs.contract import EngineUse, Probe, Slo
from rightsizer_jobs.engines.beside import queued, told
from rightsizer_jobs.loadgen.arrivals import NANOSECONDS, scaled
from rightsizer_jobs.loadgen.health import Watchman, believe
from rightsizer_jobs.loadgen.load import Live, Run, Watch
from rightsizer_jobs.loadgen.metrics import joint_share, summarise, tokens_per_chunk
from rightsizer_jobs.loadgen.order import Open
from rightsizer_jobs.stats import holds
from rightsizer_jobs.trial.bench import Bench
from rightsizer_jobs.trial.findings import Stop
from rightsizer_jobs.trial.pulse import Pulse
from rightsizer_jobs.trial.search import probe_seed
from rightsizer_jobs.trial.use import on_the_calendar, use_of

LOG = logging.getLogger(__name__)

QUEUE_FACTOR = 4
QUEUE_FLOOR = 16
"""A queue of unserved requests longer than 4 x rate x TTFT limit cannot recover; below the floor it may be a burst."""

FALLBACK_IDLE_FACTOR = 10
"""Without a TTFT limit the queue is judged by the E2E limit, else by ten times the idle TTFT."""


def queue_limit(rate_rps: float, slo: Slo, idle_ttft_ms: float, bursts: Sequence[int] = ()) -> float:
    """Unserved requests at which a run is stopped. ``bursts``: the schedule, where it bursts by intent.

    Poisson and constant arrivals are judged by their rate; in a burst a longer queue is no overload yet, so there the
    rate gives way to the most arrivals within one TTFT limit.
    """
    wait_s = (slo.ttft_ms or slo.e2e_ms or FALLBACK_IDLE_FACTOR * idle_ttft_ms) / 1000
    return max(QUEUE_FLOOR, QUEUE_FACTOR * max(rate_rps * wait_s, most_within(bursts, wait_s)))


def most_within(instants: Sequence[int], seconds: float) -> int:
    """The most arrivals of a schedule within any stretch of so many seconds."""
    most, oldest = 0, 0
    for newest, instant in enumerate(instants):
        while instant - instants[oldest] >= seconds * NANOSECONDS:
            oldest += 1
        most = max(most, newest - oldest + 1)
    return most


def overload_watch(rate_rps: float, limit: float, queued: Callable[[], float] = lambda: 0.0) -> Watch:
    """Stops a run at so many requests without a token, or at so many that the engines themselves call waiting: those of
    other clients are among these.
    """

    def watch(live: Live) -> str:
        if (waiting := queued()) > limit:
            return f"overload at {rate_rps:.3g} requests/s: {waiting:.0f} wait in the engines, allowed {limit:.0f}"
        if live.unserved > limit:
            return (
                f"overload at {rate_rps:.3g} requests/s: {live.unserved} requests without a token, allowed {limit:.0f}"
            )
        return ""

    return watch


def empty(run: Run) -> str:
    """Why a run shows nothing; empty: requests were due in it, or it was stopped."""
    if run.stopped or any(run.window.counts(record) for record in run.records):
        return ""
    lengths = "probeSeconds, certificationSeconds or verificationSeconds in search.measurement"
    return f"no request was due in {run.window.seconds:.3g} s: it must be longer ({lengths})"


async def probe(
    bench: Bench, rate_rps: float, *, ramp_s: float, measured_s: float, number: int = 0, name: str, searching: bool
) -> Probe:
    """Run and summarise; raises Stop for a void run or a dead engine. A run stopped for overload is aborted.

    ``number``: of the search's probe, which has requests and gaps of its own; the same for every candidate.
    ``searching``: and at every rate. Else the run stands for its rate, and what it sends of a trace carries that.
    """
    summary, use = await held(
        bench, rate_rps, ramp_s=ramp_s, measured_s=measured_s, number=number, name=name, searching=searching
    )
    bench.findings.used(use, holds(summary, bench.assignment.slo))
    return summary


async def held(
    bench: Bench, rate_rps: float, *, ramp_s: float, measured_s: float, number: int, name: str, searching: bool = False
) -> tuple[Probe, EngineUse]:
    """A run at a rate and how busy the engines were in it; see ``probe``."""
    assignment = bench.assignment
    seed = probe_seed(assignment.seed, number)
    lengths = rate_rps * ramp_s, rate_rps * measured_s
    first = bench.requests.start(number) if searching else bench.requests.carrying(number, seed, *lengths)
    idle = (bench.findings.idle_ms or {}).get("ttft", 1000.0)
    longest_s = assignment.deadlines.answer_s(bench.requests.longest_output)
    instants = scaled(bench.requests.gaps(seed, first), rate_rps, ramp_s + measured_s + longest_s)
    bursts = instants if assignment.workload.arrivals in ("Gamma", "Trace") else ()
    limit = queue_limit(rate_rps, assignment.slo, idle, bursts)
    chunks = rate_rps * bench.requests.mean_output_tokens / bench.tokens_a_chunk
    load = Open(instants, ramp_s, measured_s)
    during = f"{name} at {rate_rps:.3g} requests/s"
    async with bench.observed() as seen, Watchman() as watchman, Pulse(bench, during) as pulse:
        watch = overload_watch(rate_rps, limit, lambda: queued(seen.engines))
        run = await bench.load(load, pulse.beside(watch), chunks, first=first)
    bench.findings.client = watchman.health(run)
    await bench.keep(name, run.records, seen.engines)
    await pulse.settle()
    counted = seen.within(run.window)
    if void := believe(run, watchman, assignment.slo) or counted.slowed() or empty(run):
        raise Stop("Void", f"{during}: {void}")
    summary = summarise(
        run.records,
        run.window,
        rate_rps=rate_rps,
        slo=assignment.slo,
        block_s=assignment.measurement.block_s,
        aborted=bool(run.stopped),
        balanced=bench.requests.balanced,
    )
    use = use_of(
        rate_rps,
        [one.sample for one in counted.engines],
        counted.gpu_percent(),
        bench.gpus.unseen,
        on_the_calendar(run.window),
    )
    records = [record for record in run.records if run.window.counts(record)]
    joint, chunk = joint_share(records, assignment.slo), tokens_per_chunk(records)
    bench.findings.tokens_per_chunk = chunk
    LOG.info("%s %s joint=%.3f tokens/chunk=%.2f %s", name, summary.model_dump_json(), joint, chunk, run.stopped)
    LOG.info("%s engines: %s", name, told(seen.engines))
    return summary, use
