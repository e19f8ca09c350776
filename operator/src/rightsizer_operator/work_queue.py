"""The keys to reconcile: each at most once in the queue and once in work, repeated on failure with growing delays.

``WorkQueue`` is pure (the time is an argument); ``work`` is the loop around it that ``__main__`` starts a few times.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple


class Key(NamedTuple):
    """An InferenceDeployment by its name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds. ``spacing_s``: a key is started no sooner than this after its last start, whatever events arrive."""

    first_retry_s: float = 1.0
    longest_retry_s: float = 300.0
    spacing_s: float = 1.0
    jitter: float = 0.2
    """Share by which a delay may be longer; spreads keys that failed or were scheduled together."""


@dataclass(slots=True)
class _Entry:
    due: float | None = None
    added: float = float("-inf")
    started: float = float("-inf")
    working: bool = False
    failures: int = 0


@dataclass(slots=True)
class WorkQueue:
    """``chance`` returns a float in [0, 1)."""

    pace: Pace = Pace()
    chance: Callable[[], float] = random.random
    _entries: dict[Key, _Entry] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, key: Key, now: float, delay: float = 0.0) -> None:
        """Due after ``delay`` seconds, or when it already was due if that is sooner."""
        entry = self._entries.setdefault(key, _Entry())
        entry.added = now
        due = max(now + delay, entry.started + self.pace.spacing_s)
        entry.due = due if entry.due is None else min(entry.due, due)
        self._changed.set()

    def take(self, now: float) -> Key | None:
        """The key that waits longest, marked as in work, if one is due."""
        ready = [
            (entry.due, key)
            for key, entry in self._entries.items()
            if not entry.working and entry.due is not None and entry.due <= now
        ]
        if not ready:
            return None
        _, key = min(ready)
        entry = self._entries[key]
        entry.due, entry.working, entry.started = None, True, now
        return key

    def done(self, key: Key, now: float, again_after: float | None) -> None:
        """Worked through: look again after that many seconds (None: it is gone, forget it unless it was added
        meanwhile).
        """
        entry = self._entries[key]
        entry.working, entry.failures = False, 0
        if again_after is not None:
            self.add(key, now, self._stretched(again_after))
        elif entry.due is None:
            del self._entries[key]
        self._changed.set()

    def failed(self, key: Key, now: float) -> float:
        """Try again with back-off; the delay in seconds. Events that arrived meanwhile do not shorten it."""
        entry = self._entries[key]
        entry.working = False
        delay = self._stretched(min(self.pace.longest_retry_s, self.pace.first_retry_s * 2.0**entry.failures))
        entry.failures = min(entry.failures + 1, 32)
        entry.due = now + delay
        self._changed.set()
        return delay

    def failures(self, key: Key) -> int:
        entry = self._entries.get(key)
        return entry.failures if entry else 0

    def keep(self, keys: set[Key], now: float, listed_at: float) -> None:
        """After a full list: forget what no longer exists, add what was never heard of. What was added after
        ``listed_at`` stays.
        """
        for key, entry in list(self._entries.items()):
            if key not in keys and not entry.working and entry.added < listed_at:
                del self._entries[key]
        for new in keys - self._entries.keys():
            self.add(new, now)

    def next_due(self) -> float | None:
        return min(
            (entry.due for entry in self._entries.values() if entry.due is not None and not entry.working), default=None
        )

    def waiting(self, now: float) -> int:
        """How many keys are due and not in work."""
        return sum(1 for e in self._entries.values() if e.due is not None and e.due <= now and not e.working)

    def oldest_age(self, now: float) -> float:
        """Seconds since the longest-waiting key became due, or since the longest-running work began."""
        since = [entry.started if entry.working else entry.due for entry in self._entries.values()]
        return max([0.0, *(now - moment for moment in since if moment is not None)])

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    async def changed(self, timeout_s: float | None) -> None:
        """Until something was added or finished, or the time has passed."""
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return

    def _stretched(self, delay: float) -> float:
        return delay * (1.0 + self.pace.jitter * self.chance())


Handle = Callable[[Key], Awaitable[float | None]]
Clock = Callable[[], float]


async def work(queue: WorkQueue, handle: Handle, clock: Clock = time.monotonic) -> None:
    """One worker, for ever. ``handle`` returns when to look again; it raises ``Retry`` for back-off, anything else
    ends the worker.
    """
    while True:
        key = queue.take(clock())
        if key is None:
            due = queue.next_due()
            await queue.changed(None if due is None else max(0.0, due - clock()))
            continue
        try:
            again_after = await handle(key)
        except Retry:
            queue.failed(key, clock())
        else:
            queue.done(key, clock(), again_after)


class Retry(Exception):
    """Try this key again later, with back-off."""
