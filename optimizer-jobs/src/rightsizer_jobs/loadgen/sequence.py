"""What each request of a workload asks for, and when it arrives at a rate of one. Pure, by seed.

The same index asks for the same at every rate, in every probe and for every candidate.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from rightsizer_jobs.loadgen.arrivals import unit_gaps
from rightsizer_jobs.loadgen.traces import Trace
from rightsizer_jobs.workload import Length, Workload, quantile_of

DRAWN = 1 << 14
"""Lengths drawn of a distribution: its evenly spaced quantiles, shuffled, so that every seed has the same ones."""


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
    def mean_output_tokens(self) -> float: ...

    def ask(self, index: int) -> Ask:
        """What request ``index`` of a run asks for."""

    def gaps(self, seed: int) -> Iterator[float]:
        """Endless gaps of mean 1, by a seed of the run's own; a trace has only the gaps that it has."""


def drawn(length: Length, seed: int, name: str) -> tuple[int, ...]:
    """Lengths by index, repeated from the end on; one where all are alike."""
    if isinstance(length, int):
        return (length,)
    found = [quantile_of(length, (number + 0.5) / DRAWN) for number in range(DRAWN)]
    random.Random(f"{seed} {name}").shuffle(found)
    return tuple(found)


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
    def mean_output_tokens(self) -> float:
        return sum(self.outputs) / len(self.outputs)

    def ask(self, index: int) -> Ask:
        return Ask(self.inputs[index % len(self.inputs)], self.outputs[index % len(self.outputs)])

    def gaps(self, seed: int) -> Iterator[float]:
        arrivals = self.workload.arrivals
        assert arrivals != "Trace"
        return unit_gaps(arrivals, seed, self.workload.burstiness or 1.0)


@dataclass(frozen=True, slots=True)
class Replayed:
    """The requests of a trace, in its order, from a row that the seed chooses."""

    trace: Trace
    first: int

    @property
    def longest_input(self) -> int:
        return max(row.input_tokens for row in self.trace.rows)

    @property
    def mean_output_tokens(self) -> float:
        return sum(row.output_tokens for row in self.trace.rows) / len(self.trace.rows)

    def ask(self, index: int) -> Ask:
        lap, number = divmod(self.first + index, len(self.trace.rows))
        row = self.trace.rows[number]
        return Ask(row.input_tokens, row.output_tokens, row.blocks, lap)

    def gaps(self, seed: int) -> Iterator[float]:  # noqa: ARG002 a trace has its own
        return self.trace.gaps(self.first)


def sequence(workload: Workload, seed: int, trace: Trace | None = None) -> Sequence:
    """The requests of a workload; ``trace`` is what its file holds."""
    if trace is not None:
        return Replayed(trace, trace.first(seed))
    assert workload.input_tokens is not None and workload.output_tokens is not None
    return Stated(workload, drawn(workload.input_tokens, seed, "input"), drawn(workload.output_tokens, seed, "output"))
