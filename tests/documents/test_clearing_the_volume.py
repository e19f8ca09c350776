"""The commands of docs/howto/clear-the-volume.md: what is needed is named, and only what is not needed is deleted."""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.embedded.client import Client
from e2e.embedded.controlplane import ControlPlane
from rightsizer_operator.manifests import baseline, labels, target
from tests.manifests.examples import a_serving, a_spec, a_target

PAGE = (Path(__file__).resolve().parents[2] / "docs/howto/clear-the-volume.md").read_text()


def the_commands() -> str:
    """The indented block of step 1."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE, re.MULTILINE)
    (found,) = [block for block in blocks if "live.json" in block]
    return re.sub(r"^    ", "", found, flags=re.MULTILINE)


def the_job() -> dict[str, Any]:
    (found,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    job: dict[str, Any] = yaml.safe_load(found)
    return job


def test_what_a_rewritten_deployment_and_its_old_revision_need_is_named(
    api: Client, control_plane: ControlPlane, namespace: str, kubectl: Path, tmp_path: Path
) -> None:
    manifest = copy.deepcopy(a_target())
    manifest["metadata"] = {"name": "support-chat", "namespace": namespace}
    manifest.pop("status")
    found = api.create(manifest)
    recorded = baseline.snapshot(found, a_spec(modelCache={"claimName": "other"}), ())
    old = a_serving(artefact="chat-int8-0000000001")
    before = recorded.model_copy(update={"serving": old})
    rewritten = target.template_patch(
        found, "engine", a_serving(artefact="chat-int4-0000000002"), before, "0123456789ab"
    )
    api.apply(rewritten, manager=labels.FIELD_MANAGER, force=True)
    (tmp_path / "kubectl").symlink_to(kubectl)
    (tmp_path / "python3").symlink_to(sys.executable)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "KUBECONFIG": str(control_plane.kubeconfig)}
    commands = ["bash", "-euo", "pipefail", "-c", the_commands().replace("-n ml", f"-n {namespace}")]
    done = subprocess.run(
        commands, cwd=tmp_path, env={**os.environ, **environ}, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "needed.txt").read_text().split() == ["chat-int4-0000000002", "chat-int8-0000000001"]
    assert "chat-int4" in api.get("v1", "ConfigMap", "clear-the-volume", namespace)["data"]["needed.txt"]


@pytest.mark.parametrize("delete", ["no", "yes"])
def test_only_artefacts_that_nothing_needs_are_deleted_and_only_when_asked(tmp_path: Path, delete: str) -> None:
    volume, needed = tmp_path / "artefacts", tmp_path / "needed.txt"
    for name in ("kept", "free", "foreign"):
        (volume / name).mkdir(parents=True)
        if name != "foreign":
            made = {"recipe": "r", "tool": "t", "sha256": "0", "size_bytes": 2**30, "users": ["uid-1"]}
            (volume / name / "rightsizer-artefact.json").write_text(json.dumps(made))
    needed.write_text("kept\n")
    (container,) = the_job()["spec"]["template"]["spec"]["containers"]
    script = (
        container["command"][2].replace("/volume/artefacts", str(volume)).replace("/needed/needed.txt", str(needed))
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "DELETE": delete}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "left alone, no artefact of ours: foreign",
        f"{'deleted' if delete == 'yes' else 'not needed'}: free 1.0 GiB, asked for by uid-1",
        "needed: kept 1.0 GiB, asked for by uid-1",
    ]
    assert {path.name for path in volume.iterdir()} == {"kept", "foreign"} | ({"free"} if delete == "no" else set())


def test_the_job_deletes_nothing_as_it_stands_and_is_accepted_under_podsecurity_restricted(
    api: Client, namespace: str
) -> None:
    job = the_job()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["env"] == [{"name": "DELETE", "value": "no"}]
    enforce = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, **enforce["metadata"]}})
    job["metadata"]["namespace"] = namespace
    pod = {"metadata": {"name": "clear", "namespace": namespace}, "spec": job["spec"]["template"]["spec"]}
    api.create({"apiVersion": "v1", "kind": "Pod", **pod})
    assert api.create(job)["spec"]["backoffLimit"] == 0
