"""The steps before the probes: ready, first token, sane, quality, warm, saturation. Called by ``run`` in that order.

Each one returns what it found or raises Stop with the outcome and the reason.
"""

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from typing import NoReturn

from rightsizer_jobs.contract import Metric, Saturation, Slo
from rightsizer_jobs.engines.beside import told, usually_waiting
from rightsizer_jobs.engines.engine import Engine
from rightsizer_jobs.loadgen.load import Run, Send
from rightsizer_jobs.loadgen.metrics import FORMULAS, output_rate, percentile, rounded
from rightsizer_jobs.loadgen.order import Closed
from rightsizer_jobs.loadgen.records import Exchange, Record, unheard
from rightsizer_jobs.loadgen.sequence import Ask
from rightsizer_jobs.quality.questions import Questions
from rightsizer_jobs.quality.scorer import Margin, Scored, ScoringFailed, ask, http_chooser
from rightsizer_jobs.trial import search
from rightsizer_jobs.trial.bench import Bench
from rightsizer_jobs.trial.findings import Stop
from rightsizer_jobs.trial.pulse import Pulse
from rightsizer_jobs.trial.saturation import saturation

LOG = logging.getLogger(__name__)
POLL_S = 0.5
WARM_CHANGE = 0.10
"""Two warm-up blocks agree when their time per token differs by less."""

WARM_CONCURRENCY = 8
QUALITY_CONCURRENCY = 16
CHAT_TOKENS, CHAT_SHARE = 8, 0.05
"""A chat's prompt may be off by so many tokens, or by so much of its length."""

FAILED_SHARE = 0.05
"""More failures than this among saturating requests and the engine is broken, not slow."""


async def ready(bench: Bench) -> None:
    """Wait until every engine serves its model; Stop(EngineFailed) after ``ready_s``."""
    findings, limit = bench.findings, bench.assignment.deadlines.ready_s
    for engine in bench.engines:
        while (health := await engine.health()).ready is False:
            if health.wrong_model:
                raise Stop("EngineFailed", f"the engine serves another model: {health.problem}")
            if findings.elapsed_s > limit:
                raise Stop("EngineFailed", f"not ready within {limit:g} s: {health.problem}")
            await asyncio.sleep(POLL_S)
    findings.ready_s = findings.elapsed_s
    findings.replayed = next(filter(None, [await engine.replayed() for engine in bench.engines]), "")
    findings.engine_starts = tuple([(await engine.sample()).process_start for engine in bench.engines])
    LOG.info("ready after %.1f s", findings.ready_s)


async def first_token(bench: Bench) -> None:
    """One request to every engine: Stop(EngineHung) when a healthy engine gives no token within ``first_token_s``."""
    limit = bench.assignment.deadlines.first_token_s
    send = bench.sender(timeout_s=limit + bench.assignment.deadlines.request_s)
    # A chat's length is not known before its words are gauged.
    most_off = math.inf if bench.assignment.workload.api == "Chat" else 0
    for number, engine in enumerate(bench.engines):
        exchange = await _within(send, number, limit) or await _hung(engine, limit)
        _sound(exchange, bench.requests.ask(number), most_off)


async def _within(send: Send, index: int, limit: float) -> Exchange | None:
    """The whole exchange, if its first token comes within the limit."""
    arrived = asyncio.Event()

    def arrive(_instant_ns: int, _count: int) -> None:
        arrived.set()

    request = asyncio.ensure_future(send(index, arrive))
    waiter = asyncio.create_task(arrived.wait())
    try:
        await asyncio.wait({request, waiter}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        return await request if arrived.is_set() or request.done() else None
    finally:
        waiter.cancel()
        request.cancel()


async def _hung(engine: Engine, limit: float) -> NoReturn:
    health = await engine.health()
    if health.refused:
        raise Stop("EngineFailed", f"the engine stopped at the first request: {health.problem}")
    state = "still reports healthy" if health.ready else health.problem
    raise Stop("EngineHung", f"no token within {limit:g} s of the first request; the engine {state}")


def _sound(exchange: Exchange, ask: Ask, most_off: float) -> None:
    """A single request on an idle engine must succeed with the lengths asked for; that of a prompt may be a little off
    in a chat, whose words are rounded.
    """
    if exchange.failure:
        raise Stop("EngineFailed", f"a single request failed: {exchange.failure}")
    if exchange.output_tokens != ask.output_tokens:
        raise Stop("EngineFailed", f"asked for {ask.output_tokens} tokens, got {exchange.output_tokens}")
    if exchange.prompt_tokens and abs(exchange.prompt_tokens - ask.input_tokens) > most_off:
        raise Stop("EngineFailed", f"sent a prompt of {ask.input_tokens} tokens, it counted {exchange.prompt_tokens}")


async def others_rps(bench: Bench, listen_s: float) -> float | None:
    """Requests a second that the engines finish for others while this client is silent; None where one tells none."""

    async def finished() -> list[float | None]:
        return [(await engine.sample()).finished for engine in bench.engines]

    before, began = await finished(), time.monotonic()
    await asyncio.sleep(listen_s)
    after, seconds = await finished(), time.monotonic() - began
    pairs = [(old, new) for old, new in zip(before, after, strict=True) if old is not None and new is not None]
    if len(pairs) < len(before):
        return None
    return sum(max(0.0, new - old) for old, new in pairs) / seconds


async def sane(bench: Bench) -> dict[Metric, float]:
    """p50 of single requests on the idle engine; Stop(MissedSLO) when they miss a limit: no rate can meet it."""
    send, records = bench.sender(), []
    for index in range(bench.assignment.measurement.sanity_requests):
        now = time.monotonic_ns()
        exchange = await send(index, unheard)
        asked = bench.requests.ask(index)
        chat = bench.assignment.workload.api == "Chat"
        _sound(exchange, asked, max(CHAT_TOKENS, CHAT_SHARE * asked.input_tokens) if chat else 0)
        records.append(Record(index, now, bench.asked_tokens(index), exchange))
    await bench.keep("sane", records)
    bench.findings.idle_ms = idle = idle_figures(records)
    LOG.info("idle %s", idle)
    if missing := idle_misses(idle, bench.assignment.slo):
        raise Stop("MissedSLO", f"a single request on the idle engine already misses: {missing}")
    return idle


def idle_figures(records: Sequence[Record]) -> dict[Metric, float]:
    """The median of each metric that is defined, milliseconds."""
    values = {
        metric: [value for record in records for value in formula(record)] for metric, formula in FORMULAS.items()
    }
    return {metric: rounded(percentile(found, 50)) for metric, found in values.items() if found}


def idle_misses(idle: dict[Metric, float], slo: Slo) -> str:
    return ", ".join(
        f"p50 {metric} {idle[metric]:.4g} ms against {limit:g} ms"
        for metric, limit in slo.limits().items()
        if metric in idle and idle[metric] > limit
    )


async def quality(bench: Bench) -> None:
    """Ask the questions, if any; Stop(FailedQuality) or, outside of Verify, Stop(Undecided)."""
    assignment = bench.assignment
    if bench.questions is None:
        return
    try:
        scored = await _score(bench, bench.questions)
    except ScoringFailed as error:
        await bench.check_alive("the questions")
        raise Stop("EngineFailed", str(error)) from error
    bench.findings.answers = scored.answers
    LOG.info("quality %s asked, %s unscored, %s", scored.answers.asked, scored.unscored, scored.verdict)
    _settle(scored, assignment.max_drop_points, tolerate_undecided=assignment.purpose == "Verify")
    await bench.check_alive("the questions")


async def _score(bench: Bench, questions: Questions) -> Scored:
    assignment = bench.assignment
    chooser = http_chooser(
        bench.session,
        [engine.completions_url for engine in bench.engines],
        assignment.endpoints[0].served_model_name,
        timeout_s=assignment.deadlines.request_s,
    )
    baseline = assignment.baseline_answers
    margin = None if baseline is None else Margin(baseline, assignment.max_drop_points, assignment.confidence_percent)
    return await ask(questions, chooser, concurrency=QUALITY_CONCURRENCY * len(bench.engines), margin=margin)


def _settle(scored: Scored, allowed: float, *, tolerate_undecided: bool) -> None:
    verdict = scored.verdict
    if verdict is None:
        if scored.unscored == scored.answers.asked:
            raise Stop(
                "FailedQuality", f"no choice was among the likeliest tokens in any of {scored.unscored} questions"
            )
        return
    figures = (
        f"drop {verdict.drop_points:.2f} points ({verdict.lower_points:.2f} to {verdict.upper_points:.2f}), "
        f"allowed {allowed:g}; {verdict.lost} lost and {verdict.won} won of {verdict.asked}"
    )
    if verdict.settled == "Fail":
        raise Stop("FailedQuality", figures)
    if verdict.settled == "Undecided" and not tolerate_undecided:
        raise Stop("Undecided", f"the questions ran out: {figures}")


async def warm_up(bench: Bench) -> None:
    """Load in blocks until two of them agree in time per token: compile and graph capture are then behind."""
    measurement = bench.assignment.measurement
    before: float | None = None
    seconds = search.warm_up_seconds(measurement, bench.findings.answer_s)
    for number in range(measurement.warmup_max_blocks):
        run = await _closed(bench, WARM_CONCURRENCY * len(bench.engines), seconds, "warm-up")
        pace = pace_ms(run.records)
        LOG.info("warm-up block %d: %.4g ms a token", number + 1, pace)
        if before is not None and abs(pace - before) < WARM_CHANGE * max(pace, before):
            return
        before = pace
    LOG.warning("the engine did not settle within %d warm-up blocks", measurement.warmup_max_blocks)


def pace_ms(records: Sequence[Record]) -> float:
    """Median time per token of the requests that ended, or of whole answers of one token; nan: none ended."""
    ended = [record for record in records if not record.failed]
    paces = [value for record in ended for value in FORMULAS["tpot"](record) or FORMULAS["e2e"](record)]
    return percentile(paces, 50)


async def saturate(bench: Bench, wanted: search.Saturate) -> Saturation:
    """Closed loop: how fast the engine gives out its tokens with so many requests in flight."""
    async with bench.observed() as seen:
        run = await _closed(bench, wanted.concurrency, wanted.seconds, "saturation")
    await bench.keep("saturation", run.records, seen.engines)
    counted = seen.within(run.window)
    if slowed := counted.slowed():
        raise Stop("Void", f"saturation: {slowed}")
    if output_rate(run.records, run.window) == 0:
        raise Stop("EngineHung", f"no token in {run.window.seconds:.0f} s of saturation")
    bench.findings.saturation = found = saturation(
        run.records,
        run.window,
        concurrency=wanted.concurrency,
        mean_output_tokens=bench.requests.mean_output_tokens,
        waiting=usually_waiting(counted.engines),
        slo=bench.assignment.slo,
        before=bench.findings.saturation,
    )
    LOG.info("saturation %s; engines: %s", found, told(seen.engines))
    return found


async def _closed(bench: Bench, concurrency: int, seconds: float, name: str) -> Run:
    # No stream is faster than on the idle engine.
    gap_ms = (bench.findings.idle_ms or {}).get("tpot", math.inf)
    chunks_per_s = concurrency * 1000 / max(gap_ms, 0.01) / bench.tokens_a_chunk
    # With every place taken an answer may take longer than any user would wait: that is no failure here.
    patience_s = seconds + bench.assignment.deadlines.request_s
    async with Pulse(bench, name) as pulse:
        run = await bench.load(Closed(concurrency, seconds), pulse.beside(), chunks_per_s, patience_s)
    await pulse.settle()
    if run.stopped:  # its window is longer than what was run
        raise Stop("Void", f"{name}: {run.stopped}")
    failed = [
        record.exchange.failure
        for record in run.records
        if record.failed and not record.exchange.failure.startswith("cut")
    ]
    if len(failed) > FAILED_SHARE * max(20, len(run.records)):
        raise Stop("EngineFailed", f"{len(failed)} of {len(run.records)} requests failed in {name}: {failed[0]}")
    return run
