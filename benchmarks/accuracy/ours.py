"""The product's own client at one point: its prompts, its open loop, its verdict on itself."""

import asyncio
import json
import random
import time
from collections.abc import Sequence

from benchmarks.accuracy.comparing import MS, Seen, Told
from rightsizer_jobs.contract import Slo
from rightsizer_jobs.loadgen.arrivals import schedule
from rightsizer_jobs.loadgen.client import complete
from rightsizer_jobs.loadgen.health import Watchman, believe
from rightsizer_jobs.loadgen.load import Run, open_loop
from rightsizer_jobs.loadgen.metrics import itl, tpot
from rightsizer_jobs.loadgen.prompts import PromptBook
from rightsizer_jobs.loadgen.records import Record
from rightsizer_jobs.wire.session import Session

RAMP_S, TAIL_S = 2.0, 6.0
SLO = Slo(ttft_ms=800, itl_ms=50)
SHORTEST_STALL_S, LONGEST_STALL_S = 0.25, 1.0


def book(tokens: int) -> PromptBook:
    return PromptBook.draw(served_model_name="m", input_tokens=200, output_tokens=tokens, vocabulary=2048, seed=1)


async def run_at(url: str, rate: float, tokens: int, seconds: float, stall: tuple[float, float] | None) -> Told:
    """``stall``: (when, how long) the event loop stands still, seconds from the start of the measured part."""
    prompts = book(tokens)
    async with Session() as session:

        async def send(index, arrive):
            return await complete(session, f"{url}/v1/completions", prompts.body(index, 0), timeout_s=30, arrive=arrive)

        before = time.process_time()
        async with Watchman() as watchman:
            if stall is not None:
                asyncio.get_running_loop().call_later(RAMP_S + stall[0], time.sleep, stall[1])
            run = await open_loop(
                send,
                schedule("Poisson", rate, RAMP_S + seconds + TAIL_S, 3),
                ramp_s=RAMP_S,
                measured_s=seconds,
                asked_tokens=lambda _: tokens,
                watch=lambda _: "",
            )
        cpu = (time.process_time() - before) / (RAMP_S + seconds)
    counted = [record for record in run.records if run.window.counts(record)]
    whole = [record for record in counted if not record.failed]
    return Told(
        client="ours",
        seen=[seen(record, prompts) for record in whole],
        failed=len(counted) - len(whole),
        seconds=run.window.seconds,
        cpu=f"{cpu:.0%}",
        void=verdict(run, watchman),
    )


def verdict(run: Run, watchman: Watchman) -> str:
    return believe(run, watchman, SLO).split(":")[0] or "-"


def seen(record: Record, prompts: PromptBook) -> Seen:
    exchange = record.exchange
    return Seen(
        key="/".join(str(token) for token in json.loads(prompts.body(record.index, 0))["prompt"][:4]),
        ttft_ms=(exchange.chunks_ns[0] - exchange.sent_ns) / MS,
        tpot_ms=tpot(record)[0],
        gaps_ms=itl(record),
        lag_ms=(exchange.sent_ns - record.scheduled_ns) / MS,
        chunks_ns=exchange.chunks_ns,
    )


def stalls(count: int, seconds: float) -> Sequence[tuple[float, float]]:
    """When and how long, the same in every run of the benchmark."""
    source = random.Random(20)
    return [
        (source.uniform(0, seconds - LONGEST_STALL_S), source.uniform(SHORTEST_STALL_S, LONGEST_STALL_S))
        for _ in range(count)
    ]
