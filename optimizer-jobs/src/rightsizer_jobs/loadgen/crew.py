"""A run over as many client processes as it needs: this one where that is enough, else one worker for each turn.

The schedule is dealt out request by request, the clock is the same in all of them, counts are added up for the watch
several times a second, and the records are put together again. A worker that dies makes the run void.
"""

import asyncio
import contextlib
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from rightsizer_jobs.loadgen.health import CGROUP_ROOT
from rightsizer_jobs.loadgen.load import AskedTokens, Live, Run, Turn, Watch
from rightsizer_jobs.loadgen.metrics import Window
from rightsizer_jobs.loadgen.order import Aim, Kind, now_ns, send
from rightsizer_jobs.loadgen.worker import packed, received
from rightsizer_jobs.wire.session import Session

CHUNKS_PER_PROCESS = 12_000.0
"""Content chunks a second that are left to one process: half of what one must be able to (1,500 x 16 a second)."""

START_NS = 200_000_000
"""From the order to start to the start: every worker has it by then."""

END_S = 10.0

QUOTA_FILES = (
    ("cpu.max",),
    ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"),
    ("cpu,cpuacct/cpu.cfs_quota_us", "cpu,cpuacct/cpu.cfs_period_us"),
)
UNLIMITED = ("max", "-1")


class WorkerDied(RuntimeError):
    """A client process ended before its run did."""


def processes_for(chunks_per_s: float, cpus: float, *, asked: int = 0) -> int:
    """How many processes send: as many as are asked for, else as the load needs and the CPUs allow."""
    return asked or max(1, min(math.ceil(chunks_per_s / CHUNKS_PER_PROCESS), int(cpus)))


async def run_with(
    session: Session, aim: Aim, kind: Kind, *, processes: int, asked_tokens: AskedTokens, watch: Watch
) -> Run:
    """Send; raises WorkerDied."""
    if processes == 1:
        return await send(kind, aim.sender(session), asked_tokens=asked_tokens, watch=watch)
    crew = [await _Worker.start() for _ in range(processes)]
    try:
        run = await _sent_by(crew, aim, kind, watch)
    finally:
        for worker in crew:
            await worker.end()
    return replace(
        run, records=tuple(replace(record, asked_tokens=asked_tokens(record.index)) for record in run.records)
    )


class _Worker:
    """One process and what it has told."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None and process.stdout is not None
        self.process, self._stdin, self._stdout = process, process.stdin, process.stdout
        self.live = Live()
        self.run: Run | None = None
        self.lags_ms: tuple[float, ...] = ()

    @classmethod
    async def start(cls) -> "_Worker":
        pipe = asyncio.subprocess.PIPE
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "rightsizer_jobs.loadgen.worker", stdin=pipe, stdout=pipe
            )
        )

    async def say(self, message: object) -> None:
        with contextlib.suppress(ConnectionError):  # it has died: what is heard of it says so
            self._stdin.write(packed(message))
            await self._stdin.drain()

    async def hear(self) -> dict[str, Any]:
        """Its next message, also kept here; raises WorkerDied."""
        try:
            told: dict[str, Any] = await received(self._stdout)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            code = await self.process.wait()
            raise WorkerDied(f"a client process ended with exit code {code} before its run did") from error
        self.run, self.lags_ms = told.get("run"), told.get("lags_ms", ())
        self.live = told.get("live", self.live) if self.run is None else self.run.live
        return told

    async def end(self) -> None:
        if self.process.returncode is None:
            self._stdin.close()
            try:
                await asyncio.wait_for(self.process.wait(), END_S)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                    self.process.kill()
                await self.process.wait()


async def _sent_by(crew: Sequence[_Worker], aim: Aim, kind: Kind, watch: Watch) -> Run:
    for worker in crew:
        await worker.say((aim, kind))
    for worker in crew:
        await worker.hear()
    start = now_ns() + START_NS
    for number, worker in enumerate(crew):
        await worker.say(Turn(number, len(crew), start))
    orders = _Orders(crew, watch)
    following = [asyncio.create_task(_follow(worker, orders)) for worker in crew]
    try:
        await asyncio.gather(*following)
    finally:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
    return merged([(worker.run, worker.lags_ms) for worker in crew if worker.run is not None], orders.stopped)


class _Orders:
    """Adds up what the workers tell, and says to all of them when the run is over."""

    def __init__(self, crew: Sequence[_Worker], watch: Watch) -> None:
        self._crew, self._watch = crew, watch
        self._heard: set[int] = set()
        self._answered = False
        self.stopped = ""

    async def look(self, worker: _Worker) -> None:
        self._heard.add(id(worker))
        live = summed([one.live for one in self._crew])
        if not self.stopped and (reason := self._watch(live)):
            self.stopped = reason
            await self._say({"stop": reason})
        if not self._answered and live.due == 0 and len(self._heard) == len(self._crew):
            self._answered = True
            await self._say({"answered": True})

    async def _say(self, message: object) -> None:
        for worker in self._crew:
            await worker.say(message)


async def _follow(worker: _Worker, orders: _Orders) -> None:
    while worker.run is None:
        await worker.hear()
        await orders.look(worker)


def summed(lives: Sequence[Live]) -> Live:
    """The counts of all processes together."""
    return Live(
        sent=sum(live.sent for live in lives),
        unserved=sum(live.unserved for live in lives),
        finished=sum(live.finished for live in lives),
        failed=sum(live.failed for live in lives),
        broken=sum(live.broken for live in lives),
        last_broken=next((live.last_broken for live in lives if live.last_broken), ""),
        due=sum(live.due for live in lives),
    )


def merged(parts: Sequence[tuple[Run, tuple[float, ...]]], stopped: str) -> Run:
    """One run of all processes' records, by index. The window of a stopped run is all of it, as in one process."""
    runs = [run for run, _ in parts]
    return Run(
        records=tuple(sorted(chain(*(run.records for run in runs)), key=lambda record: record.index)),
        window=Window(min(run.window.start_ns for run in runs), max(run.window.stop_ns for run in runs)),
        stopped=stopped,
        live=summed([run.live for run in runs]),
        lags_ms=tuple(lags for _, lags in parts),
    )


def cpus_here(root: Path = CGROUP_ROOT) -> float:
    """CPUs that this process may use: those it may run on, and no more than its cgroup's quota (v2 or v1)."""
    return min(float(len(os.sched_getaffinity(0))), _quota(root))


def _quota(root: Path) -> float:
    """CPUs that the cgroup grants; inf: it sets no limit, or tells none."""
    for names in QUOTA_FILES:
        try:
            quota, period = " ".join((root / name).read_text() for name in names).split()
            granted = math.inf if quota in UNLIMITED else int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue
        return granted
    return math.inf
