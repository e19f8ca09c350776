"""report.html: self-contained, escaped, readable without colour or script, and honest at the edges of its axes."""

import json
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from rightsizer_cli.assemble import assembled
from rightsizer_cli.page import charts, document, scale
from rightsizer_cli.page.markup import Markup, joined, tag
from rightsizer_cli.result import Curve, Point, Result

Object = dict[str, Any]
HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=y>\x1b[31m\u202e"


class Reader(HTMLParser):
    """What a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attributes)))
        if name not in ("meta", "br"):
            self.open.append(name)

    def handle_startendtag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attributes)))

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def names(reader: Reader) -> set[str]:
    return {name for name, _ in reader.elements}


def test_the_page_is_well_formed_and_self_contained(result: Result) -> None:
    reader = Reader(document.page(result))
    assert reader.open == []
    assert not names(reader) & {"script", "link", "img", "iframe", "object", "base", "form", "use", "image"}
    for _, attributes in reader.elements:
        assert not {key for key in attributes if key.startswith("on") or key in ("src", "href", "style")}
    style = "".join(text for text in reader.text if "--paper" in text)
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_forbids_scripts_and_fetches(result: Result) -> None:
    (policy,) = [a["content"] for n, a in Reader(document.page(result)).elements if n == "meta" and "http-equiv" in a]
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_the_same_result_gives_the_same_page(infdep: Object, run: Object) -> None:
    assert document.page(assembled(infdep, run)) == document.page(assembled(infdep, run))


def poisoned(found: Object) -> Object:
    """Every free text of the objects, replaced."""
    text = json.dumps(found)
    for free in (
        "vllm/vllm-openai",
        "wins: certified",
        "healthy for",
        "TensorRT-LLM does not",
        "needs 3.600",
        "ERROR 11-20",
    ):
        text = text.replace(free, json.dumps(HOSTILE)[1:-1] + free)
    return json.loads(text)  # type: ignore[no-any-return]


def test_hostile_strings_are_text_and_nothing_else(infdep: Object, run: Object, result: Result) -> None:
    run = poisoned(run)
    run["spec"]["baseline"]["servedModelName"] = HOSTILE
    for candidate in run["spec"]["candidates"]:
        candidate["precision"], candidate["engine"] = "<b>8", "<i>e"
    infdep["metadata"]["name"] = HOSTILE
    text = document.page(assembled(infdep, run))
    reader = Reader(text)
    assert names(reader) == names(Reader(document.page(result)))
    assert "<script>alert(1)</script>" in "".join(reader.text)
    assert not {"\x1b", "\u202e"} & set(text)


def test_attributes_cannot_be_left(result: Result) -> None:
    made = tag("p", class_='a" onclick="b')
    assert Reader(made).elements == [("p", {"class": 'a" onclick="b'})]


def test_markup_is_made_by_its_makers_only() -> None:
    assert joined("<b>") == "&lt;b&gt;"
    assert joined(tag("b", "<")) == "<b>&lt;</b>"
    assert isinstance(tag("b"), Markup)


def test_every_section_of_a_full_result_is_there(result: Result) -> None:
    text = document.page(result)
    for title in (
        "Before and after", "The levers, one by one", "Latency against rate", "Quality",
        "Cost per million output tokens",
        "What became of each candidate", "Why not fewer", "What the search cost", "What it rests on",
    ):  # fmt: skip
        assert f"<h2>{title}" in text


def test_every_candidate_has_its_reason_on_the_page(result: Result) -> None:
    text = "".join(Reader(document.page(result)).text)
    for candidate in result.candidates:
        assert candidate.verdict in text, candidate.candidate


def test_a_result_without_figures_still_makes_a_page(infdep: Object, run: Object) -> None:
    run["status"] = {}
    text = document.page(assembled(infdep, run))
    assert "in progress" in text
    assert "Latency against rate" not in text


def test_charts_are_described_for_those_who_cannot_see_them(result: Result) -> None:
    drawn = [attributes for name, attributes in Reader(document.page(result)).elements if name == "svg"]
    assert drawn
    assert all(a.get("aria-label") or a.get("aria-hidden") == "true" for a in drawn)


def a_point(rate: float, ttft: float | None, purpose: str = "Explore") -> Point:
    return Point(
        purpose=purpose, rate_rps=rate, seconds=60, requests=100, failed=0,
        percentile_ms={"ttft": ttft}, violations={"ttft": 0.0},
    )  # fmt: skip


def test_points_above_the_limit_are_hollow_and_the_certification_is_a_diamond() -> None:
    curve = Curve(
        candidate="c", points=(a_point(1, 400), a_point(2, 900), a_point(3, None), a_point(1.5, 500, "Certify"))
    )
    drawn = Reader(charts.latency("ttft", 800, 95, [curve], {"c": "winner"}))
    classes = [str(a.get("class")) for _, a in drawn.elements if str(a.get("class")).startswith("point")]
    assert sorted(classes) == ["point winner", "point winner certified", "point winner missed", "point winner missed"]
    assert "a failed request" in "".join(drawn.text)


def test_the_limit_is_always_inside_the_chart() -> None:
    for value in (1.0, 790.0, 1e6):
        curve = Curve(candidate="c", points=(a_point(1, value),))
        (line,) = [
            a for n, a in Reader(charts.latency("ttft", 800, 95, [curve], {})).elements if a.get("class") == "slo"
        ]
        assert 0 < float(line["y1"] or 0) < charts.HEIGHT


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 2.83), (-0.2, 3.4), (0, 1280), (0, 0.004)])
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    found = scale.ticks(low, high)
    assert 2 <= len(found) <= 7
    assert all(low <= value <= high for value in found)


def test_values_outside_an_axis_lie_on_its_edge() -> None:
    axis = scale.Axis(0, 10, 100, 0)
    assert [axis.at(value) for value in (-5, 0, 5, 10, 50)] == [100, 100, 50, 0, 0]


def test_labels_are_moved_apart_and_stay_inside() -> None:
    placed = scale.spread([10, 10, 11, 90], 15, 0, 100)
    assert sorted(placed) == placed
    assert all(b - a >= 15 for a, b in pairwise(placed))
    assert max(scale.spread([99, 99], 15, 0, 100)) <= 100
