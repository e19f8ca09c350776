"""The command line as its tests call it, and manifests as files. Used by ``test_plan_inputs`` and
``test_plan_targets``."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from rightsizer_cli.__main__ import main

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "examples/llama-70b.yaml"
MODEL = "/models/llama"


class CommandLine:
    """Runs commands in a folder of their own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def said(self, *arguments: object) -> tuple[int, str, str]:
        """Exit code, output and errors."""
        code = main([str(argument) for argument in arguments])
        caught = self._capsys.readouterr()
        return code, caught.out, caught.err

    def written(self, name: str, document: object) -> Path:
        """A file of that text, or of that document as YAML."""
        file = self.folder / name
        file.write_text(document if isinstance(document, str) else yaml.safe_dump(document), encoding="utf-8")
        return file

    def plan(self, deployment: object, *more: object) -> tuple[int, str, str]:
        return self.said("plan", "-f", EXAMPLE, "-f", self.written("deployment.yaml", deployment), *more)

    def as_is(self, deployment: object, *more: object) -> tuple[dict[str, Any], dict[str, Any]]:
        """The plan of a Deployment, and its candidate as-is."""
        code, out, err = self.plan(deployment, "-o", "json", *more)
        assert (code, err) == (0, "")
        found = json.loads(out)
        return found, next(one for one in found["candidates"] if one["id"] == "as-is")


def example(**spec: object) -> dict[str, Any]:
    """The example's document, with parts of its spec replaced."""
    document = copy.deepcopy(yaml.safe_load(EXAMPLE.read_text()))
    document["spec"].update(spec)
    return document


def deployment(*args: str, command: tuple[str, ...] = ("vllm", "serve"), **container: object) -> dict[str, Any]:
    """The example's target."""
    engine = {"name": "engine", "image": "vllm/vllm-openai:v0.33.0", "command": [*command], "args": [*args]}
    if not command:
        del engine["command"]
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "support-chat", "uid": "u"},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{**engine, **container}]}}},
    }  # fmt: skip
