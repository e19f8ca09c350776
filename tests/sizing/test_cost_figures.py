"""Money: from measured throughput and price, at the demand and at the certified rate; without a price nothing is
guessed.
"""

import pytest

from rightsizer_operator.sizing import cost
from tests.phases.builders import a_spec


def test_a_million_tokens_cost_what_the_accelerators_cost_while_they_are_made() -> None:
    hourly = cost.per_hour(4, "2.50")
    assert hourly == 10.0
    assert cost.per_million_tokens(hourly, 1000.0) == pytest.approx(10.0 / 3.6)


def test_halving_the_accelerators_at_the_same_demand_halves_the_cost() -> None:
    before = cost.per_million_tokens(cost.per_hour(4, "2"), 1155.0)
    after = cost.per_million_tokens(cost.per_hour(2, "2"), 1155.0)
    assert before is not None
    assert after == pytest.approx(before / 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: cost.per_hour(4, None),
        lambda: cost.per_million_tokens(None, 10.0),
        lambda: cost.per_million_tokens(1.0, 0.0),
    ],
)
def test_without_a_price_or_throughput_there_is_no_figure(call: object) -> None:
    assert callable(call)
    assert call() is None


def test_the_search_pays_back_after_its_cost_over_the_saving() -> None:
    assert cost.payback_hours(12.0, 8.0, 4.0) == 3.0


@pytest.mark.parametrize(
    ("spent", "before", "after"), [(12.0, 4.0, 4.0), (12.0, 4.0, 6.0), (None, 8.0, 4.0), (12.0, None, 4.0)]
)
def test_without_a_saving_or_a_price_there_is_no_payback(
    spent: float | None, before: float | None, after: float | None
) -> None:
    assert cost.payback_hours(spent, before, after) is None


def test_a_stated_price_goes_before_the_operators_list_and_the_type_before_the_resource() -> None:
    prices = {"cpu-core": "1", "rightsizer.dev/engine-slot": "2"}
    assert cost.price_of(a_spec(), "cpu-core", prices) == "2.00"
    unpriced = a_spec(cost={"gpuHourly": None})
    assert cost.price_of(unpriced, "cpu-core", prices) == "1"
    assert cost.price_of(unpriced, "other", prices) == "2"
    assert cost.price_of(unpriced, "other", {}) is None
