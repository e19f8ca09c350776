"""Open loop from a schedule and closed loop at a concurrency, over any ``send``. Called by ``trial``.

Open loop: a request leaves at its scheduled instant whatever the engine does. A ``watch`` looks at the live counts
with every event and may stop the run within milliseconds. Requests that are cut then count as failed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from rightsizer_jobs.loadgen.arrivals import NANOSECONDS
from rightsizer_jobs.loadgen.metrics import Window
from rightsizer_jobs.loadgen.records import Arrive, Exchange, Record

Send = Callable[[int, Arrive], Awaitable[Exchange]]
"""(request index, call back with what arrives) -> exchange."""

AskedTokens = Callable[[int], int]
"""Request index -> output tokens that the request asks for."""

SPIN_NS = 2_000_000
"""The event loop's timers are a millisecond coarse: the last two milliseconds before an instant are spent polling."""

BROKEN_LIMIT = 3
"""After so many refused or broken connections the engine may be gone: whoever runs it then looks whether it is."""

LEAD_NS = 50_000_000
CUT = "cut: the run was stopped"


@dataclass(slots=True)
class Live:
    """Counts of a run in progress, for its watch. ``unserved``: sent, no token yet."""

    sent: int = 0
    unserved: int = 0
    finished: int = 0
    failed: int = 0
    broken: int = 0
    """Connections that the engine refused or broke."""
    last_broken: str = ""
    due: int = 0
    """Requests of the measured window that have no answer yet, those included that are not sent yet."""


Watch = Callable[[Live], str]
"""Returns why the run must stop now; empty: go on."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run's records by schedule, its measured window, and why it was stopped early (empty: it was not).

    The window of a stopped run is all of it.
    """

    records: tuple[Record, ...]
    window: Window
    stopped: str = ""
    live: Live = field(default_factory=Live)
    lags_ms: tuple[tuple[float, ...], ...] = ()
    """Lags of the event loops of the processes that sent it, where those are not this one."""


def engine_gone(live: Live) -> str:
    """A watch: why the engine seems to be gone. A single broken connection is a failed request and no more."""
    return f"{live.broken} connections broken: {live.last_broken}" if live.broken >= BROKEN_LIMIT else ""


@dataclass(frozen=True, slots=True)
class Turn:
    """Which requests of a run this process sends: ``number``, and every ``of``-th after it. All of them by default."""

    number: int = 0
    of: int = 1
    start_ns: int | None = None
    """When the run starts, the same instant in all its processes; none: at once."""


WHOLE = Turn()


async def until(instant_ns: int) -> None:
    """Sleep until an instant of the monotonic clock, to within a turn of the event loop."""
    if instant_ns <= time.monotonic_ns():
        await asyncio.sleep(0)  # late: what was launched before leaves first, and a watch can stop the run
    while (left := instant_ns - time.monotonic_ns()) > 0:  # noqa: ASYNC110 a clock, not an event
        await asyncio.sleep((left - SPIN_NS) / NANOSECONDS if left > SPIN_NS else 0)


class _Flight:
    """Requests in flight: starts them, keeps their records, and raises the flag that ends the run."""

    def __init__(self, send: Send, asked_tokens: AskedTokens, watch: Watch) -> None:
        self._send, self._asked, self._watch = send, asked_tokens, watch
        self.live = Live()
        self.records: list[Record] = []
        self.tasks: set[asyncio.Task[Record]] = set()
        self.over = asyncio.Event()
        self.stopped = ""
        self.broken: BaseException | None = None

    async def request(self, index: int, scheduled_ns: int) -> Record:
        """Send one request; its record is kept even when it is cut."""
        chunks: list[int] = []

        def arrive(instant_ns: int, count: int) -> None:
            self.live.unserved -= not chunks
            chunks.extend([instant_ns] * count)

        self.live.sent += 1
        self.live.unserved += 1
        started = time.monotonic_ns()
        exchange: Exchange | None = None
        try:
            exchange = await self._send(index, arrive)
        finally:
            self.live.unserved -= not chunks
            ended = exchange or Exchange(started, tuple(chunks), failure=CUT)
            record = Record(index, scheduled_ns, self._asked(index), ended)
            self.records.append(record)
            self._count(record.exchange)
        return record

    def launch(self, index: int, scheduled_ns: int) -> asyncio.Task[Record]:
        task = asyncio.create_task(self.request(index, scheduled_ns))
        self.tasks.add(task)
        task.add_done_callback(self._settle)
        self.look()
        return task

    def _settle(self, task: asyncio.Task[Record]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:  # a bug: failures of the engine are values
            self.broken = task.exception()
            self.over.set()

    def look(self) -> None:
        if not self.stopped and (reason := self._watch(self.live)):
            self.stopped = reason
            self.over.set()

    def _count(self, exchange: Exchange) -> None:
        self.live.finished += 1
        self.live.failed += bool(exchange.failure)
        if exchange.refused:
            self.live.broken += 1
            self.live.last_broken = exchange.failure
        self.look()

    async def land(self) -> None:
        """Cut what is still in flight."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.broken is not None:
            raise self.broken


async def open_loop(
    send: Send,
    schedule: Sequence[int],
    *,
    ramp_s: float,
    measured_s: float,
    asked_tokens: AskedTokens,
    watch: Watch,
    turn: Turn = WHOLE,
    answered: Callable[[Live], bool] = lambda live: live.due == 0,
) -> Run:
    """Run a schedule (nanoseconds from the start).

    Requests scheduled in [ramp, ramp + measured) count; arrivals go on until all of those are ``answered``, so that the
    last of them meets the same load as the first.
    """
    flight = _Flight(send, asked_tokens, watch)
    start = time.monotonic_ns() + LEAD_NS if turn.start_ns is None else turn.start_ns
    window = Window(start + round(ramp_s * NANOSECONDS), start + round((ramp_s + measured_s) * NANOSECONDS))
    arrivals = [(index, start + schedule[index]) for index in range(turn.number, len(schedule), turn.of)]
    flight.live.due = sum(window.start_ns <= instant < window.stop_ns for _, instant in arrivals)
    flight.look()
    dispatcher = asyncio.create_task(_dispatch(flight, arrivals, window, answered))
    over = asyncio.create_task(flight.over.wait())
    try:
        await asyncio.wait({dispatcher, over}, return_when=asyncio.FIRST_COMPLETED)
        if dispatcher.done():
            dispatcher.result()
    finally:
        for task in (dispatcher, over):
            task.cancel()
        await asyncio.gather(dispatcher, over, return_exceptions=True)
        await flight.land()
    if flight.stopped:
        window = Window(start, max(time.monotonic_ns(), start + 1))
    records = sorted(flight.records, key=lambda record: record.index)
    return Run(tuple(records), window, flight.stopped, flight.live)


async def _dispatch(
    flight: _Flight, arrivals: Sequence[tuple[int, int]], window: Window, answered: Callable[[Live], bool]
) -> None:
    """Send at each instant until every counted request has its answer."""
    counted: set[asyncio.Task[Record]] = set()

    def settle(task: asyncio.Task[Record]) -> None:
        counted.discard(task)
        flight.live.due -= 1

    for index, instant in arrivals:
        await until(instant)
        if instant >= window.stop_ns and answered(flight.live):
            return
        task = flight.launch(index, instant)
        if window.start_ns <= instant < window.stop_ns:
            counted.add(task)
            task.add_done_callback(settle)
    if counted:
        await asyncio.wait(counted)


async def closed_loop(
    send: Send, *, concurrency: int, seconds: float, asked_tokens: AskedTokens, watch: Watch, turn: Turn = WHOLE
) -> Run:
    """Keep ``concurrency`` requests in flight for ``seconds``; the last two thirds count."""
    flight = _Flight(send, asked_tokens, watch)
    start = time.monotonic_ns() if turn.start_ns is None else turn.start_ns
    stop = start + round(seconds * NANOSECONDS)
    window = Window(start + (stop - start) // 3, stop)
    indices = iter(range(turn.number, 1 << 62, turn.of))

    await until(start)

    async def worker() -> None:
        while (now := time.monotonic_ns()) < stop:
            if (await flight.request(next(indices), now)).failed:
                await asyncio.sleep(0.05)  # an engine that refuses at once must not turn the loop into a flood

    workers = [asyncio.create_task(worker()) for _ in range(concurrency)]
    try:
        await asyncio.wait_for(flight.over.wait(), (stop - time.monotonic_ns()) / NANOSECONDS)
    except TimeoutError:
        pass
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return Run(tuple(flight.records), window, flight.stopped, flight.live)
