"""What doctor concludes: values in, findings out."""

from typing import Any

import pytest

from rightsizer_cli import checks


def deployment(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": list(containers)}}}}


def engine(**more: Any) -> dict[str, Any]:
    return {"name": "engine", **more}


DRAINS = {"lifecycle": {"preStop": {"sleep": {"seconds": 10}}}}


@pytest.mark.parametrize(
    ("containers", "named"),
    [
        ([engine(**DRAINS)], ""),
        ([engine(**DRAINS)], "engine"),
        ([{"name": "proxy"}, engine(**DRAINS)], "engine"),
        ([engine(lifecycle={"preStop": {"exec": {"command": ["sleep", "10"]}}})], ""),
    ],
)
def test_an_engine_that_serves_on_while_it_leaves_the_service_is_ok(containers: list[Any], named: str) -> None:
    assert checks.draining(deployment(*containers), "chat", named).state == "Ok"


@pytest.mark.parametrize(
    ("containers", "named"),
    [
        ([engine()], "engine"),
        ([engine(lifecycle={"postStart": {"sleep": {"seconds": 10}}})], ""),
        ([engine(lifecycle={"preStop": None})], ""),
        ([{"name": "proxy", **DRAINS}, engine()], "engine"),
        ([], ""),
    ],
)
def test_an_engine_that_ends_at_once_is_named_with_the_text_to_add(containers: list[Any], named: str) -> None:
    found = checks.draining(deployment(*containers), "chat", named)
    assert (found.check, found.state) == ("draining chat", "Missing")
    assert "requests may be lost" in found.detail
    assert "lifecycle.preStop.sleep.seconds: 10" in found.remedy
    assert "terminationGracePeriodSeconds" in found.remedy
