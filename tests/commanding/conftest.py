"""The command line from the outside: arguments in, text and exit code out, against a stand-in for kubectl.

Against a real API server: ``test_on_a_cluster.py``. What the result holds and how the page is drawn:
``tests/reporting``.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rightsizer_cli.__main__ import main

Object = dict[str, Any]
OBJECTS = Path(__file__).resolve().parents[1] / "reporting" / "cluster"


@dataclass(frozen=True)
class Cluster:
    """The folder that the stand-in answers from."""

    folder: Path

    def put(self, resource: str, value: object) -> None:
        (self.folder / f"{resource}.json").write_text(json.dumps(value))

    def get(self, resource: str) -> Object:
        found: Object = json.loads((self.folder / f"{resource}.json").read_text())
        return found

    def change(self, resource: str, change: Callable[[Object], None]) -> None:
        found = self.get(resource)
        change(found)
        self.put(resource, found)

    def calls(self) -> list[Object]:
        log = self.folder / "calls.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster with one InferenceDeployment that has a proposal."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    program = tmp_path / "kubectl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {Path(__file__).with_name("fake_kubectl.py")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("RIGHTSIZER_KUBECTL", str(program))
    monkeypatch.setenv("FAKE_CLUSTER", str(folder))
    monkeypatch.delenv("RIGHTSIZER_DEBUG", raising=False)
    found = Cluster(folder)
    for name in ("inferencedeployment", "optimizationrun", "deployment"):
        found.put(f"{name}s", json.loads((OBJECTS / f"{name}.json").read_text()))
    return found


@pytest.fixture
def rightsizer(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs the command line in this process."""

    def run(*arguments: str) -> Said:
        code = main(arguments)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run
