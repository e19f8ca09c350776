"""Nodes and the accelerators requested on them. One scan of all pods serves every resource and every reconcile of a
few seconds:
it is the only read that grows with the cluster, and the scheduler has the last word anyway.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from rightsizer_operator.cluster.port import NODES, PODS, Cluster, Object, Refused, listed
from rightsizer_operator.resource.base import count

FRESH_S = 10.0
UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"


@dataclass(frozen=True, slots=True)
class Capacity:
    """``requested``: by node name, then by extended resource; pods that no node has yet count under the empty name."""

    nodes: tuple[Object, ...] | None = ()
    """None: they may not be read."""
    requested: dict[str, Counter[str]] = field(default_factory=dict)

    def used(self, resource: str) -> dict[str, int]:
        return {node: counts[resource] for node, counts in self.requested.items() if counts[resource]}


class CapacityReader:
    """Reads at most once per FRESH_S and never twice at the same time. ``now_s`` is any clock in seconds."""

    def __init__(self, cluster: Cluster, namespaces: tuple[str, ...] = ()) -> None:
        self._cluster = cluster
        self._namespaces = namespaces or ("",)
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._capacity = Capacity()

    async def read(self, now_s: float) -> Capacity:
        async with self._lock:
            if abs(now_s - self._read_at) > FRESH_S:
                self._capacity = Capacity(await self._nodes(), await self._requested())
                self._read_at = now_s
        return self._capacity

    def stale(self) -> None:
        """A Job was created or deleted: what is known no longer holds."""
        self._read_at = float("-inf")

    async def _nodes(self) -> tuple[Object, ...] | None:
        try:
            return tuple(trimmed(node) for node in await listed(self._cluster, NODES, ""))
        except Refused:  # a namespaced install may not read nodes
            return None

    async def _requested(self) -> dict[str, Counter[str]]:
        totals: dict[str, Counter[str]] = {}
        for namespace in self._namespaces:
            async for page in self._cluster.pages(PODS, namespace, fields=UNFINISHED, page_size=100):
                for pod in page:
                    spec = pod.get("spec") or {}
                    totals.setdefault(spec.get("nodeName") or "", Counter()).update(requested(spec))
        return totals


def trimmed(node: Object) -> Object:
    """The node without its list of images and volumes, which is most of its size."""
    keep = ("allocatable", "capacity", "conditions", "nodeInfo")
    status = {key: value for key, value in (node.get("status") or {}).items() if key in keep}
    metadata = {key: value for key, value in (node.get("metadata") or {}).items() if key != "managedFields"}
    return {"metadata": metadata, "spec": node.get("spec") or {}, "status": status}


def requested(spec: Object) -> Counter[str]:
    """Extended resources a pod holds, as the scheduler counts them: sidecars run beside the containers, other init
    containers before.
    """
    running = _sum(spec.get("containers") or [])
    sidecars: Counter[str] = Counter()
    peak: Counter[str] = Counter()
    for container in spec.get("initContainers") or []:
        own = _extended(container)
        if container.get("restartPolicy") == "Always":
            sidecars += own
            peak |= sidecars
        else:
            peak |= sidecars + own
    return (running + sidecars) | peak


def _sum(containers: Iterable[Object]) -> Counter[str]:
    total: Counter[str] = Counter()
    for container in containers:
        total += _extended(container)
    return total


def _extended(container: Object) -> Counter[str]:
    resources = container.get("resources") or {}
    wanted = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return Counter({name: number for name, amount in wanted.items() if "/" in name and (number := count(amount))})
