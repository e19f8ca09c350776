"""The straight line of a trial, by purpose, and its deadlines: always ends in a report.

Called by ``__main__`` and by tests.
"""

import asyncio
import logging
import signal

from rightsizer_jobs.contract import TrialAssignment, TrialReport
from rightsizer_jobs.engines import nvml
from rightsizer_jobs.loadgen.prompts import ModelUnreadable, model_config
from rightsizer_jobs.loadgen.trace_files import TraceUnreadable
from rightsizer_jobs.stats import holds
from rightsizer_jobs.trial import inputs, search, steps
from rightsizer_jobs.trial.bench import Bench
from rightsizer_jobs.trial.findings import Findings, Stop
from rightsizer_jobs.trial.gauging import gauge_chats
from rightsizer_jobs.trial.model_shape import shape
from rightsizer_jobs.trial.probing import held, probe
from rightsizer_jobs.wire.session import Session

LOG = logging.getLogger(__name__)

LISTEN_S = 20.0
"""How long other traffic on the engines is counted before a verification."""
LEAST_SHARE = 0.1
"""Of the rate: sent even where other traffic is the whole of it, since only our own requests are timed."""


async def run(assignment: TrialAssignment) -> TrialReport:
    """Measure and report. Every end but a bug is a report: a stop, the total deadline, SIGTERM."""
    findings = Findings(assignment)
    task = asyncio.ensure_future(_measure(assignment, findings))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        stop = await asyncio.wait_for(task, assignment.deadlines.total_s)
    except TimeoutError:
        stop = findings.ended(Stop("Void", f"the trial ran past its {assignment.deadlines.total_s:g} s"))
    except asyncio.CancelledError:
        told = "the client was told to stop (SIGTERM): the pod was disrupted or deleted"
        stop = findings.ended(Stop("Void", told))
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    LOG.info("%s: %s", stop.outcome, stop.reason)
    return findings.report(stop.outcome, stop.reason)


async def _measure(assignment: TrialAssignment, findings: Findings) -> Stop:
    """The end of the trial as a value."""
    try:
        async with Session() as session, nvml.seen(assignment.accelerators) as gpus:
            bench = Bench.set_up(assignment, session, findings)
            bench.gpus = gpus
            if assignment.describe_model:
                findings.model = shape(model_config(assignment.model_path))
            await inputs.read(bench)
            await steps.ready(bench)
            await steps.first_token(bench)
            await gauge_chats(bench)
            stop = await (_explore(bench) if assignment.purpose == "Explore" else _hold(bench))
            if stop.outcome == "Succeeded" or assignment.purpose == "Explore":
                findings.verdict = stop
                await _at_demand(bench)
            return stop
    except (ModelUnreadable, TraceUnreadable) as error:
        return Stop("Void", str(error))
    except Stop as stop:
        return findings.ended(stop)


async def _explore(bench: Bench) -> Stop:
    """Quality first: it is cheaper than a capacity nobody may use."""
    await steps.sane(bench)
    await steps.quality(bench)
    await steps.warm_up(bench)
    loop, findings = asyncio.get_running_loop(), bench.findings
    began = loop.time()
    while True:
        situation = search.Situation(
            probes=tuple(findings.probes),
            saturation=findings.saturation,
            slo=bench.assignment.slo,
            measurement=bench.assignment.measurement,
            spent_s=loop.time() - began,
            left_s=findings.left_s() - _drain_s(bench),
            rate_to_beat_rps=bench.assignment.rate_to_beat_rps,
            answer_s=findings.answer_s,
            idle_tpot_ms=(findings.idle_ms or {}).get("tpot", 0.0),
        )
        step = search.decide(situation)
        if isinstance(step, search.Done):
            findings.capacity = step.capacity
            return Stop(step.outcome, step.reason)
        if isinstance(step, search.Saturate):
            await steps.saturate(bench, step)
            continue
        number = len(findings.probes) + 1
        findings.probes.append(
            await probe(
                bench,
                step.rate_rps,
                ramp_s=situation.ramp_s,
                measured_s=step.seconds,
                number=number,
                name=f"probe {number}",
                searching=True,
            )
        )


def _drain_s(bench: Bench) -> float:
    """What the last requests of a probe may take beyond it: three idle requests, as they slow each other down."""
    return 3 * bench.findings.answer_s


async def _hold(bench: Bench) -> Stop:
    """Certify and Verify: one rate for ``hold_s``; every limit must be met."""
    assignment, measurement = bench.assignment, bench.assignment.measurement
    if assignment.rate_rps is None:
        return Stop("Void", f"a {assignment.purpose} assignment needs rate_rps")
    rate, others = await _to_send(bench, assignment.rate_rps)
    await steps.sane(bench)
    await steps.quality(bench)
    if assignment.purpose == "Certify":
        await steps.warm_up(bench)
    name = "certification" if assignment.purpose == "Certify" else "verification"
    found = await probe(
        bench,
        rate,
        ramp_s=search.ramp_seconds(measurement, measurement.hold_s, bench.findings.answer_s),
        measured_s=measurement.hold_s,
        name=name,
        searching=False,
    )
    bench.findings.probes.append(found)
    if holds(found, assignment.slo):
        told = f"every limit held at {found.rate_rps:.3g} requests/s{others} for {found.seconds:.0f} s"
        return Stop("Succeeded", told)
    return Stop("MissedSLO", search.missed([found], assignment.slo) + others)


async def _at_demand(bench: Bench) -> None:
    """How busy the engine is at its share of the demand, where that is asked for. The verdict stands already and is
    kept, whatever Stop this raises; a run that the deadline leaves no time for is left out.
    """
    share, findings = bench.assignment.demand_share_rps, bench.findings
    measurement = bench.assignment.measurement
    ramp_s = search.ramp_seconds(measurement, measurement.probe_s, findings.answer_s)
    if share is None or findings.left_s() < ramp_s + measurement.probe_s + bench.assignment.deadlines.request_s:
        return
    number, client = len(findings.probes) + 1, findings.client
    try:
        found, use = await held(
            bench, share, ramp_s=ramp_s, measured_s=measurement.probe_s, number=number, name="share of the demand"
        )
        findings.use_at_demand = None if found.aborted else use
    finally:
        findings.client = client  # of the runs that the verdict rests on


async def _to_send(bench: Bench, rate_rps: float) -> tuple[float, str]:
    """The rate to send, and what is said of other traffic: serving pods carry that as well, both make the rate."""
    if not bench.assignment.top_up:
        return rate_rps, ""
    found = await steps.others_rps(bench, min(LISTEN_S, bench.assignment.measurement.hold_s / 2))
    if found is None:
        return rate_rps, " (other traffic unknown: the engines publish no count)"
    if found == 0:
        return rate_rps, ""
    return max(rate_rps - found, LEAST_SHARE * rate_rps), f" beside {found:.3g} requests/s of other traffic"
