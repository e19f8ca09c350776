"""The embedded node itself: pods run, are counted, limited and closed in; a killed node goes on; nothing stays behind.

The product is not involved. The pods run one small static program (probe.c), so that no base image is needed.
"""

import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.embedded import enclosure, images, processes
from e2e.embedded.client import Client, Object, Refused, wait_for
from e2e.embedded.node import Node

pytestmark = pytest.mark.timeout(300)
IMAGE = "local.test/probe:1"
SLOT = "rightsizer.dev/engine-slot"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    made = Node("scenario-node")
    made.up({SLOT: 2})
    try:
        made.load_image(probe_image(tmp_path_factory.mktemp("image")))
        yield made
    finally:
        made.down()


@pytest.fixture
def api(node: Node) -> Client:
    return node.admin


def probe_image(scratch: Path) -> Path:
    root = scratch / "root"
    root.mkdir()
    source = Path(__file__).with_name("probe.c")
    subprocess.run(["gcc", "-static", "-Os", "-s", "-o", root / "probe", source], check=True)
    return images.archive(scratch / "probe.tar", IMAGE, root, {"Entrypoint": ["/probe"], "User": "1000:1000"})


def a_pod(name: str, *words: str, limits: dict[str, str] | None = None, **spec: Any) -> Object:
    container: Object = {"name": "probe", "image": IMAGE, "args": list(words), "imagePullPolicy": "Never"}
    container["resources"] = {"limits": limits or {}}
    labels = {"app": name}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }


def terminated(api: Client, name: str) -> Object:
    """How the pod's only container ended, once it has."""

    def ending() -> Object | None:
        statuses = api.get("v1", "Pod", name, "default")["status"].get("containerStatuses") or [{}]
        found: Object | None = statuses[0].get("state", {}).get("terminated")
        return found

    return wait_for(ending, f"the end of pod {name}", 60) or {}


def called(node: Node, name: str, address: str, port: int) -> str:
    """What a pod that calls this address tells as its last word."""
    node.admin.create(a_pod(name, "call", address, str(port)))
    message: str = terminated(node.admin, name)["message"]
    return message


def test_a_pod_runs_and_its_last_word_is_read(api: Client) -> None:
    api.create(a_pod("says", "say"))
    ended = terminated(api, "says")
    assert (ended["exitCode"], ended["message"]) == (0, "done")


def test_a_pod_over_its_memory_limit_is_told_so(api: Client) -> None:
    api.create(a_pod("hogs", "hog", limits={"memory": "32Mi"}))
    assert terminated(api, "hogs")["reason"] == "OOMKilled"


def test_pods_are_counted_against_an_advertised_resource(api: Client) -> None:
    api.create(a_pod("fits", "say", limits={SLOT: "2"}))
    api.create(a_pod("waits", "say", limits={SLOT: "3"}))
    assert terminated(api, "fits")["exitCode"] == 0

    def why() -> str:
        conditions = api.get("v1", "Pod", "waits", "default")["status"].get("conditions") or [{}]
        return str(conditions[0].get("message", ""))

    wait_for(lambda: f"Insufficient {SLOT}" in why(), "the reason why the pod waits")


def test_a_restricted_namespace_refuses_what_breaks_its_rules(api: Client) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "strict", "labels": labels}})
    pod = a_pod("breaks", "say")
    pod["metadata"]["namespace"] = "strict"
    with pytest.raises(Refused, match="violates PodSecurity"):
        api.create(pod)


def test_the_host_reaches_a_service_and_a_pod_the_api_server(node: Node, api: Client) -> None:
    api.create(a_pod("serves", "serve", "8000"))
    spec = {"selector": {"app": "serves"}, "ports": [{"port": 80, "targetPort": 8000}]}
    meta = {"name": "web", "namespace": "default"}
    address = api.create({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})["spec"]["clusterIP"]
    assert wait_for(lambda: answer_of(f"http://{address}/"), "an answer of the service", 60) == b"hello"
    assert called(node, "calls-service", address, 80) == "reached"
    here = node.site
    assert here is not None
    assert called(node, "calls-api", here.plan.service_address, 443) == "reached"


def answer_of(url: str) -> bytes:
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=2) as answer:
            body: bytes = answer.read()
            return body
    except OSError:
        return b""


def test_a_pod_reaches_neither_the_host_nor_anything_beyond(node: Node) -> None:
    here = node.site
    assert here is not None
    with socket.create_server((here.host_address, 0)) as listener:
        host = called(node, "calls-host", here.host_address, listener.getsockname()[1])
    assert host == "Connection refused"
    assert called(node, "calls-out", "203.0.113.1", 80) == "Network is unreachable"


def test_a_node_whose_processes_were_all_killed_goes_on_with_its_pods(node: Node, api: Client) -> None:
    api.create(a_pod("returns", "serve", "8001", restartPolicy="Always"))
    wait_for(lambda: is_running(api, "returns", restarts=0), "pod returns to run", 60)
    holder = processes.recorded(node.folder)[enclosure.HOLDER]
    os.kill(holder.pid, signal.SIGKILL)
    wait_for(lambda: not processes.is_alive(holder), "the enclosure has ended", 10)
    node.up()
    wait_for(lambda: is_running(api, "returns", restarts=1), "pod returns to run again", 60)
    assert SLOT in api.get("v1", "Node", "node-1")["status"]["allocatable"]


def is_running(api: Client, name: str, restarts: int) -> bool:
    statuses = api.get("v1", "Pod", name, "default")["status"].get("containerStatuses") or [{}]
    return statuses[0].get("restartCount") == restarts and "running" in statuses[0].get("state", {})


def test_another_node_beside_it_leaves_nothing_behind(node: Node, tmp_path: Path) -> None:
    other = Node(folder=tmp_path / "other")
    other.up()
    there, here = other.site, node.site
    assert there is not None
    assert here is not None
    assert there.index != here.index
    running = processes.recorded(other.folder)
    assert len(running) == 8
    other.down()
    assert not any(processes.is_alive(process) for process in running.values())
    assert not other.folder.exists()
    assert not Path(f"/sys/class/net/{there.link}").exists()
    assert list(Path("/sys/fs/cgroup").glob(f"**/{there.cgroup}")) == []
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    assert all(processes.is_alive(process) for process in processes.recorded(node.folder).values())
