"""Shared shape of the resource types: frozen, camelCase on the wire, unknown fields kept out.

``Quantity`` is a decimal as text ("5.5"): specs and statuses hold no floats (Kubernetes API conventions),
arithmetic uses ``number``. Numbers and flags are strict, as on the API server: "5" is no integer, 1 is no boolean.
"""

import re
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, Strict, model_validator
from pydantic_core import CoreSchema

from rightsizer_operator.resource.rules import VALIDATIONS, Rule

QUANTITY_PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,6})?$"
NAME_PATTERN = r"^[a-z0-9]([a-z0-9.\-]*[a-z0-9])?$"


def matches(operand: str, pattern: str) -> str:
    """The CEL call that matches ``operand`` against an RE2 pattern."""
    quoted = pattern.replace("\\", "\\\\").replace("'", "\\'")
    return f"{operand}.matches('{quoted}')"


def matching(pattern: str, message: str) -> Rule:
    """A pattern (RE2 and Python alike, anchored with ^ and $) with a message that says what is wanted."""
    compiled = re.compile(pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern)
    return Rule(cel=matches("self", pattern), message=message, holds=lambda text: bool(compiled.search(text)))


Whole = Annotated[int, Strict()]
Flag = Annotated[bool, Strict()]
Quantity = Annotated[
    str,
    Field(max_length=16),
    matching(QUANTITY_PATTERN, 'must be a decimal number as text, with at most 6 decimals, e.g. "5.5"'),
]
Positive = Annotated[Quantity, matching("[1-9]", "must be greater than 0")]
ObjectName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    matching(NAME_PATTERN, "must be the name of an object: lower-case letters, digits, - and ."),
]
Sentence = Annotated[str, Field(max_length=1024)]
Sha256 = Annotated[
    str, Field(max_length=64), matching("^[0-9a-f]{64}$", "must be a SHA-256 digest: 64 hexadecimal digits")
]
RelativePath = Annotated[
    str,
    Field(max_length=256),
    matching(
        r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*(/[A-Za-z0-9_][A-Za-z0-9_.\-]*)*$",
        "must be a path relative to the root of the modelCache volume, without a leading / and without ..",
    ),
    Rule(
        cel="!self.matches('^(artefacts|runs)(/|$)')",
        message="must not lie under artefacts/ or runs/: Rightsizer writes and deletes there",
        holds=lambda path: path.split("/")[0] not in ("artefacts", "runs"),
    ),
]


def camel(name: str) -> str:
    """ttft_ms as ttftMs and e2e_ms as e2eMs (pydantic's own generator makes e2EMs of it)."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


class Resource(BaseModel):
    """Base of every type in the custom resources.

    Parsing ignores fields of newer versions (a CRD may be older or newer than we are).
    """

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=camel, populate_by_name=True)

    rules: ClassVar[tuple[Rule, ...]] = ()
    """Rules that need several fields, or the old object."""

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        for rule in self.rules:
            rule.check(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = handler(schema)
        if cls.rules:
            handler.resolve_ref_schema(found)[VALIDATIONS] = [rule.cel_entry() for rule in cls.rules]
        return found

    def wire(self) -> dict[str, object]:
        """The object as the API server stores it: camelCase, absent instead of null."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


def number(quantity: str) -> float:
    """A Quantity as a float for arithmetic."""
    return float(Decimal(quantity))


_COUNT = re.compile(r"([0-9]{1,9})(k|M|Ki|Mi)?")
_SUFFIX = {"": 1, "k": 10**3, "M": 10**6, "Ki": 2**10, "Mi": 2**20}


def count(amount: object) -> int:
    """A whole Kubernetes quantity, as of an extended resource: the API server writes 1000 as ``1k``. 0 for others."""
    found = _COUNT.fullmatch(str(amount))
    return int(found[1]) * _SUFFIX[found[2] or ""] if found else 0


def quantity(value: float, digits: int = 3) -> str:
    """A non-negative float as a Quantity with at most ``digits`` decimals.

    Raises ValueError for NaN, infinity and negatives.
    """
    if not 0 <= value < 1e9:
        raise ValueError(f"not a quantity: {value!r}")
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
