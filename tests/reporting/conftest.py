"""The result document and the page, made from two objects as a cluster holds them; how the command prints it:
``tests/commanding``.

``cluster/`` is a made-up but plausible run over a 70B model: its figures were measured nowhere.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from rightsizer_cli.assemble import assembled
from rightsizer_cli.result import Result

Object = dict[str, Any]
CLUSTER = Path(__file__).with_name("cluster")


@pytest.fixture
def infdep() -> Object:
    found: Object = json.loads((CLUSTER / "inferencedeployment.json").read_text())
    return found


@pytest.fixture
def run() -> Object:
    found: Object = json.loads((CLUSTER / "optimizationrun.json").read_text())
    return found


@pytest.fixture
def result(infdep: Object, run: Object) -> Result:
    return assembled(infdep, run)
