"""How busy the engines and their GPUs were over one probe: means over its counted window. Called by ``probing``."""

import time
from collections.abc import Sequence
from statistics import fmean

from rightsizer_jobs.contract import EngineUse
from rightsizer_jobs.engines.engine import Sample
from rightsizer_jobs.loadgen.arrivals import NANOSECONDS
from rightsizer_jobs.loadgen.metrics import Window, rounded


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
