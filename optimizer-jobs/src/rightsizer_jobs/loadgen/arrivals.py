"""Arrival schedules, computed whole before the run: instants in nanoseconds from its start. Pure; never sleeps.

One seed gives the same unit-rate gaps at every rate and for every candidate (common random numbers): a rate only
scales them.
"""

import random
from collections.abc import Iterator
from typing import Literal

NANOSECONDS = 1_000_000_000


def schedule(arrivals: Literal["Poisson", "Constant"], rate_rps: float, seconds: float, seed: int) -> list[int]:
    """Every arrival before ``seconds``, ascending, nanoseconds from the start."""
    if rate_rps <= 0:
        raise ValueError(f"rate must be above 0 requests/s, not {rate_rps}")
    gaps = poisson_gaps(seed) if arrivals == "Poisson" else constant_gaps()
    instants: list[int] = []
    elapsed = 0.0
    for gap in gaps:
        elapsed += gap / rate_rps
        if elapsed >= seconds:
            break
        instants.append(round(elapsed * NANOSECONDS))
    return instants


def poisson_gaps(seed: int) -> Iterator[float]:
    """Exponential gaps of mean 1."""
    source = random.Random(seed)
    while True:
        yield source.expovariate(1.0)


def constant_gaps() -> Iterator[float]:
    while True:
        yield 1.0
