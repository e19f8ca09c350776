"""A whole single-node Kubernetes that runs pods: control plane, containerd, kubelet, kube-proxy. Root on Linux.

Called by the demo, the scenarios and the verbs. `up` may be repeated at any time and goes on where it was; `down`
removes everything. All its state is in one folder; its processes live in an `enclosure`.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from e2e.embedded import binaries, cgroups, controlplane, debian, enclosure, images, places, processes, sites
from e2e.embedded.client import Client, Object, wait_for
from e2e.embedded.sites import Site

READY_LIMIT_S = 90.0


class Node:
    """One cluster, kept in `folder` (default build/clusters/<name>)."""

    def __init__(self, name: str = "demo", folder: Path | None = None) -> None:
        self.folder = (folder or places.BUILD / "clusters" / name).absolute()

    # --- up and down

    def up(self, resources: Mapping[str, int] | None = None, say: Callable[[str], None] = print) -> None:
        """Ready on return, with these extended resources on the node. Raises what stops it, with the remedy."""
        if os.geteuid() != 0:
            raise PermissionError("a node that runs pods needs root on Linux: run this with sudo")
        debian.ensure()
        programs = binaries.ensure(binaries.NODE)
        began = time.monotonic()

        def tell(what: str) -> None:
            say(f"{time.monotonic() - began:6.1f} s  {what}")

        processes.forget_dead(self.folder)
        here = self._enclose()
        self._furnish(here, programs)
        tell(f"namespaces, addresses and certificates (cluster {here.index})")
        prefix = enclosure.entry(self.folder)
        environ = {"PATH": f"{self.folder}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

        def start(name: str, *flags: str) -> None:
            processes.start(self.folder, name, [*prefix, str(programs[name]), *flags], environ)

        start("containerd", f"--config={self.folder}/conf/containerd.toml")
        controlplane.launch(here.plan, programs, prefix)
        tell("control plane ready")
        self._load_pause()
        since = 0.0 if "kubelet" in processes.recorded(self.folder) else time.time()
        start("kubelet", *sites.kubelet_command(here))
        start("kube-proxy", f"--config={self.folder}/conf/proxy.yaml")
        self._wait_ready(since)
        tell("node ready")
        if resources:
            self.advertise(resources)
            tell("advertises " + ", ".join(f"{name}={count}" for name, count in resources.items()))

    def down(self) -> None:
        """End every process and remove everything `up` made. Does nothing where nothing is."""
        here = self.site
        enclosure.close(self.folder)
        processes.stop(self.folder, grace_s=0)  # each entrance (nsenter) ends with what it watches
        if here is not None:
            _remove_link(here.link)
            cgroups.remove(here.cgroup)
        if self.folder.exists():
            shutil.rmtree(self.folder)
        with suppress(OSError):  # made by `up` where there was none; another's is not empty
            Path("/var/lib/kubelet").rmdir()

    def _enclose(self) -> Site:
        """The enclosure that stands, or a new one: at the recorded index, else at the first free one."""
        if (standing := self.site) and enclosure.is_open(self.folder):
            return standing
        enclosure.close(self.folder)  # half made, or of an earlier boot
        processes.stop(self.folder, grace_s=0)  # entrances into it that have not noticed yet
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        init = images.pause(places.cache(os.environ) / "bin")
        for index in [standing.index] if standing else sites.INDEXES:
            here = Site(folder=self.folder, index=index)
            if standing:
                _remove_link(here.link)
            try:
                enclosure.open_up(here, init)
            except enclosure.Taken:
                enclosure.close(self.folder)
                continue
            cgroups.remove(here.cgroup)  # of pods that ended with an earlier enclosure: the kubelet spends 3 s on each
            self._site_file.write_text(json.dumps({"index": index}))
            return here
        raise RuntimeError("no index is free: take a cluster down first (python -m e2e.embedded status --all)")

    def _furnish(self, here: Site, programs: Mapping[str, Path]) -> None:
        """Certificates, kubeconfigs, configuration, the programs under their plain names, the pods' control group."""
        authority = controlplane.prepare(here.plan)
        hosts = [here.node_address, "127.0.0.1", sites.NODE]
        authority.issue("kubelet", f"system:node:{sites.NODE}", ["system:nodes"], hosts)
        controlplane.write_kubeconfig(here.plan, authority, "kubelet", f"system:node:{sites.NODE}", ("system:nodes",))
        controlplane.write_kubeconfig(here.plan, authority, "proxy", "system:kube-proxy")
        files = {
            "conf/cni/10-embedded.conflist": sites.cni(here),
            "conf/containerd.toml": sites.containerd(here),
            "conf/kubelet.yaml": sites.kubelet(here),
            "conf/proxy.yaml": sites.proxy(here),
        }
        for name, text in files.items():
            _write_if_changed(self.folder / name, text)
        (self.folder / "bin").mkdir(exist_ok=True)
        for program, path in programs.items():
            link = self.folder / "bin" / program
            link.unlink(missing_ok=True)
            link.symlink_to(path)
        cgroups.make(here.cgroup)

    def _wait_ready(self, since: float) -> None:
        def ready() -> bool:
            processes.check(self.folder)
            node = self.admin.find("v1", "Node", sites.NODE)
            return node is not None and says_ready(node, since)

        wait_for(ready, f"node Ready; see {self.folder}/log/kubelet.log", READY_LIMIT_S, pause_s=0.1)

    def advertise(self, resources: Mapping[str, int]) -> None:
        """Extended resources without a device plugin: pods are counted against them, no device appears."""
        patch = [
            {"op": "add", "path": f"/status/{where}/{name.replace('/', '~1')}", "value": str(count)}
            for name, count in resources.items()
            for where in ("capacity", "allocatable")
        ]
        self.admin.patch("v1", "Node", sites.NODE, body=patch, how="json", subresource="status")

    # --- images

    def load_image(self, archive: Path) -> str:
        """Import an OCI or Docker archive into containerd; returns what was imported."""
        return enclosure.inside(self.folder, [*self._ctr, "images", "import", archive.absolute()])

    def images(self) -> list[str]:
        """Names of the images that pods can use."""
        return enclosure.inside(self.folder, [*self._ctr, "images", "list", "--quiet"]).split()

    def _load_pause(self) -> None:
        wait_for(self._containerd_answers, f"containerd; see {self.folder}/log/containerd.log")
        if sites.PAUSE_IMAGE in self.images():
            return
        root = self.folder / "pause-image"
        root.mkdir(exist_ok=True)
        shutil.copy(images.pause(places.cache(os.environ) / "bin"), root / "pause")
        settings = {"Entrypoint": ["/pause"], "User": "65535:65535"}
        self.load_image(images.archive(self.folder / "pause.tar", sites.PAUSE_IMAGE, root, settings))

    def _containerd_answers(self) -> bool:
        processes.check(self.folder)
        try:
            enclosure.inside(self.folder, [*self._ctr, "version"])
        except RuntimeError:
            return False
        return True

    @property
    def _ctr(self) -> list[str]:
        return [f"{self.folder}/bin/ctr", "--address", sites.CONTAINERD_SOCKET, "--namespace", "k8s.io"]

    # --- use

    @property
    def _site_file(self) -> Path:
        return self.folder / "site.json"

    @property
    def site(self) -> Site | None:
        """Where the cluster is; None before the first `up`."""
        try:
            return Site(folder=self.folder, index=json.loads(self._site_file.read_text())["index"])
        except FileNotFoundError:
            return None

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "admin.kubeconfig"

    @property
    def admin(self) -> Client:
        """A client with every right; raises `FileNotFoundError` before the first `up`."""
        if (here := self.site) is None:
            raise FileNotFoundError(f"no cluster in {self.folder}")
        return controlplane.admin(here.plan)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Output of kubectl with every right; raises `RuntimeError` with its error output."""
        command = [str(self.folder / "bin" / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def status(self) -> Object:
        """What runs: index, addresses, each process with whether it is alive."""
        here = self.site
        alive = {name: processes.is_alive(process) for name, process in processes.recorded(self.folder).items()}
        place = {} if here is None else {"index": here.index, "server": here.plan.server, "link": here.link}
        return {"folder": str(self.folder), **place, "kubeconfig": str(self.kubeconfig), "processes": alive}


def every(parent: Path = places.BUILD / "clusters") -> list[Node]:
    """All clusters of this checkout."""
    return [Node(folder=record.parent) for record in sorted(parent.glob("*/pid"))]


def says_ready(node: Object, since: float) -> bool:
    """Whether the node is Ready by word of a kubelet that runs since then (Unix time), not of an earlier one."""
    for one in node.get("status", {}).get("conditions") or []:
        if one["type"] == "Ready":
            heard = datetime.fromisoformat(one["lastHeartbeatTime"]).timestamp()
            return bool(one["status"] == "True" and heard >= int(since))
    return False


def _write_if_changed(file: Path, text: str) -> None:
    """kube-proxy ends when its configuration file is touched."""
    if not file.exists() or file.read_text() != text:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def _remove_link(name: str) -> None:
    """Both ends of the cable. The kernel would take them away with the namespace, but that can be minutes later."""
    if Path(f"/sys/class/net/{name}").exists():
        subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)  # gone just now: no error
    wait_for(lambda: not Path(f"/sys/class/net/{name}").exists(), f"link {name} to go")
