"""The full node's pure parts: addresses, configuration, control groups, images. `make e2e` runs the node itself."""

import itertools
import json
import tarfile
import tomllib
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml

from e2e.embedded import cgroups, debian, enclosure, images, node, sites
from e2e.embedded.sites import Site

A_SITE = Site(folder=Path("/state"), index=3)


def networks(site: Site) -> list[str]:
    return [site.pod_network, site.service_network, site.link_network]


def test_no_two_clusters_share_an_address() -> None:
    every = [ip_network(one) for index in sites.INDEXES for one in networks(Site(folder=Path("/s"), index=index))]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(every, 2))


@pytest.mark.parametrize("index", [sites.INDEXES[0], sites.INDEXES[-1]])
def test_every_address_is_of_the_range_for_tests_of_network_devices(index: int) -> None:
    site = Site(folder=Path("/state"), index=index)
    reserved = ip_network("198.18.0.0/15")
    assert all(ip_network(one).subnet_of(reserved) for one in networks(site))  # type: ignore[arg-type]
    assert ip_address(site.plan.service_address) in ip_network(site.service_network)
    assert {ip_address(site.host_address), ip_address(site.node_address)} == set(ip_network(site.link_network).hosts())


def test_a_link_name_fits_the_kernel() -> None:
    assert all(len(Site(folder=Path("/s"), index=index).link) <= 15 for index in sites.INDEXES)


def test_pods_get_no_default_route() -> None:
    bridge = json.loads(sites.cni(A_SITE))["plugins"][0]
    assert bridge["isGateway"]
    assert "isDefaultGateway" not in bridge
    assert not bridge["ipMasq"]
    assert {route["dst"] for route in bridge["ipam"]["routes"]} == {"198.19.3.0/24", "198.18.67.0/30"}


def test_each_kubelet_keeps_its_pods_in_a_control_group_of_its_own() -> None:
    assert yaml.safe_load(sites.kubelet(A_SITE))["cgroupRoot"] == "/rightsizer-3"


def test_containerd_is_configured_in_its_folder() -> None:
    read = tomllib.loads(sites.containerd(A_SITE))
    assert read["root"] == "/state/containerd"
    runtime = read["plugins"]["io.containerd.cri.v1.runtime"]
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["BinaryName"] == "/state/bin/runc"


def test_the_machine_keeps_its_own_kernel_settings() -> None:
    script = enclosure.furnishing(A_SITE)
    assert "mount --bind /state/kernel/vm.overcommit_memory /proc/sys/vm/overcommit_memory" in script
    assert "sysctl" not in script


def test_nothing_inside_opens_a_connection_through_the_cable() -> None:
    script = enclosure.furnishing(A_SITE)
    assert script.count('oifname "uplink" ct state new reject') == 2
    assert "default" not in script


def test_only_a_kubelet_that_runs_now_makes_a_node_ready() -> None:
    condition = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:10Z"}
    told = {"status": {"conditions": [condition]}}
    heard = 1767225610.0
    assert node.says_ready(told, heard + 0.9)
    assert not node.says_ready(told, heard + 1)
    assert not node.says_ready({"status": {"conditions": [{**condition, "status": "False"}]}}, 0)
    assert not node.says_ready({}, 0)


def a_controller(root: Path, name: str) -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "cgroup.procs").touch()
    return folder


def test_on_version_1_the_group_is_made_in_every_hierarchy(tmp_path: Path) -> None:
    memory, cpuset = a_controller(tmp_path, "memory"), a_controller(tmp_path, "cpuset")
    for name, value in (("cpuset.cpus", "0-1"), ("cpuset.mems", "0")):
        (cpuset / name).write_text(value)
    (tmp_path / "no-hierarchy").mkdir()
    (cpuset / "pods").mkdir()  # the kernel fills a new group with these files
    (cpuset / "pods" / "cpuset.cpus").write_text("")
    (cpuset / "pods" / "cpuset.mems").write_text("")
    cgroups.make("pods", tmp_path)
    assert cgroups.roots(tmp_path) == [cpuset, memory]
    assert (memory / "pods").is_dir()
    assert (cpuset / "pods" / "cpuset.cpus").read_text() == "0-1"


def test_on_version_2_the_group_gets_the_controllers(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    cgroups.make("pods", tmp_path)
    assert cgroups.roots(tmp_path) == [tmp_path]
    assert (tmp_path / "pods").is_dir()
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"  # a plain file keeps the last request


def test_a_group_goes_with_those_below_it(tmp_path: Path) -> None:
    group = a_controller(tmp_path, "memory") / "pods"
    (group / "burstable" / "pod1").mkdir(parents=True)
    cgroups.remove("pods", tmp_path)
    assert not group.exists()


def test_the_same_contents_give_the_same_image(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "tool").write_text("#!/bin/sh\n")
    (root / "bin" / "tool").chmod(0o755)
    (root / "link").symlink_to("bin/tool")
    first = images.archive(tmp_path / "1.tar", "local.test/tool:1", root, {"Cmd": ["/bin/tool"]})
    second = images.archive(tmp_path / "2.tar", "local.test/tool:1", root, {"Cmd": ["/bin/tool"]})
    with tarfile.open(first) as one, tarfile.open(second) as two:
        assert one.getnames() == two.getnames()
        index = json.load(one.extractfile("index.json") or pytest.fail("no index"))
    assert index["manifests"][0]["annotations"] == {"io.containerd.image.name": "local.test/tool:1"}


def test_missing_packages_are_named_once(tmp_path: Path) -> None:
    needed = {str(tmp_path): "there", "/no/such/header.h": "lib-dev", "no-such-program": "lib-dev"}
    assert debian.missing(needed) == ["lib-dev"]
    assert debian.command(["lib-dev"])[-1] == "lib-dev"
