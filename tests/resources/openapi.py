"""A reader of structural schemas that shares nothing with the generator: what is wrong with a schema, or a value."""

import re
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

ALLOWED = {
    "description", "type", "format", "enum", "default", "pattern", "minLength", "maxLength", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "items", "required", "properties",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations",
}  # fmt: skip
NOT_RE2 = re.compile(r"\(\?[=!<]|\\[1-9]|\(\?P[=>]|[*+?}]\+|\(\?>|\\Z")
"""Lookaround, back references, possessive quantifiers, atomic groups, Python's own end of text."""


def faults(schema: Schema, path: str = "spec") -> Iterator[str]:
    """What makes a schema unstructural, unbounded or undescribed, one sentence each; the path comes first."""
    yield from (f"{path}: keyword {word} is forbidden" for word in schema.keys() - ALLOWED)
    if "type" not in schema:
        yield f"{path}: has no type"
        return
    yield from _faults_of_bounds(schema, path)
    yield from _faults_of_rules(schema, path)
    if "default" in schema:
        yield from (f"{path}: default {problem}" for problem in violations(schema, _filled(schema, schema["default"])))
    for name, child in schema.get("properties", {}).items():
        if not child.get("description"):
            yield f"{path}.{name}: has no description"
        yield from faults(child, f"{path}.{name}")
    if "items" in schema:
        yield from faults(schema["items"], f"{path}[]")


def _faults_of_bounds(schema: Schema, path: str) -> Iterator[str]:
    match schema["type"]:
        case "object" if not schema.get("properties"):
            yield f"{path}: an object without properties is unbounded"
        case "array" if "maxItems" not in schema:
            yield f"{path}: a list without maxItems is unbounded"
        case "array" if "x-kubernetes-list-type" not in schema:
            yield f"{path}: a list without a list type merges by accident"
        case "string" if not ("enum" in schema or "maxLength" in schema):
            yield f"{path}: a string without enum or maxLength is unbounded"
        case "number":
            yield f"{path}: floats have no place in a resource"
    for key in schema.get("x-kubernetes-list-map-keys", ()):
        if key not in schema["items"].get("required", ()):
            yield f"{path}: list key {key} is not required"


def _faults_of_rules(schema: Schema, path: str) -> Iterator[str]:
    patterns = [schema.get("pattern", "")]
    for rule in schema.get("x-kubernetes-validations", ()):
        if not rule.get("message"):
            yield f"{path}: rule {rule['rule']} has no message"
        patterns += [text.replace("\\\\", "\\") for text in re.findall(r"matches\('(.*?)'\)", rule["rule"])]
        field = rule.get("fieldPath", "").removeprefix(".")
        if field and field not in schema["properties"]:
            yield f"{path}: rule speaks of {field}, which does not exist"
    yield from (f"{path}: pattern {pattern} is not RE2" for pattern in patterns if NOT_RE2.search(pattern))


def _filled(schema: Schema, value: Any) -> Any:
    """A value with the defaults of its missing properties, as the API server fills it."""
    if not isinstance(value, dict):
        return value
    found = dict(value)
    for name, child in schema.get("properties", {}).items():
        if name not in found and "default" in child:
            found[name] = child["default"]
        if name in found:
            found[name] = _filled(child, found[name])
    return found


def violations(schema: Schema, value: Any, path: str = "") -> Iterator[str]:
    """What the API server would refuse in a value by the schema alone (no CEL)."""
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    kind = kinds[schema["type"]]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        yield f"{path}: must be of type {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: unsupported value"
    match value:
        case dict():
            yield from (f"{path}.{name}: required" for name in schema.get("required", ()) if name not in value)
            for name, child in value.items():
                if name in schema["properties"]:
                    yield from violations(schema["properties"][name], child, f"{path}.{name}")
        case list():
            yield from _violations_of_list(schema, value, path)
        case str():
            yield from _outside(schema, "Length", len(value), path)
            if "pattern" in schema and not re.search(schema["pattern"], value):
                yield f"{path}: should match"
        case int():
            yield from _outside(schema, "imum", value, path)


def _violations_of_list(schema: Schema, value: list[Any], path: str) -> Iterator[str]:
    yield from _outside(schema, "Items", len(value), path)
    for item in value:
        yield from violations(schema["items"], item, f"{path}[]")
    keys = schema.get("x-kubernetes-list-map-keys")
    marks = [item.get(keys[0]) if keys and isinstance(item, dict) else repr(item) for item in value]
    if schema["x-kubernetes-list-type"] != "atomic" and len(set(map(str, marks))) < len(marks):
        yield f"{path}: duplicate"


def _outside(schema: Schema, bound: str, size: int, path: str) -> Iterator[str]:
    if not schema.get(f"min{bound}", size) <= size <= schema.get(f"max{bound}", size):
        yield f"{path}: out of bounds"
