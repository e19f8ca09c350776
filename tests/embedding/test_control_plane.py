"""The real control plane: two beside each other, and nothing left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.embedded import keeper, places, processes
from e2e.embedded.client import Client, Refused, wait_for
from e2e.embedded.controlplane import PROGRAMS, ControlPlane


def a_configmap(name: str, namespace: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}


def test_a_second_control_plane_runs_beside_the_first_and_leaves_nothing(
    control_plane: ControlPlane, api: Client, namespace: str, tmp_path: Path
) -> None:
    with ControlPlane(tmp_path / "second") as second:
        started = processes.recorded(second.folder)
        assert set(started) == {*PROGRAMS, keeper.NAME}
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
    keeper.sweep(tmp_path)
    assert not processes.is_alive(sleeper)
    assert not left.exists()


OWNER = """
import sys, time
from pathlib import Path
from e2e.embedded import keeper, processes
folder = Path(sys.argv[1])
keeper.own(folder)
keeper.start(folder)
processes.start(folder, "sleeper", ["sleep", "300"])
print("started", flush=True)
time.sleep(300)
"""


def test_a_killed_owner_takes_its_processes_and_its_folder_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "plane"
    command, environ = [sys.executable, "-c", OWNER, str(folder)], {**os.environ, "PYTHONPATH": str(places.REPOSITORY)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"started\n"
        started = processes.recorded(folder)
        assert all(processes.is_alive(process) for process in started.values())
        owner.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(processes.is_alive(process) for process in started.values()), "the end of the processes")
    assert not folder.exists()


def test_a_keeper_leaves_a_folder_alone_whose_owner_lives(tmp_path: Path) -> None:
    keeper.own(tmp_path)
    keeper.start(tmp_path)
    keeping = processes.recorded(tmp_path)[keeper.NAME]
    sleeper = processes.start(tmp_path, "sleeper", ["sleep", "300"])
    keeper.sweep(tmp_path.parent)
    assert processes.is_alive(keeping)
    assert processes.is_alive(sleeper)
    processes.stop(tmp_path, grace_s=0)
