"""The real API server accepts what the chart renders; the account it makes can do what is listed and nothing more."""

import subprocess
from pathlib import Path

import pytest

from e2e.embedded.client import Client
from e2e.embedded.controlplane import ControlPlane

CHART = Path(__file__).resolve().parents[2] / "charts" / "rightsizer"


def applied(control_plane: ControlPlane, helm: Path, kubectl: Path, namespace: str, *options: str) -> str:
    """Server-side dry run of the rendered chart; CRDs are on the server already."""
    text = subprocess.run(
        [helm, "template", "rightsizer", CHART, "-n", namespace, "--kube-version", "1.36.3", *options],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    command = [
        kubectl,
        f"--kubeconfig={control_plane.kubeconfig}",
        "apply",
        "--server-side",
        "--dry-run=server",
        "-f",
        "-",
    ]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("mode", ["cluster", "namespaced"])
def test_every_object_is_accepted(
    control_plane: ControlPlane, helm: Path, kubectl: Path, namespace: str, mode: str
) -> None:
    options = ("--set", f"watchNamespaces={{{namespace}}}") if mode == "namespaced" else ()
    said = applied(control_plane, helm, kubectl, namespace, *options)
    assert "deployment.apps/rightsizer" in said
    assert "networkpolicy.networking.k8s.io/rightsizer" in said


def test_a_namespace_under_pod_security_restricted_takes_the_pods(
    api: Client, control_plane: ControlPlane, helm: Path, kubectl: Path, namespace: str
) -> None:
    label = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": label}})
    command = [
        helm, "template", "rightsizer", CHART, "-n", namespace, "--kube-version", "1.36.3",
        "--show-only", "templates/deployment.yaml",
    ]  # fmt: skip
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    done = subprocess.run(
        [kubectl, f"--kubeconfig={control_plane.kubeconfig}", "apply", "--dry-run=server", "-f", "-"],
        input=text, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Warning" not in done.stderr


def test_helm_installs_and_the_account_may_do_what_is_listed(
    control_plane: ControlPlane, helm: Path, kubectl: Path, namespace: str
) -> None:
    kubeconfig = f"--kubeconfig={control_plane.kubeconfig}"
    options = ("--set", f"watchNamespaces={{{namespace}}},crds.enabled=false")
    install = [helm, "install", "rightsizer", CHART, "-n", namespace, kubeconfig, *options]
    subprocess.run(install, capture_output=True, text=True, check=True)
    try:
        account = f"--as=system:serviceaccount:{namespace}:rightsizer"

        def may(verb: str, resource: str, *where: str) -> bool:
            command = [kubectl, kubeconfig, "auth", "can-i", verb, resource, account, *(where or ("-n", namespace))]
            return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "yes"

        assert may("patch", "deployments.apps")
        assert may("create", "jobs.batch")
        assert may("patch", "inferencedeployments.rightsizer.dev", "--subresource=status", "-n", namespace)
        assert may("list", "nodes")
        for verb, resource, *options in (
            ("patch", "inferencedeployments.rightsizer.dev"),
            ("get", "secrets"),
            ("create", "pods", "--subresource=exec"),
            ("get", "pods", "--subresource=log"),
            ("delete", "deployments.apps"),
            ("delete", "pods"),
        ):
            assert not may(verb, resource, *options, "-n", namespace), f"{verb} {resource} {options}"
        assert not may("patch", "deployments.apps", "-n", "default")
    finally:
        subprocess.run([helm, "uninstall", "rightsizer", "-n", namespace, kubeconfig], capture_output=True, check=True)
