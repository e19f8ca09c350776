"""The law run by the clock: requests in, their tokens as they are due. Called by ``server``; knows no HTTP."""

import asyncio
import itertools
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from e2e.replay.command import Setting
from e2e.replay.law import Event, Replica
from e2e.replay.recordings import Curve, Lengths, nearest


@dataclass(slots=True)
class Counters:
    """Since the start."""

    finished: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0


@dataclass(slots=True)
class Engine:
    """One replica of what the setting names, answering with these curves."""

    setting: Setting
    curves: dict[Lengths, Curve]
    counters: Counters = field(default_factory=Counters)
    _replica: Replica = field(init=False, repr=False)
    _keys: "itertools.count[int]" = field(default_factory=itertools.count, repr=False)
    _told: "dict[int, asyncio.Queue[Event]]" = field(default_factory=dict, repr=False)
    _timer: asyncio.TimerHandle | None = field(default=None, repr=False)
    _began: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._replica = Replica(batch_limit=self.setting.batch_limit, interval=self.setting.interval)
        self._began = asyncio.get_running_loop().time()

    @property
    def running(self) -> int:
        return self._replica.running

    @property
    def waiting(self) -> int:
        return self._replica.waiting

    @property
    def most(self) -> int:
        """Requests that are served at once, at most."""
        recorded = max(curve.most for curve in self.curves.values())
        return min(recorded, self.setting.batch_limit or recorded)

    async def generate(self, prompt_tokens: int, tokens: int) -> AsyncGenerator[int, None]:
        """The number of tokens that each chunk adds, when it is due. A caller that stops early frees its place."""
        key, told = next(self._keys), asyncio.Queue[Event]()
        self._told[key] = told
        self._pump()
        self._replica.arrive(key, self.curves[nearest(self.curves, Lengths(prompt_tokens, tokens))], tokens)
        self._wake()
        self.counters.prompt_tokens += prompt_tokens
        given = 0
        try:
            while given < tokens:
                event = await told.get()
                self.counters.output_tokens += event.tokens - given
                given, added = event.tokens, event.tokens - given
                yield added
            self.counters.finished += 1
        finally:
            del self._told[key]
            if given < tokens:
                self._pump()
                self._replica.leave(key)
                self._wake()

    def _now_ms(self) -> float:
        return (asyncio.get_running_loop().time() - self._began) * 1000 * self.setting.time_scale

    def _pump(self) -> None:
        """Everything that is due by now."""
        for event in self._replica.advance(self._now_ms()):
            if (told := self._told.get(event.key)) is not None:
                told.put_nowait(event)

    def _wake(self) -> None:
        """Come back at the next event; it is late by what the loop's timer is, and no event shifts another."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (moment := self._replica.next_ms()) is not None:
            when = self._began + moment / 1000 / self.setting.time_scale
            self._timer = asyncio.get_running_loop().call_at(when, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._pump()
        self._wake()
