"""Evidence that the client kept its schedule, and the reason to call a run void where it did not.

Used around each run by ``trial``. Reads the clock and the cgroup's files; a void run is repeated, never averaged in.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rightsizer_jobs.contract import ClientHealth, Slo
from rightsizer_jobs.loadgen.load import Run
from rightsizer_jobs.loadgen.metrics import MILLISECOND, percentile, rounded
from rightsizer_jobs.loadgen.records import Record

CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP_FILES = ("cpu.stat", "cpu/cpu.stat", "cpu,cpuacct/cpu.stat")
TICK_S = 0.02

LAG_SHARE = 0.05
"""Allowed p95 send lag as a share of the tightest limit that counts from the schedule."""

LAG_FLOOR_MS = 2.0
"""Below this a lag is the event loop's own grain."""

STALLED_SHARE = 0.005
STALLED_FLOOR_S = 0.05
"""Time the event loop may stand still, summed over stalls longer than the allowed lag: every request due then leaves late."""

RATE_SHARE = 0.02
THROTTLED_SHARE = 0.05


def throttled_seconds(root: Path = CGROUP_ROOT) -> float | None:
    """Seconds the client's cgroup was throttled since it was made, cgroup v2 or v1; None where the files are missing."""
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
        self._before = throttled_seconds(self._root)
        self._task = asyncio.create_task(self._tick())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        after = throttled_seconds(self._root)
        self.throttled_s = None if after is None or self._before is None else after - self._before

    async def _tick(self) -> None:
        while True:
            asked = time.monotonic_ns() + round(TICK_S * 1e9)
            await asyncio.sleep(TICK_S)
            self.loop_lags_ms.append(max(0.0, (time.monotonic_ns() - asked) / MILLISECOND))

    def stalled_s(self, allowed_ms: float) -> float:
        return sum(lag for lag in self.loop_lags_ms if lag > allowed_ms) / 1000

    def health(self, records: Sequence[Record]) -> ClientHealth:
        lags = [(record.exchange.sent_ns - record.scheduled_ns) / MILLISECOND for record in records]
        return ClientHealth(
            send_lag_p95_ms=rounded(percentile(lags, 95)) if lags else 0.0,
            loop_lag_p95_ms=rounded(percentile(self.loop_lags_ms, 95)) if self.loop_lags_ms else 0.0,
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
    health, allowed = watchman.health(run.records), allowed_lag_ms(slo)
    if not run.stopped and health.send_lag_p95_ms > allowed:
        return f"the client sent late: p95 {health.send_lag_p95_ms:.1f} ms, allowed {allowed:.1f} ms"
    if (stalled := watchman.stalled_s(allowed)) > STALLED_SHARE * seconds + STALLED_FLOOR_S:
        return f"the client stood still for {stalled:.2f} s of {seconds:.0f} s"
    scheduled, sent = scheduled_and_sent(run)
    if not run.stopped and abs(sent - scheduled) > RATE_SHARE * scheduled + 2:
        return f"the client did not keep the rate: {sent} requests left in the window, {scheduled} were scheduled"
    if health.throttled_s is not None and health.throttled_s > THROTTLED_SHARE * seconds:
        return f"the client's CPU was throttled for {health.throttled_s:.1f} s of {seconds:.0f} s"
    return ""


def scheduled_and_sent(run: Run) -> tuple[int, int]:
    """Requests that should have left inside the window, and that did."""
    scheduled = sum(run.window.counts(record) for record in run.records)
    sent = sum(run.window.start_ns <= record.exchange.sent_ns < run.window.stop_ns for record in run.records)
    return scheduled, sent
