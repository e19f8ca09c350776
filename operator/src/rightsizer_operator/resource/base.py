"""Shared shape of the resource types: frozen, camelCase on the wire, unknown fields kept out.

``Quantity`` is a decimal as text ("5.5"): specs and statuses hold no floats (Kubernetes API conventions), arithmetic uses ``number``.
"""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

QUANTITY_PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,6})?$"
NAME_PATTERN = r"^[a-z0-9]([a-z0-9.\-]*[a-z0-9])?$"

Quantity = Annotated[str, Field(pattern=QUANTITY_PATTERN, max_length=16)]
ObjectName = Annotated[str, Field(pattern=NAME_PATTERN, min_length=1, max_length=253)]
Sentence = Annotated[str, Field(max_length=1024)]


class Resource(BaseModel):
    """Base of every type in the custom resources. Parsing ignores fields of newer versions (a CRD may be older or newer than we are)."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    def wire(self) -> dict[str, object]:
        """The object as the API server stores it: camelCase, absent instead of null."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


def number(quantity: str) -> float:
    """A Quantity as a float for arithmetic."""
    return float(Decimal(quantity))


def quantity(value: float, digits: int = 3) -> str:
    """A non-negative float as a Quantity with at most ``digits`` decimals; raises ValueError for NaN, infinity and negatives."""
    if not 0 <= value < 1e9:
        raise ValueError(f"not a quantity: {value!r}")
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
