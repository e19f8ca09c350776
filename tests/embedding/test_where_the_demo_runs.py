"""Where the demo cannot run is said before anything is built, started or changed."""

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from e2e.demo.__main__ import main
from e2e.embedded.client import Client, wait_for
from e2e.embedded.controlplane import ControlPlane
from e2e.stage import cluster, objects
from e2e.stage.cluster import Given, Own, Unusable, chosen

Usage = namedtuple("Usage", "total used free")


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    there = chosen({"KUBECONFIG": "/nowhere/config"}, "demo", tmp_path)
    with pytest.raises(Unusable, match="names no file: /nowhere/config; correct it, or unset it"):
        there.check()


def test_the_demo_ends_with_that_message_and_touches_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere/config")
    assert main([]) == 1
    said = capsys.readouterr().err
    assert "error: KUBECONFIG names no file: /nowhere/config" in said
    assert "Nothing was started or changed." in said


def test_several_kubeconfigs_stay_several_as_kubectl_has_them(tmp_path: Path) -> None:
    there = chosen({"KUBECONFIG": os.pathsep.join(["/a/config", "/b/config"])}, "demo", tmp_path)
    assert isinstance(there, Given)
    assert there.kubectl.environment["KUBECONFIG"] == "/a/config:/b/config"


def test_a_cluster_that_does_not_answer_is_said(tmp_path: Path, kubectl: Path, helm: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: k, cluster: {server: 'http://127.0.0.1:9'}}]\n"
        "contexts: [{name: c, context: {cluster: k, user: u}}]\nusers: [{name: u, user: {}}]\n"
    )
    with pytest.raises(Unusable, match=f"the cluster of KUBECONFIG={config} does not answer"):
        chosen({"KUBECONFIG": str(config)}, "demo", tmp_path).check()


def test_a_cluster_without_its_one_node_is_refused(
    tmp_path: Path, control_plane: ControlPlane, kubectl: Path, helm: Path
) -> None:
    with pytest.raises(Unusable, match=r"a cluster of one node on this machine, .* has 0"):
        chosen({"KUBECONFIG": str(control_plane.kubeconfig)}, "demo", tmp_path).check()


def test_an_own_node_needs_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    there = chosen({}, "demo", tmp_path)
    assert isinstance(there, Own)
    with pytest.raises(Unusable, match="needs root on Linux: run this as root, or set KUBECONFIG"):
        there.check()


@pytest.mark.parametrize(("free_gb", "enough"), [(7.9, False), (8.1, True)])
def test_a_disk_that_is_too_small_is_said_with_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_gb: float, enough: bool
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free_gb * cluster.GB))
    folder = tmp_path / "not" / "yet"
    if enough:
        cluster.check_room(folder, cluster.CACHED_GB)
        return
    with pytest.raises(Unusable, match=r"about 8 GB of disk; .* has 7\.9 GB free\. Make room"):
        cluster.check_room(folder, cluster.CACHED_GB)


def test_demo_down_removes_nothing_from_a_cluster_where_the_demo_never_was(
    tmp_path: Path, control_plane: ControlPlane, api: Client, kubectl: Path, helm: Path
) -> None:
    there = chosen({"KUBECONFIG": str(control_plane.kubeconfig)}, "demo", tmp_path)
    with pytest.raises(Unusable, match="holds nothing that the demo made"):
        there.down()
    assert api.find("apiextensions.k8s.io/v1", "CustomResourceDefinition", "optimizationruns.rightsizer.dev")


@pytest.mark.cluster
def test_a_namespace_that_somebody_else_made_is_not_taken(tmp_path: Path, kubectl: Path, helm: Path) -> None:
    with ControlPlane(tmp_path / "plane") as plane:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"}}
        plane.admin.create(node)
        there = chosen({"KUBECONFIG": str(plane.kubeconfig)}, "demo", tmp_path)
        there.check()
        plane.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": objects.NAMESPACE}})
        with pytest.raises(Unusable, match="has a namespace 'ml' that the demo did not make"):
            there.check()
        plane.admin.delete("v1", "Namespace", objects.NAMESPACE)
        wait_for(lambda: plane.admin.find("v1", "Namespace", objects.NAMESPACE) is None, "the end of the namespace")
        ours, _ = objects.namespaces()
        plane.admin.create(ours)
        there.check()
        there.down()
        assert plane.admin.find("v1", "Namespace", objects.NAMESPACE) is None
