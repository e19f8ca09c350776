"""One pass and everything around it: order of writes, repeats, crashes, faults, leadership, start-up.

What the phases decide is tested elsewhere; here they are small functions, or the real ones where a whole search is
played. What the cluster room makes of answers: tests/cluster_access.
"""

from collections.abc import AsyncIterator

import pytest

from e2e.embedded.controlplane import ControlPlane
from rightsizer_operator.cluster.kube import KubeCluster, configuration
from tests.cluster_access.conftest import storage_ready


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubeCluster]:
    """The operator's own client, with every right."""
    found = KubeCluster(await configuration(str(control_plane.kubeconfig)))
    await storage_ready(found)
    yield found
    await found.close()
