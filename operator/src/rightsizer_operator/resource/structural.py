"""JSON Schema as pydantic writes it, rewritten as a structural OpenAPI v3 schema as CustomResourceDefinitions need it.

Called by ``crd.py``. Pure. What has no structural form (unions, recursion, tuples of mixed items) is refused with the
field's path, never dropped: a silently weaker schema would let objects in that the operator cannot read.
"""

from typing import Any

Schema = dict[str, Any]

DROPPED = ("title", "$defs", "$ref", "anyOf", "allOf", "uniqueItems")
REFUSED = ("oneOf", "not", "discriminator", "patternProperties", "prefixItems", "if", "dependentSchemas")
ORDER = (
    "description", "type", "format", "enum", "default", "pattern", "minLength", "maxLength", "minimum",
    "exclusiveMinimum", "maximum", "exclusiveMaximum", "minItems", "maxItems", "maxProperties", "items",
    "additionalProperties", "required", "properties",
)  # fmt: skip


class NotStructural(ValueError):
    """The type has no structural form; the message names the field."""


def structural(schema: Schema, *, defaults: bool = True) -> Schema:
    """The structural form of a pydantic schema, ``$defs`` inlined. ``defaults`` False drops all defaults (status)."""
    return _Rewrite(schema.get("$defs", {}), defaults).node(schema, ())


class _Rewrite:
    def __init__(self, definitions: dict[str, Schema], defaults: bool) -> None:
        self._definitions = definitions
        self._defaults = defaults

    def node(self, node: Schema, path: tuple[str, ...]) -> Schema:
        """One node and everything below it."""
        if len(path) > 24:
            raise NotStructural(f"{'.'.join(path)}: recursive types have no structural form")
        found = self._flat(node, path)
        refused = [word for word in REFUSED if word in found]
        if refused or "type" not in found:
            raise NotStructural(f"{'.'.join(path)}: {', '.join(refused) or 'no type'} has no structural form")
        children = {"object": self._object, "array": self._array}.get(found["type"])
        found = _numbers(found) | (children(found, path) if children else {})
        return _ordered({word: value for word, value in found.items() if value is not None})

    def _flat(self, node: Schema, path: tuple[str, ...]) -> Schema:
        """References inlined, optional wrappers removed; what stands beside a reference wins over what it refers to."""
        inner: Schema = {}
        if "$ref" in node:
            inner = self._flat(self._definitions[node["$ref"].rsplit("/", 1)[1]], path)
        for wrapper in ("anyOf", "allOf"):
            options = [option for option in node.get(wrapper, ()) if option.get("type") != "null"]
            if len(options) > 1:
                raise NotStructural(
                    f"{'.'.join(path)}: a union has no structural form; use optional members and a rule"
                )
            inner |= self._flat(options[0], path) if options else {}
        beside = {word: value for word, value in node.items() if word not in DROPPED}
        if "const" in beside:
            beside["enum"] = [beside.pop("const")]
        found = {**inner, **beside}
        if not self._defaults or found.get("default") is None:
            found.pop("default", None)
        return found

    def _object(self, found: Schema, path: tuple[str, ...]) -> Schema:
        """Properties. A default becomes {}, which the API server fills from the properties' defaults; not where a rule
        stands: the API server judges the default as written."""
        if "properties" not in found:
            raise NotStructural(f"{'.'.join(path)}: free-form objects cannot be bounded; name the properties")
        return {
            "properties": {name: self.node(child, (*path, name)) for name, child in found["properties"].items()},
            "additionalProperties": None,
            "default": _object_default(found),
        }

    def _array(self, found: Schema, path: tuple[str, ...]) -> Schema:
        items = self.node(found["items"], (*path, "items"))
        items.pop("description", None)
        return {"items": items, "x-kubernetes-list-type": found.get("x-kubernetes-list-type", "atomic")}


def _object_default(found: Schema) -> Schema | None:
    default = found.get("default")
    if default is None or "x-kubernetes-validations" not in found:
        return None if default is None else {}
    return {name: value for name, value in default.items() if value is not None}


def _numbers(found: Schema) -> Schema:
    """Exclusive bounds in their OpenAPI 3.0 form, integers as 64 bits."""
    found = dict(found)
    for bound in ("Minimum", "Maximum"):
        limit = found.pop(f"exclusive{bound}", None)
        if limit is not None:
            found |= {bound.lower(): limit, f"exclusive{bound}": True}
    return found | {"format": "int64"} if found["type"] == "integer" else found


def _ordered(found: Schema) -> Schema:
    ranks = {word: rank for rank, word in enumerate(ORDER)}
    return dict(sorted(found.items(), key=lambda entry: (ranks.get(entry[0], -1 + len(ranks)), entry[0])))
