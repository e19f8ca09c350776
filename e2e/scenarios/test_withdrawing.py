"""An InferenceDeployment that is deleted in the middle of its search: its children go, with or without an operator; the
target stays.
"""

import time
from collections.abc import Iterator

import pytest

from e2e.scenarios import scene
from e2e.scenarios.scene import Scene
from e2e.stage import objects, setting
from e2e.stage.kubectl import Object, wait_for

pytestmark = pytest.mark.timeout(2700)
DEPLOYMENT = "rightsizer"
DELETED_WITHIN_S = 5
GONE_LIMIT_S = 120


@pytest.fixture
def searching(stage: Scene) -> Object:
    """The target as it is while a trial of a fresh InferenceDeployment runs."""
    if setting.ready_replicas(stage.kubectl) == 0:
        stage.serve()
    stage.kubectl.run("delete", "infdep", objects.TARGET, "-n", objects.NAMESPACE, "--ignore-not-found")
    wait_for(lambda: not children(stage), "the children of the last one go", GONE_LIMIT_S)
    before = stage.target
    stage.kubectl.apply([scene.inference_deployment(1.0)])
    wait_for(stage.running_trial, "its first trial runs", 120)
    return before


@pytest.fixture
def nobody_operates(stage: Scene) -> Iterator[None]:
    """No pod of the operator, until the test has ended."""
    scale(stage, 0)
    yield
    scale(stage, 2)


def scale(stage: Scene, replicas: int) -> None:
    stage.kubectl.run("scale", "deployment", DEPLOYMENT, "-n", objects.SYSTEM_NAMESPACE, f"--replicas={replicas}")
    wait_for(lambda: len(stage.operators()) == replicas, f"{replicas} pods of the operator", 60)


def children(stage: Scene) -> list[Object]:
    """Runs, Jobs and pods of Jobs that are still there."""
    return [*stage.kubectl.list("optrun", objects.NAMESPACE), *stage.jobs(), *stage.job_pods()]


def withdrawn(stage: Scene) -> float:
    """Delete it as people do; the seconds until it was gone."""
    began = time.monotonic()
    stage.kubectl.run("delete", "infdep", objects.TARGET, "-n", objects.NAMESPACE, "--timeout=60s")
    return time.monotonic() - began


def test_its_run_and_jobs_go_with_it_and_the_target_stays(stage: Scene, searching: Object) -> None:
    assert withdrawn(stage) < DELETED_WITHIN_S
    wait_for(lambda: not children(stage), "its children go", GONE_LIMIT_S)
    assert scene.intent_of(stage.target) == scene.intent_of(searching)


def test_it_can_be_deleted_while_no_operator_runs(stage: Scene, searching: Object, nobody_operates: None) -> None:
    assert children(stage) != []
    assert withdrawn(stage) < DELETED_WITHIN_S
    wait_for(lambda: not children(stage), "its children go", GONE_LIMIT_S)
    assert scene.intent_of(stage.target) == scene.intent_of(searching)
    assert stage.operators() == []
