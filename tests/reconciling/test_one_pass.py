from dataclasses import replace

import pytest

from e2e.embedded.client import Client
from rightsizer_operator.actions import Action, ApplyTarget, CreateJob, CreateRun, DeleteJob, EmitEvent
from rightsizer_operator.cluster import parse
from rightsizer_operator.cluster.kube import KubeCluster
from rightsizer_operator.cluster.port import ApplyConflict, Refused
from rightsizer_operator.lease import LeaderOnly, LeadershipLost, Lease
from rightsizer_operator.reconcile import Advance, paced
from rightsizer_operator.resource.conditions import Condition, find, merged
from rightsizer_operator.resource.run import RunStatus, TrialRecord
from rightsizer_operator.work_queue import Key, Retry
from rightsizer_operator.world import Step, World
from tests.reconciling import stage
from tests.reconciling.faults import FaultyCluster
from tests.reconciling.shell import Clock, reconciler, settled

KIND = ("rightsizer.dev/v1alpha1", "InferenceDeployment", "support-chat")


@pytest.fixture
def watched(cluster: KubeCluster) -> FaultyCluster:
    """The real cluster, with its writes on record."""
    return FaultyCluster(cluster=cluster)


@pytest.fixture
def key(namespace: str) -> Key:
    return Key(namespace, "support-chat")


def status(api: Client, namespace: str) -> parse.InferenceDeploymentStatus:
    return parse.inference_deployment(api.get(*KIND, namespace)).status


def acting(*actions: Action) -> Advance:
    def advance(world: World) -> Step:
        return replace(settled(world), actions=actions)

    return advance


async def test_the_second_pass_writes_nothing(watched: FaultyCluster, api: Client, namespace: str, key: Key) -> None:
    owner = api.create(stage.infdep(namespace))
    found = reconciler(watched, acting(CreateRun(manifest=stage.run(owner))))
    await found.reconcile(key)
    assert watched.writes == [
        "create OptimizationRun support-chat-0a1b2c3d-1",
        "merge InferenceDeployment support-chat",
    ]
    watched.writes.clear()
    found.advance = settled
    await found.reconcile(key)
    assert watched.writes == []


async def test_run_status_comes_first_then_actions_then_the_resource_status(
    watched: FaultyCluster, api: Client, namespace: str, key: Key
) -> None:
    run = api.create(stage.run(api.create(stage.infdep(namespace))))
    job = api.create(stage.job(run))
    action = DeleteJob(name=job["metadata"]["name"], uid=job["metadata"]["uid"])

    def harvest(world: World) -> Step:
        record = TrialRecord(job=action.name, purpose="Explore", subject="as-is", attempt=1, outcome="Succeeded")
        return replace(settled(world), actions=(action,), run_status=RunStatus(phase="Measuring", trials=(record,)))

    found = reconciler(watched, harvest)
    await found.reconcile(key)
    assert watched.writes == [
        "merge OptimizationRun support-chat-0a1b2c3d-1",
        "delete Job support-chat-explore-11223344",
        "merge InferenceDeployment support-chat",
    ]
    sample = found.telemetry.registry.get_sample_value
    assert sample("rightsizer_jobs_total", {"purpose": "Explore", "outcome": "Succeeded"}) == 1


async def test_a_gone_resource_is_forgotten(watched: FaultyCluster, key: Key) -> None:
    assert await reconciler(watched, settled).reconcile(key) is None
    assert watched.writes == []


async def test_a_conflict_of_ownership_comes_back_to_the_phases_in_the_same_pass(
    watched: FaultyCluster, api: Client, namespace: str, key: Key
) -> None:
    target = api.apply(stage.target(namespace), manager="argocd-controller")
    api.create(stage.infdep(namespace))
    patch = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 2}}

    def advance(world: World) -> Step:
        if world.conflicts:
            conflict = Condition(
                type="OwnershipConflict", status="True", reason="OwnershipConflict", message=" ".join(world.conflicts)
            )
            conditions = merged(world.infdep.status.conditions, (conflict,), world.now)
            return Step(status=world.infdep.status.model_copy(update={"conditions": conditions}))
        apply = ApplyTarget(name="support-chat", uid=target["metadata"]["uid"], patch=patch, force=False)
        return replace(settled(world), actions=(apply,))

    found = reconciler(watched, advance)
    await found.reconcile(key)
    condition = find(status(api, namespace).conditions, "OwnershipConflict")
    assert condition is not None and condition.message == "argocd-controller"
    assert watched.writes == ["merge InferenceDeployment support-chat"]
    watched.writes.clear()
    await found.reconcile(key)
    assert watched.writes == []


async def test_phases_that_insist_on_a_conflicting_write_are_stopped(
    watched: FaultyCluster, api: Client, namespace: str, key: Key
) -> None:
    target = api.apply(stage.target(namespace), manager="argocd-controller")
    api.create(stage.infdep(namespace))
    patch = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 2}}
    apply = ApplyTarget(name="support-chat", uid=target["metadata"]["uid"], patch=patch, force=False)
    with pytest.raises(ApplyConflict):
        await reconciler(watched, acting(apply)).reconcile(key)
    assert find(status(api, namespace).conditions, "Stalled").reason == "WriteRefused"  # type: ignore[union-attr]


async def test_a_refused_job_is_said_once_with_the_server_s_words(
    watched: FaultyCluster, api: Client, namespace: str, key: Key
) -> None:
    run = api.create(stage.run(api.create(stage.infdep(namespace))))
    manifest = stage.job(run)
    manifest["spec"]["template"]["spec"]["restartPolicy"] = "Always"
    found = reconciler(watched, acting(CreateJob(manifest=manifest)))
    for _ in range(2):
        with pytest.raises(Refused):
            await found.reconcile(key)
    stalled = find(status(api, namespace).conditions, "Stalled")
    assert stalled is not None and stalled.reason == "JobRefused" and "restartPolicy" in stalled.message
    assert watched.writes == ["merge InferenceDeployment support-chat"]


async def test_a_fault_in_a_phase_becomes_a_condition_and_a_repeat(
    watched: FaultyCluster, api: Client, namespace: str, key: Key
) -> None:
    api.create(stage.infdep(namespace))

    def broken(world: World) -> Step:
        raise KeyError("containers")

    with pytest.raises(Retry):
        await reconciler(watched, broken).handle(key)
    stalled = find(status(api, namespace).conditions, "Stalled")
    assert stalled is not None and stalled.reason == "InternalError" and "containers" in stalled.message


async def test_without_the_lease_nothing_is_written_and_the_process_is_to_end(
    cluster: KubeCluster, api: Client, namespace: str, key: Key
) -> None:
    api.create(stage.infdep(namespace))
    lost = Lease(cluster=cluster, namespace=namespace, name="rightsizer", identity="a")
    with pytest.raises(LeadershipLost):
        await reconciler(LeaderOnly(cluster, lost), settled).handle(key)
    assert "status" not in api.get(*KIND, namespace)


async def test_a_resource_changed_meanwhile_is_decided_anew(
    watched: FaultyCluster, api: Client, namespace: str, key: Key
) -> None:
    api.create(stage.infdep(namespace))

    def slow(world: World) -> Step:
        if world.infdep.generation == 1:
            api.patch(*KIND, namespace, body={"spec": {"paused": True}})
        return settled(world)

    found = reconciler(watched, slow)
    with pytest.raises(Retry):
        await found.handle(key)
    assert status(api, namespace).observed_generation == 0
    await found.handle(key)
    assert status(api, namespace).observed_generation == 2


async def test_the_same_event_is_counted_not_repeated(
    watched: FaultyCluster, api: Client, namespace: str, key: Key
) -> None:
    api.create(stage.infdep(namespace))
    clock = Clock()
    event = EmitEvent(type="Warning", reason="ClaimNotFound", message="no claim models")
    for _ in range(3):  # each time a fresh process, which remembers nothing
        await reconciler(watched, acting(event), clock).reconcile(key)
        clock.pass_(90)
    (found,) = api.list("v1", "Event", namespace)
    assert (found["count"], found["reason"], found["type"]) == (3, "ClaimNotFound", "Warning")
    assert found["involvedObject"]["name"] == "support-chat"
    assert (found["firstTimestamp"], found["lastTimestamp"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:03:00Z")


async def test_an_event_in_a_loop_is_counted_once_a_minute(
    watched: FaultyCluster, api: Client, namespace: str, key: Key
) -> None:
    api.create(stage.infdep(namespace))
    clock = Clock()
    found = reconciler(watched, acting(EmitEvent(type="Normal", reason="Measuring", message="as-is")), clock)
    for _ in range(10):
        await found.reconcile(key)
        clock.pass_(10)
    assert sum("Event" in write for write in watched.writes) == 3  # made, then changed twice
    assert api.list("v1", "Event", namespace)[0]["count"] == 2


async def test_a_wake_up_is_neither_hot_nor_forgotten(
    watched: FaultyCluster, api: Client, namespace: str, key: Key
) -> None:
    api.create(stage.infdep(namespace))
    for asked, granted in ((0.0, 1.0), (30.0, 30.0), (1e9, 600.0)):
        found = reconciler(watched, lambda world, asked=asked: replace(settled(world), wake_after_s=asked))
        assert await found.reconcile(key) == granted


@pytest.mark.parametrize(
    ("wanted", "quiet", "resources", "granted"),
    [
        (0, 0, 10, 1),
        (15, 9, 10, 15),
        (59, 9, 10, 59),
        (60, 0, 10, 60),
        (60, 1, 10, 120),
        (60, 2, 10, 240),
        (60, 3, 10, 300),
        (60, 99, 10, 300),
        (300, 9, 10, 300),
        (600, 9, 10, 600),
        (1e9, 0, 10, 600),
        (60, 0, 1000, 60),
        (300, 9, 1000, 2500),
    ],
)
def test_the_longer_nothing_happens_the_rarer_is_the_look(
    wanted: float, quiet: int, resources: int, granted: float
) -> None:
    assert paced(wanted, quiet, resources) == granted


async def test_a_change_brings_the_pace_back(watched: FaultyCluster, api: Client, namespace: str, key: Key) -> None:
    api.create(stage.infdep(namespace))
    found = reconciler(watched, lambda world: replace(settled(world), wake_after_s=60))
    assert [await found.reconcile(key) for _ in range(3)] == [60, 120, 240]
    api.patch(*KIND, namespace, body={"spec": {"paused": True}})
    assert await found.reconcile(key) == 60
