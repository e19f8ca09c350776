"""What the cluster room does with a real API server, and with the answers of one.

What a pass does with it: tests/reconciling.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from e2e.embedded.controlplane import ControlPlane
from rightsizer_operator.cluster.kube import KubeCluster, configuration
from rightsizer_operator.cluster.port import INFERENCE_DEPLOYMENTS, OPTIMIZATION_RUNS, Unavailable, listed


async def storage_ready(cluster: KubeCluster) -> None:
    """An established CRD still answers 429 (storage is initializing) for a moment."""
    for kind in (INFERENCE_DEPLOYMENTS, OPTIMIZATION_RUNS):
        for _ in range(600):
            try:
                await listed(cluster, kind, "default")
                break
            except Unavailable:
                await asyncio.sleep(0.1)


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubeCluster]:
    """The operator's own client, with every right."""
    found = KubeCluster(await configuration(str(control_plane.kubeconfig)))
    await storage_ready(found)
    yield found
    await found.close()
