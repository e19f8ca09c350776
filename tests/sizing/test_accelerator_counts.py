"""Fewest accelerators for a rate, and the rate that would need fewer: exact at the boundary, minimal everywhere."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rightsizer_operator.sizing import gpus

RATES = st.floats(min_value=0.01, max_value=5000, allow_nan=False)
SMALL = st.integers(min_value=1, max_value=16)


@given(RATES, RATES)
def test_the_count_carries_the_demand_and_one_fewer_does_not(demand: float, rate: float) -> None:
    count = gpus.replicas_for(demand, rate)
    assert count * rate >= demand * (1 - 1e-8)
    assert count == 1 or (count - 1) * rate < demand


@pytest.mark.parametrize(
    ("demand", "rate", "count"), [(5.5, 5.5 / 3, 3), (5.5, 2.75, 2), (5.5, 2.749, 3), (0.3, 0.1, 3), (1, 2, 1)]
)
def test_rounding_never_costs_a_replica(demand: float, rate: float, count: int) -> None:
    assert gpus.replicas_for(demand, rate) == count


@pytest.mark.parametrize(("demand", "rate"), [(0, 1), (1, 0), (-1, 1)])
def test_rates_of_zero_have_no_count(demand: float, rate: float) -> None:
    with pytest.raises(ValueError, match="above zero"):
        gpus.replicas_for(demand, rate)


@given(RATES, SMALL, st.integers(min_value=1, max_value=128))
def test_at_the_rate_to_beat_the_plan_has_fewer_accelerators_and_just_below_it_has_not(
    demand: float, per_replica: int, incumbent: int
) -> None:
    bar = gpus.rate_to_beat(demand, per_replica, incumbent)
    if bar is None:
        assert per_replica >= incumbent
        return
    assert gpus.replicas_for(demand, bar) * per_replica < incumbent
    assert gpus.replicas_for(demand, bar * 0.9999) * per_replica >= incumbent


@given(RATES, SMALL, SMALL)
def test_a_cheaper_accelerator_may_win_with_as_many(demand: float, per_replica: int, replicas: int) -> None:
    incumbent = per_replica * replicas
    bar = gpus.rate_to_beat(demand, per_replica, incumbent, price=1.0, incumbent_price=2.0)
    assert bar is not None
    assert gpus.replicas_for(demand, bar) * per_replica == incumbent


def test_a_dearer_or_equal_accelerator_needs_fewer() -> None:
    assert gpus.rate_to_beat(6.0, 1, 3) == 3.0
    assert gpus.rate_to_beat(6.0, 1, 3, price=2.0, incumbent_price=1.0) == 3.0


@given(RATES)
def test_written_rates_round_against_us(rate: float) -> None:
    assert gpus.rounded_down(rate) <= rate * (1 + 1e-6)
    assert gpus.rounded_up(rate) >= rate * (1 - 1e-6)
    assert math.isclose(gpus.rounded_up(rate), rate, abs_tol=0.0011)
