"""Fingerprints and hashes: what changes the search changes them, what only decides about writing does not."""

from typing import Any

import pytest

from rightsizer_operator.manifests import baseline as baselines
from rightsizer_operator.sizing import fingerprint
from tests.phases.builders import a_spec, a_target


def of(**changes: Any) -> str:
    return fingerprint.inputs_fingerprint(a_spec(**changes), baselines.snapshot(a_target(), a_spec(), ()), "h100")


@pytest.mark.parametrize(
    "change",
    [
        {"slo": {"ttftMs": 801}},
        {"workload": {"static": {"inputTokens": 65}}},
        {"quality": {"confidencePercent": 90}},
        {"model": {"revision": "b"}},
        {"search": {"rerun": "x"}},
        {"search": {"measurement": {"probeSeconds": 30}}},
        {"targetRef": {"container": "other"}},
    ],
)
def test_inputs_change_the_fingerprint(change: dict[str, Any]) -> None:
    assert of(**change) != of()


@pytest.mark.parametrize(
    "change",
    [
        {"updatePolicy": {"mode": "Auto"}},
        {"paused": True},
        {"cost": {"gpuHourly": "9"}},
        {"search": {"budget": {"maxTrials": 5}}},
        {"targetRef": {"takeOwnership": False}},
    ],
)
def test_permissions_prices_and_budget_do_not(change: dict[str, Any]) -> None:
    assert of(**change) == of()


def test_the_target_and_its_accelerator_are_inputs() -> None:
    spec = a_spec()
    four, five = (baselines.snapshot(a_target(replicas=count), spec, ()) for count in (4, 5))
    assert fingerprint.inputs_fingerprint(spec, four, "h100") != fingerprint.inputs_fingerprint(spec, five, "h100")
    assert fingerprint.inputs_fingerprint(spec, four, "h100") != fingerprint.inputs_fingerprint(spec, four, "h200")


def test_a_proposal_is_what_is_deployed_and_for_which_inputs() -> None:
    serving = baselines.snapshot(a_target(), a_spec(), ()).serving
    known = fingerprint.proposal_hash("f", "int8", serving, 2)
    assert len(known) == 12
    others = {
        fingerprint.proposal_hash("g", "int8", serving, 2),
        fingerprint.proposal_hash("f", "int4", serving, 2),
        fingerprint.proposal_hash("f", "int8", serving, 3),
        fingerprint.proposal_hash("f", "int8", serving.model_copy(update={"image": "x"}), 2),
    }
    assert known not in others
    assert len(others) == 4


def test_seeds_are_derived_again_and_differ_by_part() -> None:
    assert fingerprint.seed("run", "explore") == fingerprint.seed("run", "explore")
    assert fingerprint.seed("run", "explore") != fingerprint.seed("run", "certify", "int8", 1)
