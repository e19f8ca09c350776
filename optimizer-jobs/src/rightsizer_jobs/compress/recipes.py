"""The ways to compress weights, as a table of data: the operator names a row in the assignment, ``run`` carries it out.

A new recipe of a known method is a new row. Which engines load a format is the operator's knowledge, not this room's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Method = Literal["GPTQ", "RoundToNearest"]
Tool = Literal["llmcompressor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """``scheme`` is the tool's preset for linear layers; ``weight_bits`` is what one of their weights takes on disk."""

    name: str
    tool: Tool
    method: Method
    scheme: str
    weight_bits: int
    needs_calibration: bool
    ignore: tuple[str, ...] = ("lm_head",)


def _table(*recipes: Recipe) -> Mapping[str, Recipe]:
    return {recipe.name: recipe for recipe in recipes}


RECIPES = _table(
    Recipe(name="int8-w8a8", tool="llmcompressor", method="GPTQ", scheme="W8A8", weight_bits=8, needs_calibration=True),
    Recipe(
        name="int8-w8a16", tool="llmcompressor", method="GPTQ", scheme="W8A16", weight_bits=8, needs_calibration=True
    ),
    Recipe(
        name="int4-w4a16", tool="llmcompressor", method="GPTQ", scheme="W4A16", weight_bits=4, needs_calibration=True
    ),
    Recipe(
        name="fp8-dynamic",
        tool="llmcompressor",
        method="RoundToNearest",
        scheme="FP8_DYNAMIC",
        weight_bits=8,
        needs_calibration=False,
    ),
)


class UnknownRecipe(ValueError):
    """The assignment names no row of the table."""


def recipe(name: str) -> Recipe:
    """The row; raises UnknownRecipe with the names there are."""
    found = RECIPES.get(name)
    if found is None:
        raise UnknownRecipe(f"recipe {name!r} is unknown; there are {', '.join(sorted(RECIPES))}")
    return found
