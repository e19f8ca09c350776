"""A validation rule in two languages, side by side: CEL for the API server, Python for objects that predate the rule.

Used as metadata of a field (``Annotated[str, Rule(...)]``) or of a list (``Unique``), and in ``Resource.rules``.
``crd.py`` writes the CEL into the CRD; a test holds both languages to the same verdicts. Messages name the remedy: the
API server puts the field's path in front. Rules sit as deep as they can, so that ratcheting lets an emergency
``mode: Off`` through on an object that an older rule let in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

VALIDATIONS = "x-kubernetes-validations"
LIST_TYPE = "x-kubernetes-list-type"
LIST_KEYS = "x-kubernetes-list-map-keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``holds`` is None for transition rules: they need the old object, which only the API server has."""

    cel: str
    message: str
    holds: Callable[[Any], bool] | None = None
    field: str = ""
    """CEL field path of the child the message speaks of, e.g. ``.ttftMs``; empty: the value itself."""

    def cel_entry(self) -> dict[str, str]:
        """The rule as an entry of x-kubernetes-validations."""
        entry = {"rule": self.cel, "message": self.message}
        return {**entry, "fieldPath": self.field} if self.field else entry

    def check(self, value: Any) -> Any:
        """The value itself; raises a validation error with the rule's message where it does not hold."""
        if self.holds is not None and not self.holds(value):
            raise PydanticCustomError("rule", "{message}", {"message": f"{self.field} {self.message}".lstrip(" .")})
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = handler(schema)
        return {**found, VALIDATIONS: [*found.get(VALIDATIONS, []), self.cel_entry()]}


@dataclass(frozen=True, slots=True)
class Unique:
    """No two equal items (``key`` empty), or no two items with an equal ``key``: a list merged item by item."""

    key: str = ""

    def check(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """The values; raises a validation error that shows the first repeated one."""
        seen: set[Any] = set()
        for value in values:
            mark = getattr(value, self.key) if self.key else value
            if mark in seen:
                raise PydanticCustomError("duplicate", "Duplicate value: {mark}", {"mark": str(mark)})
            seen.add(mark)
        return values

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        kind = {LIST_TYPE: "map", LIST_KEYS: [self.key]} if self.key else {LIST_TYPE: "set"}
        return {**handler(schema), **kind}
