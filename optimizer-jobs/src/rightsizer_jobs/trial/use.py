"""How busy the engines and their GPUs were over one run, from what was read beside it: means over its counted window.
Called by ``probing`` and ``steps``.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from rightsizer_jobs.contract import EngineUse
from rightsizer_jobs.engines.beside import Seen
from rightsizer_jobs.engines.engine import Sample
from rightsizer_jobs.engines.nvml import Reading
from rightsizer_jobs.loadgen.arrivals import NANOSECONDS
from rightsizer_jobs.loadgen.metrics import Window, rounded

SLOWED_SHARE = 0.05
"""Of the readings of a run: a GPU that is slowed down for longer is not the one that was to be measured."""


@dataclass(frozen=True, slots=True)
class Moment:
    """``at``: second of the event loop's clock."""

    at: float
    gpus: Reading


@dataclass(frozen=True, slots=True)
class Observed:
    """What was read beside a run, once a second."""

    engines: list[Seen] = field(default_factory=list)
    gpus: list[Moment] = field(default_factory=list)

    def within(self, window: Window) -> "Observed":
        """What falls into the window."""
        return Observed(
            [one for one in self.engines if inside(window, one.at)],
            [one for one in self.gpus if inside(window, one.at)],
        )

    def slowed(self) -> str:
        """Why the run is void for its GPUs' sake; empty: it is not, or they do not tell."""
        found = [one.gpus.slowed for one in self.gpus if one.gpus.slowed]
        if len(found) <= SLOWED_SHARE * len(self.gpus):
            return ""
        reason, _ = Counter(found).most_common(1)[0]
        return f"the engine's GPUs were slowed down ({reason}) in {len(found)} of {len(self.gpus)} readings"

    def gpu_percent(self) -> list[float]:
        return [one.gpus.percent for one in self.gpus if one.gpus.percent is not None]


def inside(window: Window, at_s: float) -> bool:
    """Whether a second of the event loop's clock, which is the monotonic one, lies in the window."""
    return window.start_ns <= at_s * NANOSECONDS < window.stop_ns


def on_the_calendar(window: Window) -> tuple[float, float]:
    """The end of a window of the monotonic clock in Unix seconds, and its length: for whoever measured beside us."""
    ago_s = (time.monotonic_ns() - window.stop_ns) / NANOSECONDS
    return round(time.time() - ago_s, 1), round(window.seconds, 1)


def use_of(
    rate_rps: float,
    samples: Sequence[Sample],
    gpu_percent: Sequence[float],
    unseen: str,
    when: tuple[float, float] | None = None,
) -> EngineUse:
    """``samples``: each of one engine at one moment. ``rate_rps``: of all engines together. ``when``: end and length
    of the window.
    """
    gpu = _mean(gpu_percent)
    return EngineUse(
        rate_rps=rounded(rate_rps),
        ended=when[0] if when else None,
        seconds=when[1] if when else None,
        running=_mean([one.running for one in samples if one.running is not None]),
        slots=_mean([one.slots for one in samples if one.slots is not None]),
        waiting=_mean([one.waiting for one in samples if one.waiting is not None]),
        kv_usage=_mean([one.kv_usage for one in samples if one.kv_usage is not None]),
        gpu_percent=gpu,
        gpu_unseen="" if gpu is not None else (unseen or "no sample fell into the window")[:120],
    )


def _mean(values: Sequence[float]) -> float | None:
    return rounded(fmean(values)) if values else None
