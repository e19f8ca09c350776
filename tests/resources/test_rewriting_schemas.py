"""What pydantic emits and a CRD cannot hold is rewritten, or refused with the field's name; never dropped."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from rightsizer_operator.resource.rules import Unique
from rightsizer_operator.resource.structural import NotStructural, structural


def rewritten(type_: Any, **field: Any) -> dict[str, Any]:
    """The structural form of one field ``x`` of a model."""
    model = type("Model", (BaseModel,), {"__annotations__": {"x": type_}, "x": Field(description="X.", **field)})
    return structural(model.model_json_schema())["properties"]["x"]


class Inner(BaseModel):
    """Inner words."""

    n: int = Field(default=1, description="N.")


class Node(BaseModel):
    child: "Node | None" = Field(default=None, description="Child.")


Text = Annotated[str, Field(max_length=9)]
CASES = (
    ("an optional field is just not required", Text | None, {"default": None}, {"type": "string", "maxLength": 9}),
    ("one literal becomes an enum of one", Literal["a"], {}, {"type": "string", "enum": ["a"]}),
    ("literals become an enum", Literal["a", "b"], {}, {"type": "string", "enum": ["a", "b"]}),
    (
        "an exclusive bound takes its OpenAPI 3.0 form",
        int,
        {"gt": 0},
        {"type": "integer", "format": "int64", "minimum": 0, "exclusiveMinimum": True},
    ),
    (
        "a list is atomic unless it says otherwise",
        tuple[Text, ...],
        {"max_length": 2},
        {
            "type": "array",
            "maxItems": 2,
            "items": {"type": "string", "maxLength": 9},
            "x-kubernetes-list-type": "atomic",
        },
    ),
    (
        "unique scalars make a set",
        Annotated[tuple[Literal["a"], ...], Field(max_length=2), Unique()],
        {},
        {"type": "array", "maxItems": 2, "items": {"type": "string", "enum": ["a"]}, "x-kubernetes-list-type": "set"},
    ),
    (
        "a reference is inlined, its description overruled, its default left to its properties",
        Inner,
        {"default": Inner()},
        {
            "type": "object",
            "default": {},
            "properties": {"n": {"type": "integer", "format": "int64", "default": 1, "description": "N."}},
        },
    ),
)


@pytest.mark.parametrize(("type_", "field", "wanted"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_field_is_rewritten(type_: Any, field: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert rewritten(type_, **field) == {"description": "X.", **wanted}


REFUSED = (
    ("a union", int | Text, "x: a union"),
    ("a free-form map", dict[str, str], "x: free-form"),
    ("a tuple of mixed items", tuple[int, str], "x: prefixItems"),
    ("anything", Any, "x: no type"),
    ("a recursive type", Node, "recursive"),
)


@pytest.mark.parametrize(("type_", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_type_without_structural_form_is_refused_by_name(type_: Any, message: str) -> None:
    with pytest.raises(NotStructural, match=message):
        rewritten(type_)


def test_defaults_can_be_left_out() -> None:
    assert "default" not in structural(Inner.model_json_schema(), defaults=False)["properties"]["n"]
