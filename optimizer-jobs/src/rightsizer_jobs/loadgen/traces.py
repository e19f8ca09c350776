"""A recorded trace as it is replayed: its window, its gaps at a rate of one, what it holds. Pure.

Made by ``trace_files`` from a file, read by ``sequence`` and the trial's report.
"""

import math
import random
import statistics
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rightsizer_jobs.workload import TraceFacts

BLOCK_TOKENS = 512
"""Tokens that a block id of a Mooncake trace stands for."""

BUSY_S = 60.0
STARTS, NEAR = 4096, 0.01
"""Rows that are drawn for a run to begin with, until one carries its rate to within this share."""
SHARED_TICK = 2.0
"""So many requests to an instant, on average, and the instants are the grid of a coarse clock."""


@dataclass(frozen=True, slots=True)
class Row:
    """One request of a trace; ``blocks`` name the prefix blocks of its prompt, where the trace has them."""

    at_s: float
    input_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """The replayed window: rows by arrival, from the start of the window; at its end it begins again."""

    rows: tuple[Row, ...]
    seconds: float
    sha256: str

    def first(self, seed: int) -> int:
        """The row that a run begins with. Another seed, as of a certification, begins elsewhere in the window."""
        return random.Random(seed).randrange(len(self.rows))

    def carrying(self, seed: int, skipped: float, counted: float) -> int:
        """The row that a run begins with whose counted part carries the asked rate: a part of the window may be far
        quieter or busier than its mean. By the seed; the nearest of those drawn where none carries it.

        ``skipped``, ``counted``: requests at the asked rate in the ramp and in the measured part.
        """
        chance, count = random.Random(seed), len(self.rows)
        instants = [row.at_s * count / self.seconds for row in self.rows]

        def before(at: float) -> int:
            lap, rest = divmod(at, count)
            return int(lap) * count + bisect_left(instants, rest)

        def off(row: int) -> float:
            begin = (instants[row - 1] if row else instants[-1] - count) + skipped
            return abs(before(begin + counted) - before(begin) - counted)

        nearest, least = 0, math.inf
        for row in chance.sample(range(count), min(count, STARTS)):
            if (missing := off(row)) < least:
                nearest, least = row, missing
            if least <= NEAR * counted:
                break
        return nearest

    def gaps(self, first: int) -> Iterator[float]:
        """Gaps of mean 1, endless, from row ``first`` on: the trace's own, scaled by its mean rate."""
        rate = len(self.rows) / self.seconds
        laps = [*(row.at_s for row in self.rows), self.rows[0].at_s + self.seconds]
        gaps = [(later - earlier) * rate for earlier, later in pairwise(laps)]
        while True:
            yield gaps[first - 1]
            first = (first + 1) % len(gaps)

    def facts(self) -> TraceFacts:
        """What it holds, on its own clock."""
        count = len(self.rows)
        return TraceFacts(
            sha256=self.sha256,
            requests=count,
            seconds=_shown(self.seconds),
            mean_rps=_shown(count / self.seconds),
            busiest_minute_rps=_shown(busiest([row.at_s for row in self.rows], self.seconds)),
            input_tokens=_shown(sum(row.input_tokens for row in self.rows) / count),
            output_tokens=_shown(sum(row.output_tokens for row in self.rows) / count),
        )


def busiest(instants: Sequence[float], seconds: float) -> float:
    """Requests a second in the busiest minute; in a shorter window the mean rate."""
    if seconds <= BUSY_S:
        return len(instants) / seconds
    most, oldest = 0, 0
    for newest, instant in enumerate(instants):
        while instant - instants[oldest] >= BUSY_S:
            oldest += 1
        most = max(most, newest - oldest + 1)
    return most / BUSY_S


def tick_s(instants: Sequence[float]) -> float:
    """Width of the grid that the instants stand on, 0 where the clock is fine enough."""
    distinct = sorted(set(instants))
    if len(distinct) < 2 or len(instants) < SHARED_TICK * len(distinct):
        return 0.0
    return statistics.median(later - earlier for earlier, later in pairwise(distinct))


def spread(instants: Sequence[float], tick: float, end: float, seed: int) -> list[float]:
    """Each batch of a coarse clock spread uniformly over its tick, by the seed; as they are where ``tick`` is 0.

    A literal replay would send what arrived within a tick as one burst.
    """
    if not tick:
        return list(instants)
    source = random.Random(f"{seed} spread")
    distinct = sorted(set(instants))
    widths = {earlier: min(tick, later - earlier) for earlier, later in pairwise([*distinct, end])}
    return sorted(instant + source.random() * widths[instant] for instant in instants)


def _shown(value: float) -> float:
    """Five significant digits: a report is short."""
    return float(f"{value:.5g}")
