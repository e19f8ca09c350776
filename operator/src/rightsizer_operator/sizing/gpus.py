"""How many replicas and accelerators a rate needs, and which rate would need fewer. Called by ``phases``,
``ranking``, ``proof``.

GPU counts are computed from certified rates only; the race uses the measured lower bounds until then.
"""

import math

_SAME = 1e-9
"""Relative rounding error that may not cost a replica: 5.5 / (5.5 / 3) is 3, not 4."""


def rounded_down(rate_rps: float) -> float:
    """The rate as it is written and held: three decimals, never more than was measured."""
    return math.floor(rate_rps * 1000 + _SAME) / 1000


def replicas_for(demand_rps: float, rate_rps: float) -> int:
    """Fewest replicas that carry the demand; raises ValueError unless both rates are above zero."""
    if demand_rps <= 0 or rate_rps <= 0:
        raise ValueError(f"rates must be above zero: demand {demand_rps}, of one replica {rate_rps}")
    return max(1, math.ceil(demand_rps / rate_rps * (1 - _SAME)))


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
    demand_rps: float, per_replica: int, incumbent_gpus: int, *, price: float = 1.0, incumbent_price: float = 1.0
) -> float | None:
    """The smallest certified rate at which the challenger's plan has fewer accelerators than the incumbent's, or as
    many at lower cost.

    None: no rate does, one replica alone already has as many accelerators.
    """
    replicas = most_replicas_below(incumbent_gpus, per_replica, price, incumbent_price)
    return demand_rps / replicas if replicas else None


def rounded_up(rate_rps: float) -> float:
    """A rate to beat as it is written: three decimals, never less than needed."""
    return math.ceil(rate_rps * 1000 - _SAME) / 1000
