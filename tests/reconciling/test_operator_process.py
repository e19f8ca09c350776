import asyncio
import datetime
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.embedded.client import Client, wait_for
from e2e.embedded.controlplane import ControlPlane
from tests.phases import builders
from tests.reconciling import stage
from tests.reconciling.faults import FaultyCluster
from tests.reconciling.job_player import JobPlayer
from tests.reconciling.operators import FailingProxy, OperatorProcess
from tests.reconciling.test_restarts import Life, script

Start = Callable[..., OperatorProcess]
STORM_S = 14.0
"""Longer than a leader may go without a renewal."""


@pytest.fixture
def start(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Start]:
    """Starts an operator for the test's namespace; the test's end ends it."""
    started: list[OperatorProcess] = []

    def start_one(**options: Any) -> OperatorProcess:
        given = {"folder": tmp_path, "namespace": namespace, "kubeconfig": control_plane.kubeconfig, **options}
        found = OperatorProcess(**given)
        found.start()
        started.append(found)
        return found

    yield start_one
    for found in started:
        if found.running:
            found.kill()


@pytest.fixture
def life(api: Client, cluster: Any, namespace: str) -> Iterator[Life]:
    player = JobPlayer(api=api, namespace=namespace, answer=script, accelerators=5, resource=builders.SLOT)
    player.start()
    found = Life(api=api, cluster=FaultyCluster(cluster=cluster), namespace=namespace, player=player)
    found.begin()
    yield found
    player.stop()


def leading(operator: OperatorProcess) -> bool:
    return "rightsizer_leader 1.0" in operator.probe("/metrics")[1]


def test_a_standby_is_live_and_ready_and_takes_over_when_the_leader_goes(
    start: Start, api: Client, namespace: str
) -> None:
    first = start(pod="operator-1")
    wait_for(lambda: leading(first), "the first to lead", limit_s=120)
    second = start(pod="operator-2")
    wait_for(lambda: second.probe("/readyz")[0] == 200, "the second to be Ready", limit_s=120)
    assert second.probe("/healthz") == (200, "ok")
    assert not leading(second)
    assert first.stop() == 0
    lease = api.get("coordination.k8s.io/v1", "Lease", "rightsizer", namespace)
    assert lease["spec"]["holderIdentity"] != "operator-1"  # given back: nobody has to wait until it runs out
    wait_for(lambda: leading(second), "the second to lead", limit_s=120)


def test_a_restarted_container_leads_on_at_once(start: Start) -> None:
    first = start()
    wait_for(lambda: leading(first), "the first to lead", limit_s=120)
    first.kill()
    again = start()
    wait_for(lambda: leading(again), "the restarted one to lead", limit_s=120)
    moments = [line["time"] for line in again.lines() if line["message"] in ("standing by", "leading")][-2:]
    stood_by, led = map(datetime.datetime.fromisoformat, moments)
    assert led - stood_by < datetime.timedelta(seconds=10)


def test_without_rights_it_says_which_and_ends(
    start: Start, api: Client, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": api.token("default", namespace)}
    kubeconfig = tmp_path / "powerless.kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    found = start(kubeconfig=kubeconfig)
    wait_for(lambda: not found.running, "the end", limit_s=120)
    assert found.process is not None and found.process.returncode == 1
    said = next(line["message"] for line in found.lines() if line["level"] == "error")
    assert f"patch deployments (apps) in namespace {namespace}" in said
    assert f"patch inferencedeployments/status (rightsizer.dev) in namespace {namespace}" in said
    assert f"update leases (coordination.k8s.io) in namespace {namespace}" in said


def test_killed_outright_while_it_works_it_leaves_nothing_of_kopf_and_one_of_everything(
    start: Start, api: Client, namespace: str, life: Life
) -> None:
    found = start()
    deadline, kill_at, kills = time.monotonic() + 200, time.monotonic() + 4, 0
    while life.condition("Applied") != "True" and time.monotonic() < deadline:
        life.player.tick()
        time.sleep(0.1)
        if kills < 4 and time.monotonic() > kill_at:
            found.kill()
            found.start()
            kills, kill_at = kills + 1, time.monotonic() + 4
    outcome = life.outcome()
    assert (outcome["winner"], outcome["rollout"]) == (("int8", 2, 2), "Applied")
    assert len(life.player.ended) == len(set(life.player.ended)) == 8
    assert kills == 4
    for kind in (("apps/v1", "Deployment"), ("batch/v1", "Job"), ("v1", "Pod"), ("v1", "PersistentVolumeClaim")):
        for stored in api.list(*kind, namespace):
            assert "kopf" not in str(stored)
    for kind in ("InferenceDeployment", "OptimizationRun"):
        for stored in api.list("rightsizer.dev/v1alpha1", kind, namespace):
            assert "kopf" not in str(stored)
            assert "finalizers" not in stored["metadata"]


def test_with_the_operator_down_a_deleted_resource_goes_with_its_children_and_the_target_stays(
    api: Client, namespace: str
) -> None:
    def family(name: str) -> stage.Object:
        owner = api.create(stage.infdep(namespace, name))
        run = api.create(stage.run(owner, f"{name}-0a1b2c3d-1"))
        api.create(stage.job(run, f"{name}-explore-11223344"))
        return owner

    def gone() -> bool:
        runs = api.list("rightsizer.dev/v1alpha1", "OptimizationRun", namespace)
        return not (runs or api.list("batch/v1", "Job", namespace))

    target = api.create(stage.target(namespace))
    family("warm-up")  # the collector of a young control plane learns of new kinds every half minute
    api.delete("rightsizer.dev/v1alpha1", "InferenceDeployment", "warm-up", namespace)
    wait_for(gone, "the first children to go", limit_s=120)
    family("support-chat")
    api.delete("rightsizer.dev/v1alpha1", "InferenceDeployment", "support-chat", namespace)
    wait_for(gone, "the children to go", limit_s=60)
    assert api.get("apps/v1", "Deployment", "support-chat", namespace)["metadata"]["uid"] == target["metadata"]["uid"]


async def test_an_api_server_that_fails_for_a_while_costs_a_restart_and_nothing_else(
    start: Start, control_plane: ControlPlane, tmp_path: Path, life: Life
) -> None:
    pki = control_plane.plan.pki
    certificate = (pki / "admin.crt", pki / "admin.key")
    async with FailingProxy(control_plane.server, pki / "authority.crt", certificate) as proxy:
        found = await asyncio.to_thread(start, kubeconfig=proxy.kubeconfig(tmp_path))
        deadline, over, ends = time.monotonic() + 200, float("inf"), 0
        while await asyncio.to_thread(life.condition, "Applied") != "True" and time.monotonic() < deadline:
            await asyncio.to_thread(life.player.tick)
            await asyncio.sleep(0.2)
            if len(life.player.ended) == 2 and over == float("inf"):
                proxy.fail()
                over = time.monotonic() + STORM_S
            if time.monotonic() > over:
                proxy.failing = False
            if not found.running:
                ends += 1
                found.start()
        outcome = await asyncio.to_thread(life.outcome)
        assert (outcome["winner"], outcome["rollout"]) == (("int8", 2, 2), "Applied")
        assert len(life.player.ended) == len(set(life.player.ended)) == 8
        assert 1 <= ends <= 3
        assert await asyncio.to_thread(found.stop) == 0
