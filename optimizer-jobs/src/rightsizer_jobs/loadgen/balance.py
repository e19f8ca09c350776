"""Arrivals whose bursts come as often in a run of minutes as in the long run. Pure.

By chance alone a run of minutes sees a few bursts too many or none at all, and near the capacity that is most of what
its violations are due to. Here each block of gaps is that one of several drawn which brings the load at its peaks
nearest to what the long run has of them, on several scales of time up to some hundred requests (herding: Welling, ICML
2009; balancing draws before an experiment: Morgan and Rubin, Annals of Statistics 40, 2012). Longer waves are evened
out, which is kind to engines that recover slowly. The choice knows only gaps and lengths, never the rate or the engine.
Decision 21.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean

BALANCED = 1 << 15
"""Requests of a run that are balanced; of more, chance moves little."""

BLOCK = 128
DRAWS = 16
"""Gaps chosen at once, and of how many draws."""

MEMORIES = (8.0, 32.0, 128.0, 512.0)
"""Scales of time, in mean gaps: the load at an instant is the mean over about so many requests before it."""

PEAK = 0.9
"""The load counts by how far it is above what it reaches nine times in ten."""


@dataclass(frozen=True, slots=True)
class _Peaks:
    """The load over one memory in the long run: its peak, the mean excess over it at an arrival, and the spread of the
    excess of a block.
    """

    memory: float
    peak: float
    excess: float
    spread: float


@dataclass(frozen=True, slots=True)
class _State:
    """Loads over the memories at the last arrival, and how far all blocks together are from the long run: in requests
    arrived, then in excess for each memory, each in spreads of a block.
    """

    loads: tuple[float, ...]
    astray: tuple[float, ...]

    @property
    def distance(self) -> float:
        return sum(value * value for value in self.astray)


def balanced(gaps: Iterator[float], tokens: Sequence[float]) -> Iterator[float]:
    """Gaps of mean 1 made of independent ones, ``gaps``; ``tokens``: of each request that they bring, in order. After
    the last of these the gaps are as they come.
    """
    mean = fmean(tokens)
    work = [one / mean for one in tokens]
    sample = list(islice(gaps, len(work)))
    peaks = [_peaks(sample, work, memory) for memory in MEMORIES]
    varied = math.sqrt(BLOCK * fmean([(gap - 1) ** 2 for gap in sample])) or 1.0
    state = _State((1.0,) * len(MEMORIES), (0.0,) * (1 + len(MEMORIES)))
    for block in _blocks(work):
        drawn = [list(islice(gaps, len(block))) for _ in range(DRAWS)]
        states = [_after(state, draw, block, peaks, varied) for draw in drawn]
        best = min(range(DRAWS), key=lambda number: states[number].distance)
        state = states[best]
        yield from drawn[best]
    yield from gaps


def _blocks(values: Sequence[float]) -> list[Sequence[float]]:
    return [values[begin : begin + BLOCK] for begin in range(0, len(values), BLOCK)]


def _loads(start: float, gaps: Sequence[float], work: Sequence[float], memory: float) -> list[float]:
    """The load at each arrival, itself included."""
    load, found = start, []
    for gap, amount in zip(gaps, work, strict=True):
        load = load * math.exp(-gap / memory) + amount / memory
        found.append(load)
    return found


def _peaks(gaps: Sequence[float], work: Sequence[float], memory: float) -> _Peaks:
    loads = _loads(1.0, gaps, work, memory)
    peak = sorted(loads)[int(PEAK * len(loads))]
    excess = [max(0.0, load - peak) for load in loads]
    mean = fmean(excess)
    blocks = [sum(block) - mean * len(block) for block in _blocks(excess)]
    return _Peaks(memory, peak, mean, math.sqrt(fmean([value * value for value in blocks])) or 1.0)


def _after(
    state: _State, gaps: Sequence[float], work: Sequence[float], peaks: Sequence[_Peaks], varied: float
) -> _State:
    ends, astray = [], [state.astray[0] + (sum(gaps) - len(gaps)) / varied]
    for before, owed, long_run in zip(state.loads, state.astray[1:], peaks, strict=True):
        loads = _loads(before, gaps, work, long_run.memory)
        excess = sum(load - long_run.peak for load in loads if load > long_run.peak)
        ends.append(loads[-1])
        astray.append(owed + (excess - long_run.excess * len(loads)) / long_run.spread)
    return _State(tuple(ends), tuple(astray))
