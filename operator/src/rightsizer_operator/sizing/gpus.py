"""How many replicas and accelerators a rate needs, and which rate would need fewer. Called by ``phases``,
``ranking``, ``proof``.

GPU counts are computed from certified rates only; the race uses the measured lower bounds until then.
"""

import math
from dataclasses import dataclass

from rightsizer_operator.resource.base import quantity

_SAME = 1e-9
"""Relative rounding error that may not cost a replica: 5.5 / (5.5 / 3) is 3, not 4."""
_FEWEST, _MOST = 3, 6
"""Decimals of a rate: at least; and at most, which is what a Quantity holds."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What every plan has to bring: the peak demand, a share of it kept free on top, and replicas that may fail."""

    demand_rps: float
    headroom_percent: float = 0.0
    """Of the demand."""
    spare_replicas: int = 0
    """Beyond those that carry the demand with its headroom; 1 is N+1."""

    @property
    def carried_rps(self) -> float:
        """What the replicas that are not spare have to sustain together, requests a second."""
        return self.demand_rps * (1 + self.headroom_percent / 100)

    def carrying(self, replicas: int) -> int:
        """How many of so many replicas carry the demand; 0 or less: all of them are spare."""
        return replicas - self.spare_replicas


def decimals(rate_rps: float) -> int:
    """With how many decimals a rate is written: three, below 1 as many as four significant digits take.

    Slow replicas would lose a whole one to rounding otherwise: 0.00595 requests/s are not 0.005.
    """
    if not 0 < rate_rps < 1:
        return _FEWEST
    return min(_MOST, _FEWEST - math.floor(math.log10(rate_rps)))


def rounded_down(rate_rps: float) -> float:
    """The rate as it is written and held: never more than was measured."""
    scale = 10.0 ** decimals(rate_rps)
    return math.floor(rate_rps * scale + _SAME) / scale


def written(rate_rps: float) -> str:
    """The nearest Quantity to a rate, exact for one that is rounded already."""
    return quantity(rate_rps, decimals(rate_rps))


def words(rate_rps: float) -> str:
    """A rate in a sentence: 2.750, 0.500, 0.00595."""
    whole, _, rest = f"{rate_rps:.{decimals(rate_rps)}f}".partition(".")
    return f"{whole}.{rest[:_FEWEST]}{rest[_FEWEST:].rstrip('0')}"


def replicas_for(required: Requirement, rate_rps: float) -> int:
    """Fewest replicas, spare ones included, that carry the demand with its headroom.

    Raises ValueError unless both rates are above zero.
    """
    if required.demand_rps <= 0 or rate_rps <= 0:
        raise ValueError(f"rates must be above zero: demand {required.demand_rps}, of one replica {rate_rps}")
    return max(1, math.ceil(required.carried_rps / rate_rps * (1 - _SAME))) + required.spare_replicas


def most_replicas_below(gpus: int, per_replica: int, price: float = 1.0, incumbent_price: float = 1.0) -> int:
    """Most replicas of ``per_replica`` accelerators that are fewer accelerators than ``gpus``, or as many for less
    money; 0 if none.

    Prices are per accelerator hour.
    """
    if per_replica <= 0:
        return 0
    if price < incumbent_price and gpus % per_replica == 0:
        return gpus // per_replica
    return max(0, (gpus - 1) // per_replica)


def rate_to_beat(
    required: Requirement,
    per_replica: int,
    incumbent_gpus: int,
    *,
    price: float = 1.0,
    incumbent_price: float = 1.0,
) -> float | None:
    """The smallest certified rate at which the challenger's plan has fewer accelerators than the incumbent's, or as
    many at lower cost.

    None: no rate does, one carrying replica with the spare ones already has as many accelerators.
    """
    replicas = most_replicas_below(incumbent_gpus, per_replica, price, incumbent_price)
    return needed_rate(required, replicas)


def needed_rate(required: Requirement, replicas: int) -> float | None:
    """What one replica has to sustain where there are so many, spare ones included; None where all are spare."""
    carrying = required.carrying(replicas)
    return required.carried_rps / carrying if carrying > 0 else None


def bar(rate_rps: float) -> float:
    """A rate to beat, or a demand that was read, as it is written: never less than it is."""
    scale = 10.0 ** decimals(rate_rps)
    return math.ceil(rate_rps * scale - _SAME) / scale
