"""The engines' own figures, read once a second beside a run: how long their queue is now, and what they say of it all.

Pure. Called by ``trial.probing`` and ``trial.steps``.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from rightsizer_jobs.engines.engine import Sample


@dataclass(frozen=True, slots=True)
class Seen:
    """One engine's figures at one moment; ``at``: seconds of the client's monotonic clock."""

    engine: int
    at: float
    sample: Sample

    def entry(self) -> dict[str, float | None]:
        """A line of the records file."""
        return {"engine": self.engine, "at": self.at, **asdict(self.sample)}


LEFTOVER_S = 3.0
"""For so long after a run began, an engine may still count requests that were cut at the end of the run before."""


def queued(seen: Sequence[Seen]) -> float:
    """Requests that wait in the engines, by the last figures of each; 0 where none tells or the run has just begun.

    ``seen`` is of one run, from its first moment.
    """
    settled = [one for one in seen if one.at - seen[0].at >= LEFTOVER_S]
    last = {one.engine: one.sample.waiting for one in settled}
    return sum(waiting for waiting in last.values() if waiting is not None)


def usually_waiting(seen: Sequence[Seen]) -> float | None:
    """Requests that wait in the engines, the median over time, together; None where one of them does not tell."""
    found = []
    for engine in {one.engine for one in seen}:
        values = [one.sample.waiting for one in seen if one.engine == engine and one.sample.waiting is not None]
        if not values:
            return None
        found.append(median(values))
    return sum(found) if found else None


def told(seen: Sequence[Seen]) -> str:
    """A run in the engines' words, for the log; what they do not publish is left out."""
    figures = {
        "running": _most(seen, lambda sample: sample.running),
        "waiting": _most(seen, lambda sample: sample.waiting),
        "KV use": _most(seen, lambda sample: sample.kv_usage),
        "preemptions": _grown(seen, lambda sample: sample.preemptions),
        "prefix hits": _share(
            _grown(seen, lambda sample: sample.prefix_hits), _grown(seen, lambda sample: sample.prefix_queries)
        ),
    }
    known = [f"{name} {figure:.4g}" for name, figure in figures.items() if figure is not None]
    return ", ".join(known) if known else "they publish no figures"


Figure = Callable[[Sample], float | None]


def _most(seen: Sequence[Seen], figure: Figure) -> float | None:
    return max((value for one in seen if (value := figure(one.sample)) is not None), default=None)


def _grown(seen: Sequence[Seen], figure: Figure) -> float | None:
    """By how much the engines' counters went up from their first to their last figure, together."""
    grown = None
    for engine in {one.engine for one in seen}:
        values = [value for one in seen if one.engine == engine and (value := figure(one.sample)) is not None]
        if values:
            grown = (grown or 0.0) + values[-1] - values[0]
    return grown


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
