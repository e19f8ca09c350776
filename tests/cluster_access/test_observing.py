import datetime

import pytest

from e2e.embedded.client import Client, wait_for
from rightsizer_operator.cluster.accelerators import CapacityReader
from rightsizer_operator.cluster.gpu_reader import GpuReader
from rightsizer_operator.cluster.kube import KubeCluster
from rightsizer_operator.cluster.observe import observe
from rightsizer_operator.cluster.prometheus import DemandReader
from rightsizer_operator.settings import parsed
from rightsizer_operator.world import World
from tests.reconciling import stage

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SETTINGS = parsed({"trial": {"image": "trial"}, "compress": {"image": "compress"}})


async def look(cluster: KubeCluster, namespace: str, name: str = "support-chat") -> World:
    world = await observe(
        cluster, CapacityReader(cluster), DemandReader(None), GpuReader(None), SETTINGS, namespace, name, NOW
    )
    assert world is not None
    return world


async def test_a_resource_that_does_not_exist_has_no_world(cluster: KubeCluster, namespace: str) -> None:
    assert (
        await observe(
            cluster, CapacityReader(cluster), DemandReader(None), GpuReader(None), SETTINGS, namespace, "nothing", NOW
        )
        is None
    )


async def test_a_resource_alone_is_seen_alone(cluster: KubeCluster, api: Client, namespace: str) -> None:
    api.create(stage.infdep(namespace))
    world = await look(cluster, namespace)
    assert world.infdep.spec is not None
    assert (world.target, world.claim, world.run, world.run_names, world.jobs) == (None, None, None, (), ())


async def test_target_with_its_pods_and_replica_sets_and_claim_are_seen(
    cluster: KubeCluster, api: Client, namespace: str
) -> None:
    api.create(stage.claim(namespace))
    api.create(stage.target(namespace, replicas=2))
    api.create(stage.infdep(namespace))
    wait_for(lambda: len(api.list("v1", "Pod", namespace)) == 2, "two pods")
    world = await look(cluster, namespace)
    assert world.target is not None and world.target["metadata"]["managedFields"]
    assert world.claim is not None
    assert len(world.target_pods) == 2
    assert [found["metadata"]["ownerReferences"][0]["name"] for found in world.replica_sets] == ["support-chat"]


async def test_only_scalers_of_the_target_are_seen(cluster: KubeCluster, api: Client, namespace: str) -> None:
    api.create(stage.infdep(namespace))
    for name, target in (("ours", "support-chat"), ("other", "search")):
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
        spec = {"scaleTargetRef": reference, "maxReplicas": 3}
        manifest = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": spec}
        api.create({**manifest, "metadata": {"name": name, "namespace": namespace}})
    assert (await look(cluster, namespace)).scalers == ("HorizontalPodAutoscaler/ours",)


async def test_rivals_are_the_others_that_name_the_same_target(
    cluster: KubeCluster, api: Client, namespace: str
) -> None:
    api.create(stage.infdep(namespace))
    api.create(stage.infdep(namespace, "second"))
    api.create(stage.infdep(namespace, "elsewhere", targetRef={"name": "search"}))
    assert [rival.name for rival in (await look(cluster, namespace)).rivals] == ["second"]


async def test_the_newest_run_is_current_while_the_status_names_none(
    cluster: KubeCluster, api: Client, namespace: str
) -> None:
    owner = api.create(stage.infdep(namespace))
    api.create(stage.run(owner, "support-chat-0a1b2c3d-1"))
    api.create(stage.run(owner, "support-chat-0a1b2c3d-2"))
    world = await look(cluster, namespace)
    assert world.run is not None and world.run.name == "support-chat-0a1b2c3d-2"
    assert [name for name, _, _ in world.run_names] == ["support-chat-0a1b2c3d-1", "support-chat-0a1b2c3d-2"]


async def test_the_run_that_the_status_names_is_current(cluster: KubeCluster, api: Client, namespace: str) -> None:
    owner = api.create(stage.infdep(namespace))
    api.create(stage.run(owner, "support-chat-0a1b2c3d-1"))
    api.create(stage.run(owner, "support-chat-0a1b2c3d-2"))
    named = {"status": {"observedGeneration": 1, "runRef": {"name": "support-chat-0a1b2c3d-1"}}}
    api.patch(owner["apiVersion"], owner["kind"], "support-chat", namespace, body=named, subresource="status")
    world = await look(cluster, namespace)
    assert world.run is not None and world.run.name == "support-chat-0a1b2c3d-1"


async def test_runs_of_an_earlier_resource_of_the_same_name_are_not_ours(
    cluster: KubeCluster, api: Client, namespace: str
) -> None:
    owner = api.create(stage.infdep(namespace))
    other = api.create(stage.claim(namespace))
    foreign = stage.run(owner)
    foreign["metadata"]["ownerReferences"] = [stage.reference(other)]
    api.create(foreign)
    world = await look(cluster, namespace)
    assert (world.run, world.run_names) == (None, ())


async def test_only_jobs_that_the_run_owns_are_seen_with_their_pods(
    cluster: KubeCluster, api: Client, namespace: str
) -> None:
    owner = api.create(stage.infdep(namespace))
    run = api.create(stage.run(owner))
    other = api.create(stage.run(owner, "support-chat-0a1b2c3d-0"))
    named = {"status": {"observedGeneration": 1, "runRef": {"name": run["metadata"]["name"]}}}
    api.patch(owner["apiVersion"], owner["kind"], "support-chat", namespace, body=named, subresource="status")
    api.create(stage.job(run))
    foreign = stage.job(run, "support-chat-explore-99999999")
    foreign["metadata"]["ownerReferences"] = [stage.reference(other)]
    api.create(foreign)
    wait_for(lambda: len(api.list("v1", "Pod", namespace)) == 2, "pods of both Jobs")
    world = await look(cluster, namespace)
    assert [job["metadata"]["name"] for job in world.jobs] == ["support-chat-explore-11223344"]
    assert [pod["metadata"]["labels"]["job-name"] for pod in world.job_pods] == ["support-chat-explore-11223344"]


@pytest.fixture
def node(api: Client, namespace: str) -> stage.Object:
    name = f"node-{namespace}"
    api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    room = {"status": {"allocatable": {stage.ACCELERATOR: "8"}, "capacity": {stage.ACCELERATOR: "8"}}}
    yield api.patch("v1", "Node", name, body=room, subresource="status")
    api.delete("v1", "Node", name)


async def test_requested_accelerators_are_counted_by_node(
    cluster: KubeCluster, api: Client, namespace: str, node: stage.Object
) -> None:
    api.create(stage.infdep(namespace))
    name = node["metadata"]["name"]
    for number, amount in enumerate(("1", "2")):
        container = {"name": "engine", "image": "x", "resources": {"limits": {stage.ACCELERATOR: amount}}}
        spec = {"nodeName": name, "containers": [container], "tolerations": [{"operator": "Exists"}]}
        metadata = {"name": f"pod-{number}", "namespace": namespace}
        api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    world = await look(cluster, namespace)
    assert world.accelerators_used[name] == 3
    seen = next(found for found in world.nodes if found["metadata"]["name"] == name)
    assert seen["status"]["allocatable"][stage.ACCELERATOR] == "8"
