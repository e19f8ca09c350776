from collections.abc import Iterator

import pytest

from e2e.embedded.client import Client, wait_for
from rightsizer_jobs import contract
from tests.reconciling import stage
from tests.reconciling.job_player import Answer, Assignment, Crash, JobPlayer

ASSIGNMENT = contract.CompressAssignment(
    run_uid="r", artefact="int8-1", attempt=1, recipe="int8", source_path="/a", target_path="/b"
)


def succeed(assignment: Assignment) -> Answer:
    assert isinstance(assignment, contract.CompressAssignment)
    return contract.CompressReport(artefact=assignment.artefact, attempt=1, outcome="Succeeded")


@pytest.fixture
def player(api: Client, namespace: str) -> Iterator[JobPlayer]:
    found = JobPlayer(api=api, namespace=namespace, answer=succeed, accelerators=4)
    found.start()
    yield found
    found.stop()


def a_job(api: Client, namespace: str) -> stage.Object:
    job = stage.job(api.create(stage.run(api.create(stage.infdep(namespace)))))
    container = job["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": contract.ASSIGNMENT_VARIABLE, "value": ASSIGNMENT.model_dump_json()}]
    return api.create(job)


def finished(api: Client, namespace: str) -> dict[str, str]:
    (job,) = api.list("batch/v1", "Job", namespace)
    return {one["type"]: one["status"] for one in job["status"].get("conditions") or []}


def test_a_played_job_completes_and_its_pod_holds_the_report(api: Client, namespace: str, player: JobPlayer) -> None:
    a_job(api, namespace)
    wait_for(lambda: player.tick() or finished(api, namespace).get("Complete") == "True", "the Job to complete")
    (pod,) = api.list("v1", "Pod", namespace)
    message = pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"]
    assert contract.load_report(message) == succeed(ASSIGNMENT)


def test_a_played_crash_fails_the_job(api: Client, namespace: str, player: JobPlayer) -> None:
    player.answer = lambda _: Crash(exit_code=3)
    a_job(api, namespace)
    wait_for(lambda: player.tick() or finished(api, namespace).get("Failed") == "True", "the Job to fail")


def test_a_deployment_serves_with_as_many_pods_as_there_are_accelerators(
    api: Client, namespace: str, player: JobPlayer
) -> None:
    target = stage.target(namespace, replicas=6)
    # Two that place, the player and the real scheduler, would together fill the node beyond its accelerators.
    target["spec"]["template"]["spec"]["schedulerName"] = "player"
    api.create(target)

    def ready() -> int:
        player.tick()
        return api.get("apps/v1", "Deployment", "support-chat", namespace)["status"].get("readyReplicas", 0)

    wait_for(lambda: ready() == 4, "four ready replicas")
