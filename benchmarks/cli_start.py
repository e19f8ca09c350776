"""How long the command line takes: ``python -m benchmarks.cli_start``.

Against a real API server by a real kubectl, with the stored objects of one finished search and, for the lists, more
resources beside it. Each command is a new process; its first run, which may read from disk, does not count.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.occasion import heading
from e2e.embedded import binaries, places
from e2e.embedded.client import Client
from e2e.embedded.controlplane import ControlPlane
from tests.conftest import install_crds

OBJECTS = places.REPOSITORY / "tests" / "reporting" / "cluster"
NAMESPACE = "ml"
COMMANDS = (
    ("--help",),
    ("status",),
    ("status", "support-chat"),
    ("approve", "nobody"),
    ("explain", "support-chat"),
    ("diff", "support-chat"),
    ("report", "support-chat", "-o", "html"),
    ("doctor", "support-chat"),
)
BUDGETS_S = {("--help",): 0.3, ("status",): 1.0, ("status", "support-chat"): 1.0}


def fill(api: Client, resources: int) -> None:
    """The target, the run and the resource of the stored example, and copies of the resource beside them."""
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    for name in ("deployment", "optimizationrun", "inferencedeployment"):
        found = json.loads((OBJECTS / f"{name}.json").read_text())
        names = [found["metadata"]["name"]]
        if found["kind"] == "Deployment":
            found["spec"] |= {"selector": {"matchLabels": {"app": "chat"}}}
            found["spec"]["template"]["metadata"] = {"labels": {"app": "chat"}}
        if found["kind"] == "InferenceDeployment":
            names += [f"other-{number}" for number in range(resources - 1)]
        for one in names:
            store(api, {**found, "metadata": {"name": one, "namespace": NAMESPACE}})


def store(api: Client, manifest: dict) -> None:
    created = api.create({key: value for key, value in manifest.items() if key != "status"})
    if manifest["kind"] != "Deployment":
        metadata = manifest["metadata"]
        path = api.path(manifest["apiVersion"], manifest["kind"], metadata["name"], NAMESPACE, "status")
        api.request(path, "PUT", {**created, "status": manifest["status"]})


def timed(words: tuple[str, ...], connection: list[str], folder: str, kubectl: Path) -> float:
    """Seconds of one process, from its start to its end."""
    program = str(Path(sys.executable).with_name("rightsizer"))
    options = [] if words == ("--help",) else connection
    variables = {**os.environ, "HOME": folder, "RIGHTSIZER_KUBECTL": str(kubectl)}
    began = time.perf_counter()
    done = subprocess.run([program, *words, *options], env=variables, capture_output=True, text=True, timeout=60)
    took = time.perf_counter() - began
    if done.returncode not in (0, 3, 4):  # `nobody` is not found, and doctor misses an operator
        raise SystemExit(f"{' '.join(words)}: exit code {done.returncode}: {done.stderr}")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="runs of each command (default: 20)")
    parser.add_argument("--resources", type=int, default=50, help="InferenceDeployments in the cluster (default: 50)")
    given = parser.parse_args()
    kubectl = binaries.ensure(["kubectl"])["kubectl"]
    print(heading("rightsizer-cli", "pydantic"), f"{given.resources} resources, {given.runs} runs each\n", sep="")
    print("| command | median s | slowest s | budget s |")
    print("|---|---|---|---|")
    with ControlPlane() as plane, tempfile.TemporaryDirectory() as folder:
        install_crds(plane.admin, places.REPOSITORY / "crds")
        fill(plane.admin, given.resources)
        connection = ["--kubeconfig", str(plane.kubeconfig), "-n", NAMESPACE]
        for words in COMMANDS:
            times = [timed(words, connection, folder, kubectl) for _ in range(given.runs + 1)][1:]
            budget = BUDGETS_S.get(words, "")
            print(f"| `{' '.join(words)}` | {statistics.median(times):.2f} | {max(times):.2f} | {budget} |", flush=True)


if __name__ == "__main__":
    main()
