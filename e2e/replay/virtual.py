"""Loads against the law in virtual time: open loop, closed loop, and a ladder of rates. Pure; a simulated hour takes
seconds.

What comes out are the client's own records, so that its formulas make the figures: first and last token only.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from e2e.replay.law import Event, Replica
from e2e.replay.recordings import Curve
from rightsizer_jobs.loadgen.records import Exchange, Record

NANOSECONDS_IN_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Played:
    """Records by schedule; ``stopped_ms``: when too many requests had no token, None where that never was."""

    records: tuple[Record, ...]
    ended_ms: float = 0.0
    stopped_ms: float | None = None


def open_loop(
    curve: Curve, instants_ms: Sequence[float], *, tokens: int, until_ms: float, most_unserved: float = float("inf")
) -> Played:
    """Requests at these instants, until all that were scheduled before ``until_ms`` are answered."""
    return _Loop(curve, tokens).run(instants_ms, until_ms, most_unserved)


def closed_loop(
    curve: Curve, *, concurrency: int, tokens: int, until_ms: float, interval: int = 0
) -> tuple[Record, ...]:
    """So many requests in flight until then; those that are still running are cut and count as failed.

    ``interval``: tokens of a chunk, whose instants are kept as well; 0 keeps the first and the last.
    """
    loop = _Loop(curve, tokens, interval)
    for _ in range(concurrency):
        loop.send(0.0)
    while (moment := loop.replica.next_ms()) is not None and moment < until_ms:
        for event in loop.replica.advance(moment):
            if loop.take(event):
                loop.send(event.at_ms)
    return loop.records(cut=True)


def latencies(curve: Curve, instants_ms: Sequence[float], tokens: int) -> list[tuple[float, float, float]]:
    """(ttft, tpot, e2e) of every request, milliseconds; tpot is 0 for one token."""
    loop = _Loop(curve, tokens)
    loop.run(instants_ms, instants_ms[-1] + 1, float("inf"))
    gaps = max(1, tokens - 1)
    return [
        (chunks[0] - sent, (chunks[-1] - chunks[0]) / gaps, chunks[-1] - sent)
        for sent, chunks in zip(loop.sent, loop.chunks, strict=True)
    ]


def poisson_ms(rate_rps: float, count: int, seed: int) -> list[float]:
    """So many arrivals at that mean rate."""
    source, moment, found = random.Random(seed), 0.0, []
    for _ in range(count):
        moment += source.expovariate(1.0) / rate_rps * 1000
        found.append(moment)
    return found


class _Loop:
    def __init__(self, curve: Curve, tokens: int, interval: int = 0) -> None:
        self.curve, self.tokens = curve, tokens
        self.replica = Replica(interval=interval)
        self.now_ms = 0.0
        self.sent: list[float] = []
        self.chunks: list[list[float]] = []
        self.ended: set[int] = set()

    def send(self, at_ms: float) -> None:
        self.replica.arrive(len(self.sent), self.curve, self.tokens)
        self.sent.append(at_ms)
        self.chunks.append([])

    def take(self, event: Event) -> bool:
        """Whether a request has ended."""
        self.now_ms = event.at_ms
        self.chunks[event.key].append(event.at_ms)
        if event.kind != "Last":
            return False
        self.ended.add(event.key)
        return True

    def run(self, instants_ms: Sequence[float], until_ms: float, most_unserved: float) -> Played:
        counted = sum(instant < until_ms for instant in instants_ms)
        awaited, served = counted, 0
        for index, instant in enumerate(instants_ms):
            for event in self.replica.advance(instant):
                served += not self.chunks[event.key]
                awaited -= self.take(event) and event.key < counted
            if index >= counted and not awaited:
                break
            self.send(instant)
            if len(self.sent) - served > most_unserved:
                return Played(self.records(cut=True), instant, instant)
        while awaited and (following := self.replica.step()) is not None:
            awaited -= self.take(following) and following.key < counted
        return Played(self.records(), max(self.now_ms, until_ms))

    def records(self, *, cut: bool = False) -> tuple[Record, ...]:
        """``cut``: with those that have not ended, as failed ones."""
        return tuple(self._records(cut))

    def _records(self, cut: bool) -> Iterator[Record]:
        for key, sent in enumerate(self.sent):
            at = round(sent * NANOSECONDS_IN_MS)
            chunks = tuple(round(chunk * NANOSECONDS_IN_MS) for chunk in self.chunks[key])
            if key in self.ended:
                yield Record(key, at, self.tokens, Exchange(at, chunks, self.tokens))
            elif cut:
                yield Record(key, at, self.tokens, Exchange(at, chunks, failure="cut: the run was stopped"))
