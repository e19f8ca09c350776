"""A run whose engines replayed recordings: the result and its page say so, and call nothing measured."""

import json
import re
from typing import Any

import pytest

from rightsizer_cli import tables
from rightsizer_cli.assemble import assembled
from rightsizer_cli.page.document import page
from rightsizer_cli.result import Result
from rightsizer_jobs.contract import dump_report, load_report

Object = dict[str, Any]
SAID = "recorded latencies of m (fp8) on h200_sxm with VLLM at TP8, 10 times as fast"


@pytest.fixture
def replayed(infdep: Object, run: Object) -> Result:
    """The same run, one of whose engines said that it replays."""
    record = next(one for one in run["status"]["trials"] if one["purpose"] == "Explore")
    report = load_report(record["report"])
    record["report"] = dump_report(report.model_copy(update={"replayed": SAID}))
    return assembled(infdep, run)


def evidences(found: object) -> set[str]:
    if isinstance(found, dict):
        own = {value for key, value in found.items() if key == "evidence"}
        return own.union(*(evidences(value) for value in found.values()))
    return set().union(*(evidences(one) for one in found)) if isinstance(found, list) else set()


def test_no_figure_is_called_measured_or_observed(replayed: Result) -> None:
    found = evidences(json.loads(json.dumps(replayed.wire())))
    assert "Replayed" in found
    assert found.isdisjoint({"Measured", "Observed"})
    assert replayed.replayed == (SAID,)


def test_the_first_note_says_what_was_replayed_and_that_no_gpu_was_used(replayed: Result) -> None:
    assert replayed.notes[0].startswith("Replayed, not measured: ")
    assert SAID in replayed.notes[0]
    assert "No GPU was used" in replayed.notes[0]


def test_the_page_shows_replayed_and_uses_measured_only_to_explain_the_word(replayed: Result) -> None:
    text = page(replayed)
    assert "Replayed, not measured" in text
    assert re.findall(r">[^<]*Measured[^<]*<", text) == re.findall(r">[^<]*Measured: by a trial[^<]*<", text)


def test_the_short_table_says_it_too(replayed: Result) -> None:
    assert any("Replayed, not measured" in line for line in tables.report(replayed))


def test_a_run_on_real_engines_says_nothing_of_it(result: Result) -> None:
    assert result.replayed == ()
    assert "Replayed" not in evidences(json.loads(json.dumps(result.wire())))
