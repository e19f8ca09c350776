"""Fewest accelerators for a rate, and the rate that would need fewer: exact at the boundary, minimal everywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rightsizer_operator.sizing import gpus
from rightsizer_operator.sizing.gpus import Requirement

RATES = st.floats(min_value=0.01, max_value=5000, allow_nan=False)
SMALL = st.integers(min_value=1, max_value=16)


@given(RATES, RATES)
def test_the_count_carries_the_demand_and_one_fewer_does_not(demand: float, rate: float) -> None:
    count = gpus.replicas_for(Requirement(demand), rate)
    assert count * rate >= demand * (1 - 1e-8)
    assert count == 1 or (count - 1) * rate < demand


@pytest.mark.parametrize(
    ("demand", "rate", "count"), [(5.5, 5.5 / 3, 3), (5.5, 2.75, 2), (5.5, 2.749, 3), (0.3, 0.1, 3), (1, 2, 1)]
)
def test_rounding_never_costs_a_replica(demand: float, rate: float, count: int) -> None:
    assert gpus.replicas_for(Requirement(demand), rate) == count


@pytest.mark.parametrize(("demand", "rate"), [(0, 1), (1, 0), (-1, 1)])
def test_rates_of_zero_have_no_count(demand: float, rate: float) -> None:
    with pytest.raises(ValueError, match="above zero"):
        gpus.replicas_for(Requirement(demand), rate)


@given(RATES, RATES, st.integers(0, 400), st.integers(0, 16))
def test_headroom_is_carried_and_spare_replicas_come_on_top(
    demand: float, rate: float, headroom: int, spare: int
) -> None:
    required = Requirement(demand, headroom, spare)
    carrying = required.carrying(gpus.replicas_for(required, rate))
    assert carrying * rate >= demand * (1 + headroom / 100) * (1 - 1e-8)
    assert carrying == 1 or (carrying - 1) * rate < demand * (1 + headroom / 100)


@pytest.mark.parametrize(
    ("headroom", "spare", "count"), [(0, 0, 2), (20, 0, 2), (40, 0, 3), (0, 1, 3), (40, 1, 4), (0, 2, 4)]
)
def test_seven_and_a_half_requests_a_second_at_five_a_replica(headroom: int, spare: int, count: int) -> None:
    assert gpus.replicas_for(Requirement(7.5, headroom, spare), 5.0) == count


@given(RATES, SMALL, st.integers(min_value=1, max_value=128), st.integers(0, 100), st.integers(0, 3))
def test_at_the_rate_to_beat_the_plan_has_fewer_accelerators_and_just_below_it_has_not(
    demand: float, per_replica: int, incumbent: int, headroom: int, spare: int
) -> None:
    required = Requirement(demand, headroom, spare)
    bar = gpus.rate_to_beat(required, per_replica, incumbent)
    if bar is None:
        assert (1 + spare) * per_replica >= incumbent
        return
    assert gpus.replicas_for(required, bar) * per_replica < incumbent
    assert gpus.replicas_for(required, bar * 0.9999) * per_replica >= incumbent


@given(RATES, SMALL, SMALL)
def test_a_cheaper_accelerator_may_win_with_as_many(demand: float, per_replica: int, replicas: int) -> None:
    incumbent = per_replica * replicas
    bar = gpus.rate_to_beat(Requirement(demand), per_replica, incumbent, price=1.0, incumbent_price=2.0)
    assert bar is not None
    assert gpus.replicas_for(Requirement(demand), bar) * per_replica == incumbent


def test_a_dearer_or_equal_accelerator_needs_fewer() -> None:
    assert gpus.rate_to_beat(Requirement(6.0), 1, 3) == 3.0
    assert gpus.rate_to_beat(Requirement(6.0), 1, 3, price=2.0, incumbent_price=1.0) == 3.0


@given(RATES | st.floats(0.001, 1))
def test_written_rates_round_against_us_and_by_less_than_a_thousandth(rate: float) -> None:
    assert rate * 0.999 - 1e-9 <= gpus.rounded_down(rate) <= rate * (1 + 1e-6)
    assert rate * (1 - 1e-6) <= gpus.bar(rate) <= rate * 1.001 + 1e-9


@pytest.mark.parametrize(
    ("measured", "held", "written", "words"),
    [
        (2.7504, 2.75, "2.75", "2.750"),
        (1.8339, 1.833, "1.833", "1.833"),
        (0.5, 0.5, "0.5", "0.500"),
        (0.84967, 0.8496, "0.8496", "0.8496"),
        (0.00595, 0.00595, "0.00595", "0.00595"),
        (0.0009, 0.0009, "0.0009", "0.0009"),
        (0.00000123, 0.000001, "0.000001", "0.000001"),
    ],
)
def test_a_slow_replica_keeps_four_digits_of_its_rate(measured: float, held: float, written: str, words: str) -> None:
    assert gpus.rounded_down(measured) == held
    assert (gpus.written(held), gpus.words(held)) == (written, words)


@pytest.mark.parametrize(("lower", "demand"), [(0.00595, 0.0118), (0.0299, 0.1196), (0.0009, 0.0018)])
def test_rounding_costs_a_slow_replica_no_accelerator(lower: float, demand: float) -> None:
    required = Requirement(demand)
    assert gpus.replicas_for(required, gpus.rounded_down(lower)) == gpus.replicas_for(required, lower)
