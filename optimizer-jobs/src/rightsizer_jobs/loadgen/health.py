"""Evidence that the client kept its schedule, and the reason to call a run void where it did not.

Used around each run by ``trial``. Reads the clock and the cgroup's files; a void run is repeated, never averaged in.
"""

import asyncio
import gc
import math
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType

from rightsizer_jobs.contract import ClientHealth, Slo
from rightsizer_jobs.loadgen.load import Run
from rightsizer_jobs.loadgen.metrics import MILLISECOND, percentile, rounded
from rightsizer_jobs.loadgen.records import Record
from rightsizer_jobs.stats import allowed_share

CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP_FILES = ("cpu.stat", "cpu/cpu.stat", "cpu,cpuacct/cpu.stat")
TICK_S = 0.005
"""A stall is seen shorter than it was by up to so much."""

LAG_SHARE = 0.05
"""Allowed p95 send lag as a share of the tightest limit that counts from the schedule."""

LAG_FLOOR_MS = 2.0
"""Below this a lag is the event loop's own grain."""

STALL_SHARE = 0.25
"""A stall of the event loop shorter than this share of a limit does not count."""

STALL_MS = 1000.0
"""A client that stood still for so long at once is not believed, however long the run was."""

CAUSED_SHARE = 0.2
"""The violations that the client itself may have caused, as a share of the allowed ones."""

RATE_SHARE = 0.02
THROTTLED_SHARE = 0.05


def throttled_seconds(root: Path = CGROUP_ROOT) -> float | None:
    """Seconds the client's cgroup was throttled so far, cgroup v2 or v1; None where the files are missing."""
    for name in CGROUP_FILES:
        try:
            lines = (root / name).read_text().splitlines()
        except OSError:
            continue
        values = dict(line.split() for line in lines if len(line.split()) == 2)
        if "throttled_usec" in values:
            return int(values["throttled_usec"]) / 1e6
        if "throttled_time" in values:
            return int(values["throttled_time"]) / 1e9
    return None


class Watchman:
    """Watches the event loop and the cgroup while a run is on; ``async with Watchman() as watchman``."""

    def __init__(self, root: Path = CGROUP_ROOT) -> None:
        self._root = root
        self.loop_lags_ms: list[float] = []
        self.throttled_s: float | None = None

    async def __aenter__(self) -> "Watchman":
        # A collection of the whole heap stops the client for tens of milliseconds on a busy core: before, not during.
        gc.collect()
        gc.disable()
        self._before = throttled_seconds(self._root)
        self._task = asyncio.create_task(self._tick())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        gc.enable()
        self._task.cancel()
        after = throttled_seconds(self._root)
        self.throttled_s = None if after is None or self._before is None else after - self._before

    async def _tick(self) -> None:
        while True:
            asked = time.monotonic_ns() + round(TICK_S * 1e9)
            await asyncio.sleep(TICK_S)
            self.loop_lags_ms.append(max(0.0, (time.monotonic_ns() - asked) / MILLISECOND))

    def health(self, run: Run) -> ClientHealth:
        """Lags of this process's event loop, or of those that sent the run."""
        lags = [(record.exchange.sent_ns - record.scheduled_ns) / MILLISECOND for record in run.records]
        loops = list(chain(*run.lags_ms)) if run.lags_ms else self.loop_lags_ms
        return ClientHealth(
            send_lag_p95_ms=rounded(percentile(lags, 95)) if lags else 0.0,
            loop_lag_p95_ms=rounded(percentile(loops, 95)) if loops else 0.0,
            throttled_s=None if self.throttled_s is None else rounded(self.throttled_s),
        )


def allowed_lag_ms(slo: Slo) -> float:
    """What a client may be late by, p95: 5 % of the TTFT limit, else of the E2E limit, else of ten gaps."""
    gap = slo.itl_ms or slo.tpot_ms or 0.0
    return max(LAG_FLOOR_MS, LAG_SHARE * (slo.ttft_ms or slo.e2e_ms or 10 * gap))


def believe(run: Run, watchman: Watchman, slo: Slo) -> str:
    """Why an open-loop run is void; empty: it may be believed.

    A run that was stopped for overload only says that the rate is too high: there a few late requests do not matter.
    """
    seconds = run.window.seconds
    health, allowed = watchman.health(run), allowed_lag_ms(slo)
    if not run.stopped and health.send_lag_p95_ms > allowed:
        return f"the client sent late: p95 {health.send_lag_p95_ms:.1f} ms, allowed {allowed:.1f} ms"
    lags = run.lags_ms or (tuple(watchman.loop_lags_ms),)
    if (longest := max(chain(*lags), default=0.0)) >= STALL_MS:
        return f"the client stood still: {longest / 1000:.1f} s at once"
    permitted = CAUSED_SHARE * allowed_share(slo.percentile)
    caused = sum(caused_share(one, run, slo) for one in lags) / len(lags)
    if caused > permitted:
        return f"the client stood still: that may have caused {caused:.1%} violations, {permitted:.1%} are permitted"
    scheduled, sent = scheduled_and_sent(run)
    if not run.stopped and abs(sent - scheduled) > RATE_SHARE * scheduled + 2:
        return f"the client did not keep the rate: {sent} requests left in the window, {scheduled} were scheduled"
    if health.throttled_s is not None and health.throttled_s > THROTTLED_SHARE * seconds:
        return f"the client's CPU was throttled for {health.throttled_s:.1f} s of {seconds:.0f} s"
    return ""


def caused_share(loop_lags_ms: Sequence[float], run: Run, slo: Slo) -> float:
    """Upper estimate of the violations that the client's own stalls caused.

    A long stall delays whatever was due in it: first tokens, or the last one, by which a whole answer's time per token
    is judged. A shorter one still makes one gap longer in each stream that is running; that gap then misses its limit
    where the stall is longer than what an average gap leaves of it.
    """
    milliseconds = run.window.seconds * 1000
    answer = (slo.tpot_ms or 0.0) * _fewest_gaps(run.records)
    wait = min((one for one in (slo.ttft_ms or slo.e2e_ms, answer) if one), default=math.inf)
    waits = sum(lag for lag in loop_lags_ms if lag > STALL_SHARE * wait) / milliseconds
    usual, gap = _mean_gap_ms(run.records), slo.itl_ms
    stalls = sum(lag > max(STALL_SHARE * gap, gap - usual) for lag in loop_lags_ms) if gap is not None else 0
    return max(waits, stalls * usual / milliseconds)


def _fewest_gaps(records: Sequence[Record]) -> int:
    """Between the tokens of the shortest answer that has any."""
    return min((record.asked_tokens - 1 for record in records if record.asked_tokens > 1), default=0)


def _mean_gap_ms(records: Sequence[Record]) -> float:
    chunks = [record.exchange.chunks_ns for record in records if not record.failed]
    gaps = sum(len(instants) - 1 for instants in chunks)
    return sum(instants[-1] - instants[0] for instants in chunks) / gaps / MILLISECOND if gaps > 0 else 0.0


def scheduled_and_sent(run: Run) -> tuple[int, int]:
    """Requests that should have left inside the window, and that did."""
    scheduled = sum(run.window.counts(record) for record in run.records)
    sent = sum(run.window.start_ns <= record.exchange.sent_ns < run.window.stop_ns for record in run.records)
    return scheduled, sent
