"""The cluster a story runs on: an embedded node of our own, or the one a kubeconfig names. Whoever has one
has kubectl and helm for it.

A given cluster must run on this machine's file system (its node sees the caches at the same paths) and hold the
images; nothing is loaded
into it. That is so for a node started with ``python -m e2e.embedded up``.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from e2e.embedded import binaries
from e2e.embedded.node import Node
from e2e.images import build
from e2e.stage import objects
from e2e.stage.kubectl import Kubectl, Object

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A node that we start and remove."""

    node: Node

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(kubeconfig=self.node.kubeconfig, bin=self.node.folder / "bin")

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

    kubeconfig: Path
    folder: Path

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(kubeconfig=self.kubeconfig, bin=self.folder / "bin")

    def up(self, archives: Mapping[str, Path], slots: int, say: Say) -> None:
        """Raises RuntimeError with what the cluster lacks."""
        programs = binaries.ensure(("kubectl", "helm"))
        (self.folder / "bin").mkdir(parents=True, exist_ok=True)
        for program, path in programs.items():
            link = self.folder / "bin" / program
            link.unlink(missing_ok=True)
            link.symlink_to(path)
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

    def _node(self) -> Object:
        nodes: list[Object] = json.loads(self.kubectl.run("get", "nodes", "-o", "json"))["items"]
        if len(nodes) != 1:
            raise RuntimeError(
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
        """Remove what the demo made in it: release, namespaces, volumes, CRDs."""
        self.kubectl.run("delete", "namespace", objects.NAMESPACE, objects.SYSTEM_NAMESPACE, "--ignore-not-found")
        volumes = [f"demo-{name}" for name in ("engine", "compress", "models")]
        self.kubectl.run("delete", "pv", *volumes, "--ignore-not-found")
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
        return Given(kubeconfig=Path(stated).absolute(), folder=folder)
    return Own(node=Node(name))
