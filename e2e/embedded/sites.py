"""Addresses of one full node as pure functions of its folder and index, and the configuration files of its programs.

Called by `node` and `enclosure`. Starts nothing, reads nothing. Every cluster of a machine has its own index, hence its
own addresses; the ports are the same: each has its own network namespace.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from e2e.embedded import commands

NODE = "node-1"
PAUSE_IMAGE = "local.test/pause:1"
CNI_PLUGINS = "/usr/lib/cni"
# Inside the node's mount namespace, where /run is its own.
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
INDEXES = range(64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One cluster with a full node. Networks are of the range reserved for tests of network devices (RFC 2544)."""

    folder: Path
    index: int

    @property
    def link(self) -> str:
        """The host's end of the cable into the node's network namespace."""
        return f"rszr{self.index}"

    @property
    def cgroup(self) -> str:
        """The control group, directly under the root, that holds every pod."""
        return f"rightsizer-{self.index}"

    @property
    def link_network(self) -> str:
        return f"198.18.{64 + self.index}.0/30"

    @property
    def host_address(self) -> str:
        return f"198.18.{64 + self.index}.1"

    @property
    def node_address(self) -> str:
        return f"198.18.{64 + self.index}.2"

    @property
    def pod_network(self) -> str:
        return f"198.18.{self.index}.0/24"

    @property
    def service_network(self) -> str:
        return f"198.19.{self.index}.0/24"

    @property
    def plan(self) -> commands.Plan:
        return commands.Plan(
            folder=self.folder,
            address=self.node_address,
            api_port=6443,
            etcd_port=2379,
            etcd_peer_port=2380,
            service_network=self.service_network,
            service_address=f"198.19.{self.index}.1",
        )


def cni(site: Site) -> str:
    """Pods hang on a bridge; they get routes to services and to the node, and no default route: nothing leaves."""
    routes = [{"dst": site.service_network}, {"dst": site.link_network}]
    ipam = {
        "type": "host-local",
        "dataDir": f"{site.folder}/addresses",
        "ranges": [[{"subnet": site.pod_network}]],
        "routes": routes,
    }
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "ipMasq": False, "hairpinMode": True, "ipam": ipam}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "1.0.0", "name": "embedded", "plugins": [bridge, portmap]}, indent=1)


def containerd(site: Site) -> str:
    return f"""\
version = 3
root = "{site.folder}/containerd"
state = "/run/containerd/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.nri.v1.nri",
]
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{PAUSE_IMAGE}"
[plugins."io.containerd.cri.v1.runtime"]
  enable_selinux = false
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  # Without CAP_SYS_RESOURCE nobody can lower oom_score_adj, and every sandbox would fail.
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{CNI_PLUGINS}"]
    conf_dir = "{site.folder}/conf/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = "{site.folder}/bin/runc"
        SystemdCgroup = false
"""


def kubelet(site: Site) -> str:
    pki = site.plan.pki
    reserve = {"nodefs.available": "1Gi", "imagefs.available": "1Gi", "memory.available": "100Mi"}
    settings: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{site.cgroup}",  # each cluster its own: a kubelet ends pods it does not know
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "address": site.node_address,
        "readOnlyPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki}/authority.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{pki}/kubelet.key",
        "resolvConf": "",
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "seccompDefault": True,
        "evictionHard": {**reserve, "nodefs.inodesFree": "1%", "imagefs.inodesFree": "1%"},
        "imageGCHighThresholdPercent": 100,  # images come from files: one collected cannot be pulled again
        "nodeStatusUpdateFrequency": "5s",
        "shutdownGracePeriod": "0s",
        "enforceNodeAllocatable": ["pods"],
    }
    return yaml.safe_dump(settings, sort_keys=False)


def kubelet_command(site: Site) -> list[str]:
    return [
        f"--config={site.folder}/conf/kubelet.yaml",
        f"--kubeconfig={site.plan.kubeconfig('kubelet')}",
        f"--hostname-override={NODE}",
        f"--node-ip={site.node_address}",
        f"--root-dir={site.folder}/kubelet",
        f"--cert-dir={site.plan.pki}",
        "--v=1",
    ]


def proxy(site: Site) -> str:
    settings: dict[str, Any] = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(site.plan.kubeconfig("proxy"))},
        "mode": "nftables",
        "clusterCIDR": site.pod_network,
        "hostnameOverride": NODE,
        "nodePortAddresses": [f"{site.node_address}/32"],
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "conntrack": {"maxPerCore": 0, "min": 0},
    }
    return yaml.safe_dump(settings, sort_keys=False)
