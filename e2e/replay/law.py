"""How long requests take on one replica: the recordings as a law for any load. Pure: time is an argument.

With n requests in flight, a request that is admitted gets its first token after ``ttft(n)``, n counted with itself, and
every request that is decoding gains tokens at the rate ``1 / tpot(n)`` until n changes. In a closed loop n stays, and
the recorded means come out as they are. Beyond the highest recorded concurrency, or the engine's own batch limit where
that is lower, requests queue first come first served. The server runs this law by the clock, ``virtual`` without one.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from e2e.replay.recordings import Curve

Kind = Literal["First", "More", "Last"]


class Event(NamedTuple):
    """At ``at_ms``, request ``key`` has ``tokens`` tokens. Last: it has all it asked for and has left."""

    at_ms: float
    key: int
    tokens: int
    kind: Kind


@dataclass(slots=True)
class _Lane:
    """Requests of one curve: all that decode gain tokens alike, so one count of tokens serves them all."""

    curve: Curve
    waits: list[float] = field(init=False)
    paces: list[float] = field(init=False)
    """Milliseconds to the first token and from token to token, by requests in flight."""
    gained: float = 0.0
    """Tokens that a request decoding since the beginning would have."""
    due: list[tuple[float, int]] = field(default_factory=list)
    """(value of ``gained`` at which it tells next, key)"""

    def __post_init__(self) -> None:
        ladder = [max(1, running) for running in range(self.curve.most + 1)]
        self.waits = [self.curve.ttft_at(running) for running in ladder]
        self.paces = [self.curve.tpot_at(running) for running in ladder]

    def pace(self, running: int) -> float:
        """Lanes of shorter curves may share the replica with more requests than they know: the last value stands."""
        return self.paces[min(running, len(self.paces) - 1)]


@dataclass(slots=True)
class _Request:
    lane: _Lane
    tokens: int
    start: float = 0.0
    """``gained`` at its first token."""
    told: int = 0


class Replica:
    """One replica. ``interval``: tokens between two events of a request; 0 tells the first and the last only."""

    def __init__(self, *, batch_limit: int | None = None, interval: int = 0) -> None:
        self._batch_limit, self._interval = batch_limit, interval
        self._now = 0.0
        self._lanes: dict[int, _Lane] = {}
        self._active: dict[int, _Request] = {}
        self._queue: deque[tuple[int, _Request]] = deque()
        self._prefilling: list[tuple[float, int]] = []

    @property
    def running(self) -> int:
        return len(self._active)

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def arrive(self, key: int, curve: Curve, tokens: int) -> None:
        """A request for ``tokens`` tokens, now: the time of the last ``advance``."""
        lane = self._lanes.get(id(curve))
        if lane is None:
            lane = self._lanes[id(curve)] = _Lane(curve)
        self._queue.append((key, _Request(lane, tokens)))
        self._admit()

    def leave(self, key: int) -> None:
        """The client is gone: its place is free."""
        request = self._active.pop(key, None)
        if request is None:
            self._queue = deque(entry for entry in self._queue if entry[0] != key)
        else:
            _forget(self._prefilling, key)
            _forget(request.lane.due, key)
        self._admit()

    def next_ms(self) -> float | None:
        """When the next event is, if nothing arrives before; None: nobody is served."""
        moment, _ = self._soonest()
        return None if moment == math.inf else moment

    def advance(self, to_ms: float) -> list[Event]:
        """Everything up to that moment, in order."""
        events: list[Event] = []
        while True:
            moment, lane = self._soonest()
            if moment > to_ms:
                break
            events.append(self._happen(moment, lane))
        self._pass(to_ms)
        return events

    def step(self) -> Event | None:
        """The next event, whenever it is."""
        moment, lane = self._soonest()
        return None if moment == math.inf else self._happen(moment, lane)

    def _soonest(self) -> tuple[float, _Lane | None]:
        """When the next event is, and the lane that has it; no lane: a first token."""
        found, first = self._prefilling[0][0] if self._prefilling else math.inf, None
        running = len(self._active)
        for lane in self._lanes.values():
            if lane.due:
                moment = self._now + (lane.due[0][0] - lane.gained) * lane.pace(running)
                if moment < found:
                    found, first = moment, lane
        return max(self._now, found), first

    def _pass(self, moment: float) -> None:
        running = len(self._active)
        for lane in self._lanes.values():
            if lane.due:
                lane.gained += (moment - self._now) / lane.pace(running)
        self._now = moment

    def _happen(self, moment: float, lane: _Lane | None) -> Event:
        self._pass(moment)
        if lane is None:
            _, key = heapq.heappop(self._prefilling)
            request = self._active[key]
            request.start, request.told = request.lane.gained, 1
            return self._told(key, request, "First")
        lane.gained, key = heapq.heappop(lane.due)  # exactly: no rounding error adds up
        request = self._active[key]
        request.told = self._following(request)
        return self._told(key, request, "More")

    def _following(self, request: _Request) -> int:
        """Tokens that a request has when it tells next."""
        return min(request.tokens, request.told + (self._interval or request.tokens))

    def _told(self, key: int, request: _Request, kind: Kind) -> Event:
        if request.told >= request.tokens:
            del self._active[key]
            self._admit()
            return Event(self._now, key, request.told, "Last")
        heapq.heappush(request.lane.due, (request.start + self._following(request) - 1, key))
        return Event(self._now, key, request.told, kind)

    def _admit(self) -> None:
        while self._queue:
            key, request = self._queue[0]
            curve = request.lane.curve
            if len(self._active) >= min(curve.most, self._batch_limit or curve.most):
                return
            self._queue.popleft()
            self._active[key] = request
            ready = self._now + request.lane.waits[len(self._active)]
            heapq.heappush(self._prefilling, (ready, key))


def _forget(heap: list[tuple[float, int]], key: int) -> None:
    heap[:] = [entry for entry in heap if entry[1] != key]
    heapq.heapify(heap)
