"""The command line against a real API server, by a real kubectl."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.embedded.client import Client
from e2e.embedded.controlplane import ControlPlane
from rightsizer_cli.__main__ import main

OBJECTS = Path(__file__).resolve().parents[1] / "reporting" / "cluster"
Run = Callable[..., tuple[int, str, str]]
HASH = "4f0c2a9b81d7"


def made(api: Client, namespace: str, name: str) -> None:
    """The object of that file in the namespace, with its status."""
    found = json.loads((OBJECTS / f"{name}.json").read_text())
    status = found.pop("status", None)
    found["metadata"] = {"name": found["metadata"]["name"], "namespace": namespace}
    if found["kind"] == "Deployment":
        found["spec"]["selector"] = {"matchLabels": {"app": "chat"}}
        found["spec"]["template"]["metadata"] = {"labels": {"app": "chat"}}
    created = api.create(found)
    if status:
        path = api.path(found["apiVersion"], found["kind"], found["metadata"]["name"], namespace, "status")
        api.request(path, "PUT", {**created, "status": status})


@pytest.fixture
def rightsizer(
    control_plane: ControlPlane, kubectl: Path, namespace: str, api: Client, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> Run:  # fmt: skip
    monkeypatch.setenv("RIGHTSIZER_KUBECTL", str(kubectl))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("deployment", "optimizationrun", "inferencedeployment"):
        made(api, namespace, name)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--kubeconfig", str(control_plane.kubeconfig), "-n", namespace])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_status_explain_diff_and_report_read_what_is_stored(rightsizer: Run) -> None:
    assert "GPUs 4 -> 2" in rightsizer("status")[1]
    assert "FailedQuality" in rightsizer("status", "support-chat")[1]
    assert "Why not the others" in rightsizer("explain", "support-chat")[1]
    assert "+replicas: 2" in rightsizer("diff", "support-chat")[1]
    document = json.loads(rightsizer("report", "support-chat", "-o", "json")[1])
    assert document["after"]["gpus"] == 2
    assert document["notes"] == []


def test_an_approval_is_stored_and_owned_by_the_clis_manager(rightsizer: Run, api: Client, namespace: str) -> None:
    code, said, _ = rightsizer("approve", "support-chat", "--hash", HASH)
    assert (code, "approved" in said) == (0, True)
    found = api.get("rightsizer.dev/v1alpha1", "InferenceDeployment", "support-chat", namespace)
    assert found["spec"]["updatePolicy"]["approvedProposal"] == HASH
    (entry,) = [e for e in found["metadata"]["managedFields"] if e["manager"] == "rightsizer-cli"]
    assert entry["fieldsV1"] == {"f:spec": {"f:updatePolicy": {"f:approvedProposal": {}}}}


def test_what_does_not_exist_and_what_cannot_be_reached_have_their_codes(rightsizer: Run, tmp_path: Path) -> None:
    code, _, said = rightsizer("status", "nobody")
    assert (code, "NotFound" in said) == (3, True)
    wrong = tmp_path / "wrong"
    wrong.write_text(
        "{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}],"
        " users: [{name: a, user: {}}], clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]}"
    )
    assert main(["status", "--kubeconfig", str(wrong)]) == 5


def test_doctor_names_what_this_cluster_lacks(rightsizer: Run) -> None:
    code, said, _ = rightsizer("doctor", "support-chat", "-o", "json")
    states: dict[str, Any] = {f["check"]: f["state"] for f in json.loads(said)["findings"]}
    assert code == 4
    assert {check for check, state in states.items() if state == "Ok"} == {
        "kubernetes", "definitions", "your rights", "target support-chat", "images",
    }  # fmt: skip
    assert {check for check, state in states.items() if state == "Missing"} == {
        "operator", "claim models", "nodes with nvidia.com/gpu", "draining support-chat",
    }  # fmt: skip
    assert states["price"] == "Unknown"


def test_an_unknown_context_is_named(rightsizer: Run) -> None:
    code, _, said = rightsizer("status", "--context", "no-such-context")
    assert code == 5
    assert "no-such-context" in said


def test_somebody_without_rights_is_told_which_role_to_ask_for(
    rightsizer: Run, control_plane: ControlPlane, api: Client, namespace: str, tmp_path: Path
) -> None:
    config = yaml.safe_load(Path(control_plane.kubeconfig).read_text())
    config["users"][0]["user"] = {"token": api.token("default", namespace)}
    kubeconfig = tmp_path / "nobody"
    kubeconfig.write_text(yaml.safe_dump(config))
    assert main(["status", "-n", namespace, "--kubeconfig", str(kubeconfig)]) == 6
