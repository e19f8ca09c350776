"""How far the load client's figures are from the server's own: ``python -m benchmarks.client_accuracy``.

A server process that paces tokens on absolute deadlines (first after 50 ms, then one each 10 ms) logs its true times
by the same monotonic clock; the client runs the product's open loop against it. Prints error (client minus server) and
the client's own evidence. Server and client get a core each where there are two; on a busy machine the server's own
pacing error says how much to believe.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass

import uvloop

from benchmarks.occasion import heading
from rightsizer_jobs.contract import Slo
from rightsizer_jobs.loadgen.arrivals import schedule
from rightsizer_jobs.loadgen.client import complete
from rightsizer_jobs.loadgen.health import Watchman, believe
from rightsizer_jobs.loadgen.load import Run, open_loop
from rightsizer_jobs.loadgen.metrics import percentile
from rightsizer_jobs.loadgen.prompts import PromptBook
from rightsizer_jobs.wire.session import Session

POINTS = ((20, 16), (100, 16), (300, 16), (600, 16), (1500, 16), (20, 200), (40, 200))
FIRST_S, STEP_S = 0.050, 0.010
MS = 1e6


@dataclass
class Truth:
    """Of one request on the server: arrival of its last byte, first token written, last token written, nanoseconds."""

    arrived: int
    first: int
    last: int


class Server(asyncio.Protocol):
    """HTTP/1.1 just enough: one POST at a time on a kept connection, its answer streamed in chunks and logged."""

    log: dict[int, Truth]

    def __init__(self) -> None:
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = next((int(x[15:]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:")), 0)
        if len(rest) < length:
            return
        now, self.buffer = time.monotonic_ns(), b""
        if head.startswith(b"GET"):
            text = json.dumps({str(k): [v.arrived, v.first, v.last] for k, v in Server.log.items()}).encode()
            Server.log.clear()
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
            return
        body = json.loads(rest)
        asyncio.get_running_loop().create_task(self.answer(now, body))

    async def answer(self, arrived: int, body: dict) -> None:
        tokens, low = body["max_tokens"], body["prompt"]
        loop = asyncio.get_running_loop()
        due = loop.time() + FIRST_S
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        first = last = 0
        for token in range(tokens):
            while (left := due - loop.time()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(left - 0.0015 if left > 0.0015 else 0)
            if self.transport.is_closing():
                return
            last = time.monotonic_ns()
            self.transport.write(chunk(b'{"choices":[{"index":0,"text":" token"}],"usage":null}'))
            first = first or last
            due += STEP_S
            del token
        usage = b'{"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}' % (len(low), tokens)
        self.transport.write(chunk(usage) + chunk(b"[DONE]") + b"0\r\n\r\n")
        Server.log[low[0] * 4096 + low[1]] = Truth(arrived, first, last)


def chunk(payload: bytes) -> bytes:
    event = b"data: " + payload + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


async def serve() -> None:
    Server.log = {}
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


def pin(core: int) -> None:
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


class IndexedBook:
    """Bodies whose first two prompt tokens are the request's index, so that the server's log can be joined."""

    def __init__(self, tokens: int) -> None:
        self.book = PromptBook.draw(
            served_model_name="m", input_tokens=200, output_tokens=tokens, vocabulary=2048, seed=1
        )

    def body(self, index: int) -> bytes:
        tail = self.book.body(index, 0).split(b"[", 1)[1].split(b",", 2)[2]
        return b'{"model":"m","prompt":[%d,%d,%s' % (index // 4096, index % 4096, tail)


async def measure(url: str, rate: float, tokens: int, seconds: float) -> str:
    book = IndexedBook(tokens)
    bodies = [book.body(index) for index in range(round(rate * (seconds + 8)) + 200)]
    async with Session() as session:

        async def send(index, arrive):
            return await complete(session, url, bodies[index], timeout_s=30, arrive=arrive)

        before = time.process_time()
        async with Watchman() as watchman:
            run = await open_loop(
                send,
                schedule("Poisson", rate, seconds + 6, 3),
                ramp_s=2,
                measured_s=seconds,
                asked_tokens=lambda _: tokens,
                watch=lambda _: "",
            )
        cpu = (time.process_time() - before) / (seconds + 2)
        answer = await session.get(url.rsplit("/v1", 1)[0] + "/log", timeout_s=30)
        log = {int(key): Truth(*value) for key, value in json.loads(answer.body).items()}
    return row(run, log, watchman, rate, tokens, cpu)


def row(run: Run, log: dict[int, Truth], watchman: Watchman, rate: float, tokens: int, cpu: float) -> str:
    counted = [r for r in run.records if run.window.counts(r) and not r.failed and r.index in log]
    start = [
        (r.exchange.chunks_ns[0] - r.exchange.sent_ns - (log[r.index].first - log[r.index].arrived)) / MS
        for r in counted
    ]
    arrive = [(r.exchange.chunks_ns[0] - log[r.index].first) / MS for r in counted]
    gap = [
        ((r.exchange.chunks_ns[-1] - r.exchange.chunks_ns[0]) - (log[r.index].last - log[r.index].first))
        / MS
        / (tokens - 1)
        for r in counted
    ]
    lag = [(r.exchange.sent_ns - r.scheduled_ns) / MS for r in counted]
    own = [((log[r.index].first - log[r.index].arrived) / MS - FIRST_S * 1000) for r in counted]
    seconds = run.window.seconds
    bins = [0] * max(1, int(seconds))
    for r in counted:
        bins[min(len(bins) - 1, int((log[r.index].arrived - run.window.start_ns) / 1e9))] += 1
    mean = sum(bins) / len(bins)
    idc = sum((b - mean) ** 2 for b in bins) / (len(bins) - 1) / mean if len(bins) > 1 and mean else float("nan")
    failed = sum(r.failed for r in run.records if run.window.counts(r))
    void = believe(run, watchman, Slo(ttft_ms=800, itl_ms=50))
    cells = [
        tokens,
        rate,
        f"{len(counted) / seconds:.1f}",
        failed,
        f"{idc:.1f}",
        *(three(x) for x in (start, arrive, gap, lag, own)),
    ]
    return "| " + " | ".join(str(cell) for cell in [*cells, f"{cpu:.0%}", void.split(":")[0] or "-"]) + " |"


def three(values: list[float]) -> str:
    return "/".join(f"{percentile(values, percent):+.2f}" for percent in (50, 95, 99))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=12, help="measured seconds of each point")
    parser.add_argument("--points", default="", help="only these, as RATExTOKENS, e.g. 100x16,40x200")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        pin(0)
        uvloop.run(serve())
        return
    pin(1)
    chosen = [tuple(map(int, point.split("x"))) for point in given.points.split(",") if point] or POINTS
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.client_accuracy", "--serve"], stdout=subprocess.PIPE, text=True
    )
    try:
        port = int(server.stdout.readline())
        print(heading("rightsizer-jobs", "uvloop"))
        print(
            "error in ms at p50/p95/p99; TTFT from the send; chunk: arrival minus the server's write; "
            "own: the server's pacing error\n"
        )
        print("| tokens | asked/s | got/s | failed | IDC | TTFT | chunk | TPOT | send lag | own | CPU | void |")
        print("|" + "---|" * 12)
        for rate, tokens in chosen:
            print(
                uvloop.run(measure(f"http://127.0.0.1:{port}/v1/completions", rate, tokens, given.seconds)), flush=True
            )
    finally:
        server.terminate()
        server.wait(10)


if __name__ == "__main__":
    main()
