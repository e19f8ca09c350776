"""Rights that a namespaced install lacks are told apart from a cluster without nodes."""

from collections.abc import AsyncIterator
from typing import Any

from rightsizer_operator.cluster.accelerators import CapacityReader
from rightsizer_operator.cluster.port import NODES, Kind, Object, Refused


class Listing:
    """Pods of one node; nodes as given, or refused."""

    def __init__(self, nodes: list[Object] | None) -> None:
        self.nodes = nodes

    async def pages(self, kind: Kind, namespace: str, **_: Any) -> AsyncIterator[list[Object]]:
        if kind is NODES:
            if self.nodes is None:
                raise Refused("nodes is forbidden", 403)
            yield self.nodes
            return
        held = {"limits": {"acme.dev/slot": "1k"}}
        yield [{"spec": {"nodeName": "n", "containers": [{"resources": held}]}}]


async def test_nodes_that_may_not_be_read_are_unknown_not_absent() -> None:
    capacity = await CapacityReader(Listing(None), ("ml",)).read(0.0)  # type: ignore[arg-type]
    assert capacity.nodes is None
    assert capacity.used("acme.dev/slot") == {"n": 1000}


async def test_a_cluster_without_nodes_has_none() -> None:
    capacity = await CapacityReader(Listing([])).read(0.0)  # type: ignore[arg-type]
    assert capacity.nodes == ()
