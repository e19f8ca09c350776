"""Arrival schedules, computed whole before the run: instants in nanoseconds from its start. Pure; never sleeps.

One seed gives the same unit-rate gaps at every rate and for every candidate (common random numbers): a rate only
scales them. The gaps of a trace are made by ``traces``.
"""

import random
from collections.abc import Iterable, Iterator
from typing import Literal

NANOSECONDS = 1_000_000_000


def schedule(
    arrivals: Literal["Poisson", "Constant", "Gamma"],
    rate_rps: float,
    seconds: float,
    seed: int,
    *,
    burstiness: float = 1.0,
) -> list[int]:
    """Every arrival before ``seconds``, ascending, nanoseconds from the start. ``burstiness``: of Gamma gaps."""
    return scaled(unit_gaps(arrivals, seed, burstiness), rate_rps, seconds)


def scaled(gaps: Iterable[float], rate_rps: float, seconds: float) -> list[int]:
    """Gaps of mean 1 as arrivals of a mean rate, before ``seconds``, ascending, nanoseconds from the start."""
    if rate_rps <= 0:
        raise ValueError(f"rate must be above 0 requests/s, not {rate_rps}")
    instants: list[int] = []
    elapsed = 0.0
    for gap in gaps:
        elapsed += gap / rate_rps
        if elapsed >= seconds:
            break
        instants.append(round(elapsed * NANOSECONDS))
    return instants


def unit_gaps(arrivals: Literal["Poisson", "Constant", "Gamma"], seed: int, burstiness: float = 1.0) -> Iterator[float]:
    """Endless gaps of mean 1; ``burstiness`` is the shape of Gamma gaps."""
    if arrivals == "Poisson":
        return poisson_gaps(seed)
    return gamma_gaps(seed, burstiness) if arrivals == "Gamma" else constant_gaps()


def poisson_gaps(seed: int) -> Iterator[float]:
    """Exponential gaps of mean 1."""
    source = random.Random(seed)
    while True:
        yield source.expovariate(1.0)


def gamma_gaps(seed: int, shape: float) -> Iterator[float]:
    """Gamma gaps of mean 1 whose squared coefficient of variation is 1/shape: 1 is Poisson, below it comes in bursts.

    Very small shapes give gaps that round to nothing: arrivals at one instant.
    """
    if shape <= 0:
        raise ValueError(f"burstiness must be above 0, not {shape}")
    source = random.Random(seed)
    while True:
        yield source.gammavariate(shape, 1 / shape)


def constant_gaps() -> Iterator[float]:
    while True:
        yield 1.0
