"""The commands of docs/howto/go-back.md for the day when nothing else is left but the target's annotation."""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from e2e.embedded.client import Client
from e2e.embedded.controlplane import ControlPlane
from rightsizer_operator.manifests import baseline, labels, target
from tests.manifests.examples import a_serving, a_spec, a_target

PAGE = Path(__file__).resolve().parents[2] / "docs/howto/go-back.md"


def the_script() -> str:
    """The indented block that restores the baseline from its annotation."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE.read_text(), re.MULTILINE)
    (found,) = [block for block in blocks if "baseline.json" in block]
    return re.sub(r"^    ", "", found, flags=re.MULTILINE)


def test_the_commands_put_back_what_an_annotation_says(
    api: Client, control_plane: ControlPlane, namespace: str, kubectl: Path, tmp_path: Path
) -> None:
    manifest = copy.deepcopy(a_target())
    manifest["metadata"] = {"name": "support-chat", "namespace": namespace}
    manifest.pop("status")
    run_with = {
        "PATH": f"{links_to(tmp_path / 'bin', kubectl)}:{os.environ['PATH']}",
        "KUBECONFIG": str(control_plane.kubeconfig),
    }
    said(["kubectl", "apply", "-f", "-"], json.dumps(manifest), tmp_path, run_with)
    found: dict[str, Any] = api.get("apps/v1", "Deployment", "support-chat", namespace)
    recorded = baseline.snapshot(found, a_spec(modelCache={"claimName": "other"}), ())
    rewritten = target.template_patch(found, "engine", a_serving(), recorded, "0123456789ab")
    live = api.apply(rewritten, manager=labels.FIELD_MANAGER, force=True)
    smaller = target.replicas_patch(live, "engine", a_serving(), 1, recorded, "0123456789ab")
    assert api.apply(smaller, manager=labels.FIELD_MANAGER, force=True)["spec"] != found["spec"]

    said(["bash", "-euo", "pipefail", "-c", the_script().replace("-n ml", f"-n {namespace}")], "", tmp_path, run_with)

    restored = api.get("apps/v1", "Deployment", "support-chat", namespace)
    assert restored["spec"] == found["spec"]
    assert [key for key in restored["metadata"]["annotations"] if key.startswith(labels.PREFIX)] == []


def links_to(folder: Path, kubectl: Path) -> Path:
    """A folder with kubectl and python3 under these names."""
    folder.mkdir()
    (folder / "kubectl").symlink_to(kubectl)
    (folder / "python3").symlink_to(sys.executable)
    return folder


def said(command: list[str], given: str, folder: Path, variables: dict[str, str]) -> str:
    done = subprocess.run(
        command, input=given, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
