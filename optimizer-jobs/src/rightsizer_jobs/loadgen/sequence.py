"""What each request of a workload asks for, and when it arrives at a rate of one. Pure, by seed.

The same index asks for the same at every rate and for every candidate; a trial's probes each begin at another one.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from rightsizer_jobs.loadgen.arrivals import unit_gaps
from rightsizer_jobs.loadgen.balance import BALANCED, balanced
from rightsizer_jobs.loadgen.traces import Trace
from rightsizer_jobs.workload import Length, Workload, quantile_of

DRAWN = 1 << 14
STRATUM = 512
"""Lengths drawn of a distribution, and how many of them in a row are its evenly spaced quantiles, shuffled: chance then
moves the mean load of a probe little, and what one sees of the capacity is not the luck of its lengths.
"""

APART = 5 * STRATUM
"""Where a trial's next probe begins, counted from the one before."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Lengths of one request, in tokens. ``blocks``: prefix blocks its prompt is made of. ``lap``: of a trace."""

    input_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()
    lap: int = 0


class Sequence(Protocol):
    """The requests of a workload."""

    @property
    def longest_input(self) -> int:
        """Input tokens of the longest request."""

    @property
    def longest_output(self) -> int:
        """Output tokens of the longest answer."""

    @property
    def mean_output_tokens(self) -> float: ...

    @property
    def balanced(self) -> bool:
        """Whether its gaps are (``balance``)."""

    def ask(self, index: int) -> Ask:
        """What request ``index`` asks for."""

    def start(self, number: int) -> int:
        """The request that a trial's probe ``number`` begins with."""

    def carrying(self, number: int, seed: int, skipped: float, counted: float) -> int:
        """The same of a run that stands for its rate: a certification, a verification, the share of the demand.
        ``skipped``, ``counted``: requests at that rate in its ramp and its measured part.
        """

    def gaps(self, seed: int, first: int) -> Iterator[float]:
        """Endless gaps of mean 1 before request ``first`` and those after it, by a seed of the run's own; a trace has
        only the gaps that it has.
        """


def drawn(length: Length, seed: int, name: str) -> tuple[int, ...]:
    """Lengths by index, repeated from the end on; one where all are alike."""
    if isinstance(length, int):
        return (length,)
    quantiles = [quantile_of(length, (number + 0.5) / STRATUM) for number in range(STRATUM)]
    chance = random.Random(f"{seed} {name}")
    return tuple(one for _ in range(DRAWN // STRATUM) for one in chance.sample(quantiles, STRATUM))


@dataclass(frozen=True, slots=True)
class Stated:
    """Lengths and arrivals of a distribution."""

    workload: Workload
    inputs: tuple[int, ...] = field(repr=False)
    outputs: tuple[int, ...] = field(repr=False)

    @property
    def longest_input(self) -> int:
        return max(self.inputs)

    @property
    def longest_output(self) -> int:
        return max(self.outputs)

    @property
    def mean_output_tokens(self) -> float:
        return sum(self.outputs) / len(self.outputs)

    @property
    def balanced(self) -> bool:
        return self.workload.arrivals != "Constant"

    def ask(self, index: int) -> Ask:
        return Ask(self.inputs[index % len(self.inputs)], self.outputs[index % len(self.outputs)])

    def start(self, number: int) -> int:
        return number * APART

    def carrying(self, number: int, seed: int, skipped: float, counted: float) -> int:  # noqa: ARG002 any part is alike
        return self.start(number)

    def gaps(self, seed: int, first: int) -> Iterator[float]:
        arrivals = self.workload.arrivals
        assert arrivals != "Trace"
        gaps = unit_gaps(arrivals, seed, self.workload.burstiness or 1.0)
        if not self.balanced:
            return gaps
        asks = [self.ask(first + index) for index in range(BALANCED)]
        return balanced(gaps, [ask.input_tokens + ask.output_tokens for ask in asks])


@dataclass(frozen=True, slots=True)
class Replayed:
    """The requests of a trace, in its order, from a row that the seed chooses."""

    trace: Trace
    first: int

    @property
    def longest_input(self) -> int:
        return max(row.input_tokens for row in self.trace.rows)

    @property
    def longest_output(self) -> int:
        return max(row.output_tokens for row in self.trace.rows)

    @property
    def mean_output_tokens(self) -> float:
        return sum(row.output_tokens for row in self.trace.rows) / len(self.trace.rows)

    @property
    def balanced(self) -> bool:
        return False

    def ask(self, index: int) -> Ask:
        lap, number = divmod(self.first + index, len(self.trace.rows))
        row = self.trace.rows[number]
        return Ask(row.input_tokens, row.output_tokens, row.blocks, lap)

    def start(self, number: int) -> int:  # noqa: ARG002 its gaps go with its rows
        return 0

    def carrying(self, number: int, seed: int, skipped: float, counted: float) -> int:  # noqa: ARG002 as in ``start``
        return (self.trace.carrying(seed, skipped, counted) - self.first) % len(self.trace.rows)

    def gaps(self, seed: int, first: int) -> Iterator[float]:  # noqa: ARG002 a trace has its own
        return self.trace.gaps((self.first + first) % len(self.trace.rows))


def sequence(workload: Workload, seed: int, trace: Trace | None = None) -> Sequence:
    """The requests of a workload; ``trace`` is what its file holds."""
    if trace is not None:
        return Replayed(trace, trace.first(seed))
    assert workload.input_tokens is not None and workload.output_tokens is not None
    return Stated(workload, drawn(workload.input_tokens, seed, "input"), drawn(workload.output_tokens, seed, "output"))
