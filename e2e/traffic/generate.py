"""Send the demo's workload to an OpenAI-compatible address; one JSON line every few seconds on standard output, clean
end on SIGTERM.

One file, so that it can be mounted into a pod of the trial image, whose load client it uses. It decides nothing and
measures for people: the figures that count come from the trial's own code.

    generate.py --url http://support-chat:8000 --model support-chat --rate 3.5
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rightsizer_jobs.loadgen.arrivals import NANOSECONDS, poisson_gaps
from rightsizer_jobs.loadgen.client import complete
from rightsizer_jobs.loadgen.load import until
from rightsizer_jobs.loadgen.metrics import itl, percentile, shown, ttft
from rightsizer_jobs.loadgen.prompts import PromptBook
from rightsizer_jobs.loadgen.records import Record
from rightsizer_jobs.wire.session import Session

TIMEOUT_S = 60.0
LINE_EVERY_S = 10.0


def open_session() -> Session:
    """A new connection for each request: a Service spreads connections, not requests, and replicas come and go."""
    return Session(keep=False)


@dataclass
class Interval:
    """What happened since the last line. Latencies are those of requests that ended in it."""

    since: float
    """Its start on the monotonic clock, seconds."""
    sent: int = 0
    ended: list[Record] = field(default_factory=list)

    def line(self, now: float) -> dict[str, object]:
        """Failed requests have infinite latency, shown as -1, as in reports."""
        failures = [record.exchange.failure for record in self.ended if record.failed]
        return {
            "seconds": round(now - self.since, 1),
            "sent": self.sent,
            "ended": len(self.ended),
            "failed": len(failures),
            "ttft_p95_ms": _p95(ttft, self.ended),
            "itl_p95_ms": _p95(itl, self.ended),
            **({"failure": failures[0]} if failures else {}),
        }


def _p95(metric: Callable[[Record], list[float]], records: Sequence[Record]) -> float:
    return shown(percentile([value for record in records for value in metric(record)], 95))


class Traffic:
    """Requests at a rate until told to stop."""

    def __init__(self, session: Session, url: str, book: PromptBook, nonce: int) -> None:
        self._session, self._url, self._book, self._nonce = session, f"{url}/v1/completions", book, nonce
        self._interval = Interval(time.monotonic())
        self._flying: set[asyncio.Task[None]] = set()

    async def _one(self, index: int, scheduled_ns: int) -> None:
        body = self._book.body(index, self._nonce)
        exchange = await complete(self._session, self._url, body, timeout_s=TIMEOUT_S)
        self._interval.ended.append(Record(index, scheduled_ns, self._book.asked_tokens(index), exchange))

    async def send(self, rate_rps: float, seed: int) -> None:
        """Open loop: each request leaves at its instant, whatever became of those before."""
        instant = time.monotonic_ns()
        for index, gap in enumerate(poisson_gaps(seed)):
            instant += round(gap / rate_rps * NANOSECONDS)
            await until(instant)
            self._interval.sent += 1
            task = asyncio.create_task(self._one(index, instant))
            self._flying.add(task)
            task.add_done_callback(self._flying.discard)

    async def tell(self, every_s: float) -> None:
        """A line about each interval."""
        while True:
            await asyncio.sleep(every_s)
            self.flush()

    def flush(self) -> None:
        now = time.monotonic()
        ended, self._interval = self._interval, Interval(now)
        print(json.dumps(ended.line(now)), flush=True)

    async def land(self) -> None:
        """Cut what is in flight; users who leave are no failures."""
        for task in self._flying:
            task.cancel()
        await asyncio.gather(*self._flying, return_exceptions=True)


async def keep_rate(given: argparse.Namespace) -> int:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_session() as session:
        traffic = Traffic(session, given.url, _book(given), given.seed)
        working = [
            asyncio.create_task(traffic.send(given.rate, given.seed)),
            asyncio.create_task(traffic.tell(given.every)),
        ]
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([*working, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in (*working, stopping):
            task.cancel()
        await asyncio.gather(*working, stopping, return_exceptions=True)
        await traffic.land()
        for task in done - {stopping}:
            task.result()  # a sender never ends by itself: whatever ended it is a bug to be seen
    traffic.flush()
    return 0


def _book(given: argparse.Namespace) -> PromptBook:
    return PromptBook.draw(
        served_model_name=given.model,
        input_tokens=given.input,
        output_tokens=given.output,
        vocabulary=given.vocabulary,
        seed=given.seed,
    )


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Traffic of the demo's workload: Poisson arrivals until SIGTERM.")
    parser.add_argument("--url", required=True, help="http://HOST:PORT")
    parser.add_argument("--model", required=True, help="served model name")
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--every", type=float, default=LINE_EVERY_S, help="seconds between lines")
    parser.add_argument("--input", type=int, default=200, help="tokens of a prompt")
    parser.add_argument("--output", type=int, default=64, help="tokens of an answer")
    parser.add_argument("--vocabulary", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=1)
    return parser


def main(arguments: list[str] | None = None) -> int:
    return asyncio.run(keep_rate(parser().parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
