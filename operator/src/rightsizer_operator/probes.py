"""/healthz, /readyz and /metrics of one replica. ``__main__`` starts it before anything else, so that a standby is
live and Ready.

Progress is only asked of the leader: keys must not grow old and lists must succeed, else the kubelet restarts the
process.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from rightsizer_operator.lease import Lease
from rightsizer_operator.telemetry import Telemetry
from rightsizer_operator.work_queue import WorkQueue


@dataclass(slots=True, kw_only=True)
class Health:
    """``clock`` in seconds, the one the queue is used with. ``lease`` is None until the replica stands for election."""

    queue: WorkQueue
    stuck_after_s: float
    clock: Callable[[], float] = time.monotonic
    lease: Lease | None = None
    listed_at: float | None = None
    """When the leader last listed all resources."""
    started: bool = field(default=False)
    """Configuration read and rights checked."""

    def complaint(self) -> str:
        """Why the process should be restarted; empty: it is well."""
        if self.lease is None or not self.lease.leading or self.listed_at is None:
            return ""
        now = self.clock()
        if (age := self.queue.oldest_age(now)) > self.stuck_after_s:
            return f"the oldest key has waited {age:.0f} s"
        if (age := now - self.listed_at) > self.stuck_after_s:
            return f"no successful list for {age:.0f} s"
        return ""


async def serve(health: Health, telemetry: Telemetry, port: int, host: str | None = None) -> tuple[web.AppRunner, int]:
    """The runner, to be cleaned up by the caller, and the port (chosen by the system where 0 was asked for)."""

    async def healthz(_: web.Request) -> web.Response:
        complaint = health.complaint()
        return web.Response(status=500 if complaint else 200, text=complaint or "ok")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(status=200 if health.started else 503, text="ok" if health.started else "starting")

    async def metrics(_: web.Request) -> web.Response:
        now = health.clock()
        telemetry.queue(health.queue.waiting(now), health.queue.oldest_age(now), len(health.queue))
        telemetry.leader.set(bool(health.lease and health.lease.leading))
        return web.Response(body=generate_latest(telemetry.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    return runner, runner.addresses[0][1]
