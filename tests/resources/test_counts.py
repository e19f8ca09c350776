"""Extended resources are whole quantities, which the API server writes with suffixes from a thousand on."""

import pytest

from rightsizer_operator.resource.base import count


@pytest.mark.parametrize(
    ("text", "number"), [("8", 8), ("1k", 1000), ("2Ki", 2048), ("3M", 3_000_000), (4, 4), ("0", 0)]
)
def test_whole_quantities_are_numbers(text: object, number: int) -> None:
    assert count(text) == number


@pytest.mark.parametrize("text", ["150m", "1.5", "-1", "", None, "many", "1" * 40])
def test_anything_else_counts_nothing(text: object) -> None:
    assert count(text) == 0
