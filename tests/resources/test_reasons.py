"""Reasons are API: one word each, explained, and findable by a constant of the same name."""

import pathlib
import re

import rightsizer_operator
from rightsizer_operator.resource import reasons

SOURCES = pathlib.Path(rightsizer_operator.__file__).parent


def constants() -> dict[str, str]:
    return {
        name: value
        for name, value in vars(reasons).items()
        if name.isupper() and isinstance(value, str) and name[0] != "_"
    }


def test_every_reason_has_a_constant_of_its_name() -> None:
    assert set(constants().values()) == set(reasons.REASONS)
    for constant, reason in constants().items():
        assert constant.replace("_", "").lower() == reason.lower()


def test_every_reason_is_said_somewhere() -> None:
    text = "\n".join(path.read_text() for path in SOURCES.rglob("*.py"))
    assert [name for name in constants() if f"reasons.{name}" not in text] == []


def test_a_reason_fits_a_condition_an_event_and_a_label() -> None:
    for reason in reasons.REASONS:
        assert re.fullmatch(r"[A-Z][A-Za-z]{2,62}", reason)


def test_a_reason_is_explained_in_sentences() -> None:
    for reason, meaning in reasons.REASONS.items():
        assert meaning.sentence.endswith("."), reason
        assert not meaning.remedy or meaning.remedy.endswith("."), reason


def test_what_stops_a_resource_has_a_remedy() -> None:
    stopping = [
        reason
        for reason, meaning in reasons.REASONS.items()
        if "Stalled" in meaning.group and "Ready," in meaning.group
    ]
    healthy = {"Accepted", "Reconciling", "Settled", "NotStalled", "NotPaused"}
    assert [reason for reason in stopping if reason not in healthy and not reasons.REASONS[reason].remedy] == []
