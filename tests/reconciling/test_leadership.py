import asyncio
import datetime
from dataclasses import dataclass

import pytest

from e2e.embedded.client import Client
from rightsizer_operator.cluster.kube import KubeCluster
from rightsizer_operator.cluster.port import JOBS
from rightsizer_operator.lease import LeaderOnly, LeadershipLost, Lease
from tests.reconciling.faults import FaultyCluster


@dataclass(slots=True)
class Seconds:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def lease(cluster: KubeCluster | FaultyCluster, namespace: str, identity: str, clock: Seconds) -> Lease:
    return Lease(
        cluster=cluster,
        namespace=namespace,
        name="rightsizer",
        identity=identity,
        clock=clock,
        today=lambda: datetime.datetime.fromtimestamp(clock.now, datetime.UTC),
    )


async def test_the_first_takes_it_and_the_second_waits(cluster: KubeCluster, namespace: str) -> None:
    clock = Seconds()
    first, second = lease(cluster, namespace, "one", clock), lease(cluster, namespace, "two", clock)
    assert await first.attempt()
    assert not await second.attempt()
    assert (first.leading, second.leading) == (True, False)


async def test_the_second_takes_over_after_fifteen_seconds_without_a_renewal(
    cluster: KubeCluster, namespace: str, api: Client
) -> None:
    clock = Seconds()
    first, second = lease(cluster, namespace, "one", clock), lease(cluster, namespace, "two", clock)
    await first.attempt()
    await second.attempt()
    clock.now += 14
    assert not await second.attempt()
    clock.now += 2
    assert await second.attempt()
    assert not first.leading
    spec = api.get("coordination.k8s.io/v1", "Lease", "rightsizer", namespace)["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("two", 1)


async def test_a_renewal_keeps_the_second_out(cluster: KubeCluster, namespace: str) -> None:
    clock = Seconds()
    first, second = lease(cluster, namespace, "one", clock), lease(cluster, namespace, "two", clock)
    await first.attempt()
    for _ in range(10):
        assert not await second.attempt()
        clock.now += 4
        assert await first.attempt()


async def test_the_leader_gives_up_before_another_may_take_over(cluster: KubeCluster, namespace: str) -> None:
    clock = Seconds()
    first = lease(cluster, namespace, "one", clock)
    await first.attempt()
    clock.now += 9.9
    first.require()
    clock.now += 0.2
    with pytest.raises(LeadershipLost):
        first.require()


async def test_a_leader_that_was_replaced_learns_it(cluster: KubeCluster, namespace: str) -> None:
    clock = Seconds()
    first, second = lease(cluster, namespace, "one", clock), lease(cluster, namespace, "two", clock)
    await first.attempt()
    await second.attempt()
    clock.now += 16
    await second.attempt()
    assert not await first.attempt()  # its resourceVersion is an old one
    assert not await first.attempt()
    assert second.leading


async def test_a_released_lease_is_taken_at_once(cluster: KubeCluster, namespace: str) -> None:
    clock = Seconds()
    first, second = lease(cluster, namespace, "one", clock), lease(cluster, namespace, "two", clock)
    await first.attempt()
    await second.attempt()
    await first.release()
    assert not first.leading
    assert await second.attempt()


async def test_the_same_pod_leads_on_after_a_restart(cluster: KubeCluster, namespace: str) -> None:
    clock = Seconds()
    await lease(cluster, namespace, "pod-1", clock).attempt()
    assert await lease(cluster, namespace, "pod-1", clock).attempt()


async def test_of_many_that_try_at_once_one_leads(cluster: KubeCluster, namespace: str) -> None:
    clock = Seconds()
    crowd = [lease(cluster, namespace, f"pod-{number}", clock) for number in range(8)]
    assert sum(await asyncio.gather(*(one.attempt() for one in crowd))) == 1


async def test_a_renewal_that_was_written_but_not_heard_of_is_still_ours(cluster: KubeCluster, namespace: str) -> None:
    clock = Seconds()
    faulty = FaultyCluster(cluster=cluster, fault=lambda number, _: "lose" if number == 2 else "")
    first = lease(faulty, namespace, "one", clock)
    assert await first.attempt()
    assert not await first._tried()
    assert await first._tried()


async def test_keeping_ends_when_the_lease_cannot_be_renewed(cluster: KubeCluster, namespace: str) -> None:
    clock = Seconds()
    faulty = FaultyCluster(cluster=cluster)
    first = lease(faulty, namespace, "one", clock)
    await first.attempt()
    faulty.down = True
    clock.now += 11
    keeping = asyncio.create_task(first.keep())
    with pytest.raises(LeadershipLost):
        async with asyncio.timeout(60):
            await keeping


async def test_only_the_leader_writes_and_everybody_reads(cluster: KubeCluster, namespace: str) -> None:
    clock = Seconds()
    standby = LeaderOnly(cluster, lease(cluster, namespace, "two", clock))
    assert await standby.read(JOBS, namespace, "nothing") is None
    with pytest.raises(LeadershipLost):
        await standby.create(JOBS, namespace, {})
    with pytest.raises(LeadershipLost):
        await standby.delete(JOBS, namespace, "a", "b")
    with pytest.raises(LeadershipLost):
        await standby.merge(JOBS, namespace, "a", {})
    with pytest.raises(LeadershipLost):
        await standby.replace(JOBS, namespace, "a", {})
    with pytest.raises(LeadershipLost):
        await standby.apply(JOBS, namespace, "a", {}, force=False, dry_run=True)
