"""The real control plane: two beside each other, and nothing left behind."""

import os
from pathlib import Path

import pytest

from e2e.embedded import processes
from e2e.embedded.client import Client, Refused, wait_for
from e2e.embedded.controlplane import ControlPlane, sweep


def a_configmap(name: str, namespace: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}


def test_a_second_control_plane_runs_beside_the_first_and_leaves_nothing(
    control_plane: ControlPlane, api: Client, namespace: str, tmp_path: Path
) -> None:
    with ControlPlane(tmp_path / "second") as second:
        started = processes.recorded(second.folder)
        assert len(started) == 4
        assert second.server != control_plane.server
        second.admin.create(a_configmap("only-here", "default"))
        assert api.find("v1", "ConfigMap", "only-here", "default") is None
    assert not any(processes.is_alive(process) for process in started.values())
    assert not second.folder.exists()
    assert all(processes.is_alive(process) for process in processes.recorded(control_plane.folder).values())


def test_controllers_work_a_deployment_gets_its_replica_set(api: Client, namespace: str) -> None:
    labels = {"app": "web"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "local.test/web:1"}]}}
    meta = {"name": "web", "namespace": namespace}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": pod}
    api.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})
    pods = wait_for(lambda: len(api.list("v1", "Pod", namespace, "app=web")) == 2, "two pods")
    assert pods


def test_an_unprivileged_service_account_is_refused(api: Client, namespace: str) -> None:
    with pytest.raises(Refused) as refused:
        api.as_service_account("default", namespace).list("v1", "Pod", namespace)
    assert (refused.value.code, refused.value.reason) == (403, "Forbidden")


def test_what_a_killed_owner_left_is_swept_up(tmp_path: Path) -> None:
    left = tmp_path / "left"
    sleeper = processes.start(left, "sleeper", ["sleep", "300"])
    gone = processes.Identity(pid=os.getpid(), start_ticks=1, boot="an earlier one")
    processes.write(left / "owner.json", gone)
    sweep(tmp_path)
    assert not processes.is_alive(sleeper)
    assert not left.exists()
