"""The cluster a story runs on: an embedded node of our own, or the one a kubeconfig names. Whoever has one
has kubectl and helm for it.

A given cluster must run on this machine's file system (its node sees the caches at the same paths) and hold the
images; nothing is loaded
into it. That is so for a node started with ``python -m e2e.embedded up``.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from e2e.embedded import binaries
from e2e.embedded.node import Node
from e2e.images import build, environments, store
from e2e.stage import objects
from e2e.stage.kubectl import Failed, Kubectl, Object

Say = Callable[[str], None]
GB = 10**9
FRESH_GB, CACHED_GB = 25, 8
"""Free disk that a whole demo takes: where everything is downloaded and built, and where that is in the cache."""


class Unusable(RuntimeError):
    """Nothing can be run there, and nothing has been touched; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A node that we start and remove."""

    node: Node

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(kubeconfig=self.node.kubeconfig, bin=self.node.folder / "bin")

    def check(self) -> None:
        """Raises Unusable."""
        if os.geteuid() != 0:
            raise Unusable("a node that runs pods needs root on Linux: run this as root, or set KUBECONFIG")
        cache = store.cache_root()
        made = all(environments.path(name, cache).exists() for name in environments.MOUNTS)
        needed = CACHED_GB if made else FRESH_GB
        for folder in (cache, self.node.folder):
            check_room(folder, needed)

    def up(self, archives: Mapping[str, Path], slots: int, say: Say) -> None:
        self.node.up({objects.SLOT: slots}, say)
        have = self.node.images()
        for name, archive in archives.items():
            if build.reference(name) not in have:
                say(f"loading {build.reference(name)}")
                self.node.load_image(archive)

    def down(self) -> None:
        self.node.down()


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The cluster of $KUBECONFIG; its node is told how many engine slots it has, and is left as it is otherwise."""

    kubeconfig: str
    folder: Path

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(kubeconfig=self.kubeconfig, bin=self.folder / "bin")

    def check(self) -> None:
        """Raises Unusable."""
        self._reach()
        self._node()
        foreign = [name for name in (objects.NAMESPACE, objects.SYSTEM_NAMESPACE) if self._is_foreign(name)]
        if foreign:
            raise Unusable(
                f"the cluster of KUBECONFIG={self.kubeconfig} has a namespace {foreign[0]!r} that the demo did not "
                "make and would remove; unset KUBECONFIG to let it start a node of its own"
            )

    def up(self, archives: Mapping[str, Path], slots: int, say: Say) -> None:
        """Raises RuntimeError with what the cluster lacks."""
        node = self._node()
        say(f"using node {node['metadata']['name']} of {self.kubeconfig}")
        self._check_images(node, archives)
        key = objects.SLOT.replace("/", "~1")
        patch = [
            {"op": "add", "path": f"/status/{where}/{key}", "value": str(slots)}
            for where in ("capacity", "allocatable")
        ]
        self.kubectl.run(
            "patch", "node", node["metadata"]["name"], "--subresource=status", "--type=json", "-p", json.dumps(patch)
        )

    def _reach(self) -> None:
        """Programs in their place, and an answer; raises Unusable."""
        if not any(Path(one).is_file() for one in self.kubeconfig.split(os.pathsep)):
            raise Unusable(
                f"KUBECONFIG names no file: {self.kubeconfig}; correct it, or unset it for a node of its own"
            )
        (self.folder / "bin").mkdir(parents=True, exist_ok=True)
        for program, path in binaries.ensure(("kubectl", "helm")).items():
            link = self.folder / "bin" / program
            link.unlink(missing_ok=True)
            link.symlink_to(path)
        try:
            self.kubectl.run("get", "namespaces", "-o", "name", "--request-timeout=20s")
        except Failed as error:
            raise Unusable(f"the cluster of KUBECONFIG={self.kubeconfig} does not answer: {error}") from error

    def _is_foreign(self, namespace: str) -> bool:
        found = self.kubectl.run("get", "namespace", namespace, "-o", "json", "--ignore-not-found")
        return bool(found.strip()) and objects.OURS not in json.loads(found)["metadata"].get("labels", {})

    def _node(self) -> Object:
        nodes: list[Object] = json.loads(self.kubectl.run("get", "nodes", "-o", "json", "--request-timeout=20s"))[
            "items"
        ]
        if len(nodes) != 1:
            raise Unusable(
                f"the demo needs a cluster of one node on this machine, {self.kubeconfig} has {len(nodes)}; "
                "unset KUBECONFIG to let it start its own"
            )
        return nodes[0]

    def _check_images(self, node: Object, archives: Mapping[str, Path]) -> None:
        have = {name for image in node["status"].get("images", []) for name in image.get("names", [])}
        lacking = [name for name in archives if build.reference(name) not in have]
        if lacking:
            loads = "\n".join(f"  {build.reference(name)} from {archives[name]}" for name in lacking)
            raise RuntimeError(f"load these images into the cluster's node, then run this again:\n{loads}")

    def down(self) -> None:
        """Remove what the demo made in it: release, namespaces, volumes, CRDs. Raises Unusable."""
        self._reach()
        ours = self.kubectl.run("get", "namespaces", "-l", objects.OURS, "-o", "name").split()
        if not ours:
            raise Unusable(f"the cluster of KUBECONFIG={self.kubeconfig} holds nothing that the demo made")
        self.kubectl.run("delete", "namespaces,persistentvolumes", "-l", objects.OURS)
        self.kubectl.run(
            "delete",
            "clusterrole,clusterrolebinding,crd",
            "-l",
            "app.kubernetes.io/name=rightsizer",
            "--ignore-not-found",
        )


def chosen(environ: Mapping[str, str], name: str, folder: Path) -> Own | Given:
    """The given cluster where $KUBECONFIG is set, else a node of our own."""
    if stated := environ.get("KUBECONFIG"):
        return Given(
            kubeconfig=os.pathsep.join(str(Path(one).absolute()) for one in stated.split(os.pathsep)), folder=folder
        )
    return Own(node=Node(name))


def check_room(folder: Path, needed_gb: int) -> None:
    """Raises Unusable where the disk that will hold the folder has less room."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free_gb = shutil.disk_usage(there).free / GB
    if free_gb < needed_gb:
        raise Unusable(
            f"this takes about {needed_gb} GB of disk; {folder} has {free_gb:.1f} GB free. Make room, or set "
            "RIGHTSIZER_CACHE to a folder on a larger disk"
        )
