"""Whether the engines are still there, asked beside a run once its connections break. Called by ``probing`` and
``steps``.
"""

import asyncio
import logging
from types import TracebackType

from rightsizer_jobs.loadgen.load import BROKEN_LIMIT, Live, Watch, engine_gone
from rightsizer_jobs.trial.bench import Bench
from rightsizer_jobs.trial.findings import Stop

LOG = logging.getLogger(__name__)


def unwatched(_live: Live) -> str:
    """A watch that lets every run go on."""
    return ""


class Pulse:
    """``async with Pulse(bench, during) as pulse``, then ``settle``. A run ends where an engine no longer answers; one
    that answers and broke some connections has failed these requests, and goes on.
    """

    def __init__(self, bench: Bench, during: str) -> None:
        self._bench, self._during = bench, during
        self._known = 0
        """Broken connections that were asked about."""
        self._question: asyncio.Task[None] | None = None
        self._gone: Stop | None = None

    async def __aenter__(self) -> "Pulse":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._question is not None:
            self._question.cancel()

    def beside(self, watch: Watch = unwatched) -> Watch:
        """The watch of a run that is also to be stopped for other reasons."""

        def both(live: Live) -> str:
            if self._gone is not None:
                return self._gone.reason
            told = engine_gone(live)
            asking = self._question is not None and not self._question.done()
            if told and live.broken >= self._known + BROKEN_LIMIT and not asking:
                self._known = live.broken
                self._question = asyncio.create_task(self._ask(told))
            return watch(live)

        return both

    async def _ask(self, told: str) -> None:
        try:
            await self._bench.check_alive(self._during, must_answer=True)
        except Stop as stop:
            self._gone = stop
        else:
            LOG.warning("%s: %s; every engine answers", self._during, told)

    async def settle(self) -> None:
        """After the run: raises Stop(EngineFailed) where an engine was found gone, or is now."""
        if self._gone is not None:
            raise self._gone
        await self._bench.check_alive(self._during)
