"""The CRDs are structural, bounded and described, by a checker that is not the generator; and the checker can fail."""

import functools
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.resources import openapi, samples

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = ("inferencedeployments", "optimizationruns")


@functools.cache
def stored(plural: str) -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / f"crds/{plural}.yaml").read_text())


def schema(plural: str) -> dict[str, Any]:
    return stored(plural)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]


@pytest.mark.parametrize("part", ["spec", "status"])
@pytest.mark.parametrize("plural", FILES)
def test_a_schema_is_structural_bounded_and_described(plural: str, part: str) -> None:
    assert list(openapi.faults(schema(plural)[part], part)) == []


@pytest.mark.parametrize("plural", FILES)
def test_status_carries_no_defaults(plural: str) -> None:
    assert "default:" not in yaml.safe_dump(schema(plural)["status"])


@pytest.mark.parametrize("plural", FILES)
def test_names_columns_and_selectable_fields_follow_the_conventions(plural: str) -> None:
    spec = stored(plural)["spec"]
    version = spec["versions"][0]
    assert spec["names"]["categories"] == ["inference"]
    assert spec["scope"] == "Namespaced"
    assert version["subresources"] == {"status": {}}
    assert len(version["selectableFields"]) <= 8
    columns = [column["name"] for column in version["additionalPrinterColumns"]]
    assert len(columns) == len(set(columns))


@pytest.mark.parametrize("plural", FILES)
def test_every_column_and_selectable_field_exists_in_the_schema(plural: str) -> None:
    version = stored(plural)["spec"]["versions"][0]
    columns = [column["jsonPath"] for column in version["additionalPrinterColumns"]]
    selectable = [field["jsonPath"] for field in version["selectableFields"]]
    for path in [*columns, *selectable]:
        if path.startswith(".metadata") or "[?" in path:
            continue
        node = schema(plural)
        for name in path.strip(".").split("."):
            node = node.get("properties", node)[name]


GOOD = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3, "description": "A."}}}
PLANTED = (
    ("a union", {"a": {"anyOf": [{"type": "string"}], "description": "A."}}, "spec.a: keyword anyOf is forbidden"),
    ("a reference", {"a": {"$ref": "#/a", "description": "A."}}, "spec.a: keyword $ref is forbidden"),
    ("no type", {"a": {"description": "A."}}, "spec.a: has no type"),
    ("no description", {"a": {"type": "integer"}}, "spec.a: has no description"),
    ("an unbounded string", {"a": {"type": "string", "description": "A."}}, "spec.a: a string without enum"),
    ("a pattern alone", {"a": {"type": "string", "pattern": "^a$", "description": "A."}}, "spec.a: a string without"),
    ("a free map", {"a": {"type": "object", "description": "A."}}, "spec.a: an object without properties"),
    ("a float", {"a": {"type": "number", "description": "A."}}, "spec.a: floats have no place"),
    (
        "an unbounded list",
        {"a": {"type": "array", "items": {"type": "integer"}, "description": "A."}},
        "spec.a: a list without maxItems",
    ),
    (
        "an optional list key",
        {
            "a": {
                "type": "array",
                "maxItems": 1,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["b"],
                "items": {"type": "object", "properties": {"b": {"type": "integer", "description": "B."}}},
                "description": "A.",
            }
        },
        "spec.a: list key b is not required",
    ),
    (
        "lookahead",
        {"a": {"type": "string", "maxLength": 9, "pattern": "^(?!x)", "description": "A."}},
        "spec.a: pattern ^(?!x) is not RE2",
    ),
    (
        "a default outside its bounds",
        {"a": {"type": "integer", "minimum": 2, "default": 1, "description": "A."}},
        "spec.a: default : out of bounds",
    ),
    (
        "a rule without message",
        {"a": {"type": "integer", "description": "A.", "x-kubernetes-validations": [{"rule": "true"}]}},
        "spec.a: rule true has no message",
    ),
)


@pytest.mark.parametrize(("properties", "fault"), [case[1:] for case in PLANTED], ids=[case[0] for case in PLANTED])
def test_the_checker_sees_a_planted_fault(properties: dict[str, Any], fault: str) -> None:
    assert list(openapi.faults(GOOD)) == []
    assert any(found.startswith(fault) for found in openapi.faults({**GOOD, "properties": properties}))


@pytest.mark.parametrize("short", ["infdep", "optrun"])
def test_the_sample_with_every_field_fits_its_schema(short: str) -> None:
    sample = samples.full(short)
    properties = schema(samples.kind(short).plural)
    assert list(openapi.violations(properties["spec"], sample["spec"])) == []
    assert list(openapi.violations(properties["status"], sample["status"])) == []


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ("spec", "accepted.workload.static.requestRate"),
        ("spec", "accepted.model.path"),
        ("spec", "gpuHourly"),
        ("status", "money"),
        ("status", "current.use.running"),
    ],
)
def test_what_the_operator_writes_keeps_its_patterns_without_messages_for_people(part: str, path: str) -> None:
    sample = samples.full("optrun")
    broken = samples.changed(sample, f"{part}.{path}", "no such thing!")
    assert list(openapi.violations(schema("optimizationruns")[part], broken[part])) == [f".{path}: should match"]


def test_what_people_write_keeps_its_messages() -> None:
    rate = schema("inferencedeployments")["spec"]["properties"]["workload"]["properties"]["static"]["properties"]
    assert [rule["message"] for rule in rate["requestRate"]["x-kubernetes-validations"]] == [
        'must be a decimal number as text, with at most 6 decimals, e.g. "5.5"',
        "must be greater than 0",
    ]
