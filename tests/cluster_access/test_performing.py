import pytest

from e2e.embedded.client import Client, wait_for
from rightsizer_operator.actions import ApplyTarget, CreateJob, CreateRun, DeleteJob, DeleteRun
from rightsizer_operator.cluster.kube import KubeCluster
from rightsizer_operator.cluster.perform import perform
from rightsizer_operator.cluster.port import FIELD_MANAGER, ApplyConflict, Conflict, Refused
from tests.reconciling import stage


@pytest.fixture
def owner(api: Client, namespace: str) -> stage.Object:
    return api.create(stage.infdep(namespace))


@pytest.fixture
def run(api: Client, owner: stage.Object) -> stage.Object:
    return api.create(stage.run(owner))


async def test_creating_a_run_twice_makes_one(
    cluster: KubeCluster, api: Client, namespace: str, owner: stage.Object
) -> None:
    for _ in range(2):
        await perform(cluster, namespace, CreateRun(manifest=stage.run(owner)))
    assert len(api.list("rightsizer.dev/v1alpha1", "OptimizationRun", namespace)) == 1


async def test_creating_a_job_twice_makes_one(
    cluster: KubeCluster, api: Client, namespace: str, run: stage.Object
) -> None:
    for _ in range(2):
        await perform(cluster, namespace, CreateJob(manifest=stage.job(run)))
    assert len(api.list("batch/v1", "Job", namespace)) == 1


async def test_a_job_of_the_same_name_with_another_owner_is_left_alone(
    cluster: KubeCluster, api: Client, namespace: str, run: stage.Object
) -> None:
    foreign = stage.job(run)
    del foreign["metadata"]["ownerReferences"]
    api.create(foreign)
    with pytest.raises(Refused, match="belongs to somebody else"):
        await perform(cluster, namespace, CreateJob(manifest=stage.job(run)))


async def test_an_invalid_job_is_refused_with_the_server_s_words(
    cluster: KubeCluster, namespace: str, run: stage.Object
) -> None:
    manifest = stage.job(run)
    manifest["spec"]["template"]["spec"]["restartPolicy"] = "Always"
    with pytest.raises(Refused, match="restartPolicy"):
        await perform(cluster, namespace, CreateJob(manifest=manifest))


async def test_a_job_beyond_the_quota_is_refused_with_the_figures(
    cluster: KubeCluster, api: Client, namespace: str, run: stage.Object
) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": namespace}}
    api.create({**quota, "spec": {"hard": {"count/jobs.batch": "0"}}})
    wait_for(lambda: api.get("v1", "ResourceQuota", "none", namespace).get("status", {}).get("hard"), "the quota")
    with pytest.raises(Refused, match=r"exceeded quota.*count/jobs.batch=1.*limited: count/jobs.batch=0"):
        await perform(cluster, namespace, CreateJob(manifest=stage.job(run)))


async def test_deleting_a_job_takes_its_pods_and_may_be_repeated(
    cluster: KubeCluster, api: Client, namespace: str, run: stage.Object
) -> None:
    job = api.create(stage.job(run))
    wait_for(lambda: api.list("v1", "Pod", namespace), "the pod")
    action = DeleteJob(name=job["metadata"]["name"], uid=job["metadata"]["uid"])
    await perform(cluster, namespace, action)
    wait_for(lambda: not api.list("v1", "Pod", namespace), "the pod to go")
    await perform(cluster, namespace, action)
    assert api.list("batch/v1", "Job", namespace) == []


async def test_a_later_job_of_the_same_name_is_not_deleted(
    cluster: KubeCluster, api: Client, namespace: str, run: stage.Object
) -> None:
    job = api.create(stage.job(run))
    await perform(cluster, namespace, DeleteJob(name=job["metadata"]["name"], uid="of-an-earlier-one"))
    assert len(api.list("batch/v1", "Job", namespace)) == 1


async def test_deleting_a_run_lets_its_jobs_be_collected(
    cluster: KubeCluster, api: Client, namespace: str, run: stage.Object
) -> None:
    await perform(cluster, namespace, DeleteRun(name=run["metadata"]["name"], uid=run["metadata"]["uid"]))
    assert api.list("rightsizer.dev/v1alpha1", "OptimizationRun", namespace) == []


def rewrite(target: stage.Object, *, force: bool = False, image: str = "vllm/vllm-openai:v0.12.0") -> ApplyTarget:
    container = {"name": "engine", "image": image}
    patch = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": target["metadata"]["name"]},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    return ApplyTarget(name=target["metadata"]["name"], uid=target["metadata"]["uid"], patch=patch, force=force)


async def test_a_conflict_names_the_managers_and_writes_nothing(
    cluster: KubeCluster, api: Client, namespace: str
) -> None:
    before = api.apply(stage.target(namespace), manager="kubectl")
    with pytest.raises(ApplyConflict) as found:
        await perform(cluster, namespace, rewrite(before))
    assert found.value.managers == ("kubectl",)
    after = api.get("apps/v1", "Deployment", "support-chat", namespace)
    assert after["spec"] == before["spec"]
    assert FIELD_MANAGER not in {entry["manager"] for entry in after["metadata"]["managedFields"]}


async def test_with_force_the_fields_are_taken_over_and_the_others_kept(
    cluster: KubeCluster, api: Client, namespace: str
) -> None:
    before = api.apply(stage.target(namespace), manager="kubectl")
    await perform(cluster, namespace, rewrite(before, force=True))
    after = api.get("apps/v1", "Deployment", "support-chat", namespace)
    container = after["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "vllm/vllm-openai:v0.12.0"
    assert container["args"] == before["spec"]["template"]["spec"]["containers"][0]["args"]
    assert FIELD_MANAGER in {entry["manager"] for entry in after["metadata"]["managedFields"]}


async def test_applying_the_same_twice_changes_nothing(cluster: KubeCluster, api: Client, namespace: str) -> None:
    before = api.apply(stage.target(namespace), manager="kubectl")
    await perform(cluster, namespace, rewrite(before, force=True))
    once = api.get("apps/v1", "Deployment", "support-chat", namespace)
    await perform(cluster, namespace, rewrite(before, force=True))
    twice = api.get("apps/v1", "Deployment", "support-chat", namespace)
    assert once["metadata"]["generation"] == twice["metadata"]["generation"]


async def test_a_target_made_anew_is_not_written(cluster: KubeCluster, api: Client, namespace: str) -> None:
    old = api.create(stage.target(namespace, replicas=0))
    api.delete("apps/v1", "Deployment", "support-chat", namespace)
    wait_for(lambda: not api.find("apps/v1", "Deployment", "support-chat", namespace), "the deletion")
    new = api.create(stage.target(namespace, replicas=0))
    with pytest.raises(Conflict, match="made anew"):
        await perform(cluster, namespace, rewrite(old, force=True))
    assert api.get("apps/v1", "Deployment", "support-chat", namespace)["spec"] == new["spec"]


async def test_a_deleted_target_is_not_made_again(cluster: KubeCluster, api: Client, namespace: str) -> None:
    old = api.create(stage.target(namespace, replicas=0))
    api.delete("apps/v1", "Deployment", "support-chat", namespace)
    wait_for(lambda: not api.find("apps/v1", "Deployment", "support-chat", namespace), "the deletion")
    with pytest.raises(Conflict, match="uid"):
        await perform(cluster, namespace, rewrite(old, force=True))
    assert api.find("apps/v1", "Deployment", "support-chat", namespace) is None
