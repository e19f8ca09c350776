import pytest

from e2e.embedded.client import Client
from rightsizer_operator.cluster import parse, statuses
from rightsizer_operator.cluster.kube import KubeCluster
from rightsizer_operator.cluster.port import Conflict
from rightsizer_operator.resource.status import Configuration, InferenceDeploymentStatus, RunRef
from rightsizer_operator.world import InferenceDeployment
from tests.reconciling import stage


def read(api: Client, namespace: str) -> InferenceDeployment:
    return parse.inference_deployment(
        api.get("rightsizer.dev/v1alpha1", "InferenceDeployment", "support-chat", namespace)
    )


async def test_a_written_status_reads_as_it_was_meant(cluster: KubeCluster, api: Client, namespace: str) -> None:
    api.create(stage.infdep(namespace))
    first = InferenceDeploymentStatus(
        observed_generation=1, activity="planning", current=Configuration(gpus=4, cost_per_hour="10")
    )
    assert await statuses.write_resource(cluster, read(api, namespace), first)
    assert read(api, namespace).status == first
    second = InferenceDeploymentStatus(
        observed_generation=1, current=Configuration(gpus=2), run_ref=RunRef(name="support-chat-0a1b2c3d-1")
    )
    assert await statuses.write_resource(cluster, read(api, namespace), second)
    assert read(api, namespace).status == second


async def test_an_unchanged_status_is_not_written(cluster: KubeCluster, api: Client, namespace: str) -> None:
    before = parse.inference_deployment(api.create(stage.infdep(namespace)))
    assert not await statuses.write_resource(cluster, before, before.status)
    assert read(api, namespace).resource_version == before.resource_version


async def test_a_status_decided_on_an_older_object_is_not_written(
    cluster: KubeCluster, api: Client, namespace: str
) -> None:
    before = parse.inference_deployment(api.create(stage.infdep(namespace)))
    body = {"spec": {"paused": True}}
    api.patch("rightsizer.dev/v1alpha1", "InferenceDeployment", "support-chat", namespace, body=body)
    with pytest.raises(Conflict):
        await statuses.write_resource(cluster, before, InferenceDeploymentStatus(observed_generation=1))


async def test_a_run_status_write_gives_the_version_of_the_next(
    cluster: KubeCluster, api: Client, namespace: str
) -> None:
    run = parse.optimization_run(api.create(stage.run(api.create(stage.infdep(namespace)))))
    status = run.status.model_copy(update={"phase": "Measuring"})
    version = await statuses.write_run(cluster, namespace, run, status)
    stored = api.get("rightsizer.dev/v1alpha1", "OptimizationRun", run.name, namespace)
    assert stored["metadata"]["resourceVersion"] == version != run.resource_version
    assert parse.optimization_run(stored).status == status


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {}, {"a": None}),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": 3}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"c": None}}),
        ({"a": [1]}, {"a": [1, 2]}, {"a": [1, 2]}),
        ({"a": {"b": 1}}, {"a": {"b": 1}}, {}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_a_merge_patch_holds_the_difference(old: stage.Object, new: stage.Object, patch: stage.Object) -> None:
    assert statuses.merge_patch(old, new) == patch
