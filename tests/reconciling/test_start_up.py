import io
import json
import logging
import pathlib
import sys
from collections.abc import AsyncIterator

import aiohttp
import pytest
import yaml

from rightsizer_operator import __main__ as start
from rightsizer_operator import journal, probes
from rightsizer_operator.cluster import rights
from rightsizer_operator.cluster.port import ACCESS_REVIEWS
from rightsizer_operator.lease import Lease
from rightsizer_operator.settings import SettingsError, load, parsed
from rightsizer_operator.telemetry import Telemetry
from rightsizer_operator.work_queue import Key, WorkQueue

LEAST = {"trial": {"image": "t"}, "compress": {"image": "c"}}


def test_settings_are_the_file_s_with_defaults_for_the_rest(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "config.yaml"
    given = {**LEAST, "readOnly": True, "prices": {"nvidia.com/gpu": "2.00"}, "namespaces": ["ml"]}
    file.write_text(yaml.safe_dump(given))
    found = load(file)
    assert (found.read_only, found.prices, found.namespaces) == (True, {"nvidia.com/gpu": "2.00"}, ("ml",))
    assert (found.http_port, found.workers, found.trial.image_pull_policy) == (8080, 8, "IfNotPresent")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"trial": None}, "trial: Input should be"),
        ({"trial": {"image": ""}}, "trial.image"),
        ({"trial": {"image": "t", "imgePullPolicy": "Never"}}, "trial.imgePullPolicy: Unexpected"),
        ({"readonly": True}, "readonly: Unexpected"),
        ({"prices": {"a": "cheap"}}, "prices.a"),
        ({"prices": {"a": 2.5}}, "prices.a: Input should be a valid string"),
        ({"workers": 0}, "workers"),
        ({"httpPort": 70000}, "httpPort"),
        ({"logLevel": "LOUD"}, "logLevel"),
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=f"config.yaml: .*{named}"):
        parsed({**LEAST, **change}, "config.yaml")


@pytest.mark.parametrize("text", ["a: [", "- just\n- a list", "", "\x00"])
def test_a_file_that_is_no_settings_is_named(tmp_path: pathlib.Path, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=str(file)):
        load(file)


def test_without_a_readable_file_it_says_so_and_ends(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RIGHTSIZER_CONFIG", raising=False)
    assert start.main([]) == start.EXIT_CONFIG
    assert "usage:" in capsys.readouterr().err
    assert start.main([str(tmp_path / "none.yaml")]) == start.EXIT_CONFIG
    assert "none.yaml: cannot be read" in capsys.readouterr().err


def test_the_replica_is_known_by_its_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", "rightsizer-1")
    monkeypatch.setenv("POD_NAMESPACE", "rightsizer-system")
    assert start.identity() == "rightsizer-1"
    assert start.own_namespace(parsed(LEAST)) == "rightsizer-system"
    assert start.own_namespace(parsed({**LEAST, "leaseNamespace": "other"})) == "other"
    monkeypatch.delenv("POD_NAME")
    assert start.identity() != start.identity()


# --- rights


class Reviewer:
    """Answers access reviews; refuses what is named."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.asked: list[dict[str, str]] = []

    async def create(self, kind: object, namespace: str, manifest: dict[str, object]) -> dict[str, object]:
        assert kind is ACCESS_REVIEWS
        attributes: dict[str, str] = manifest["spec"]["resourceAttributes"]  # type: ignore[index]
        self.asked.append(attributes)
        return {"status": {"allowed": f"{attributes['verb']} {attributes['resource']}" not in self.refused}}


async def test_every_right_is_asked_for_in_every_watched_namespace() -> None:
    reviewer = Reviewer()
    assert await rights.missing(reviewer, ("a", "b"), "system", "rightsizer") == []  # type: ignore[arg-type]
    patches = [one["namespace"] for one in reviewer.asked if (one["verb"], one["resource"]) == ("patch", "deployments")]
    assert patches == ["a", "b"]
    lease = [one for one in reviewer.asked if one["resource"] == "leases"]
    assert {one["namespace"] for one in lease} == {"system"}
    assert [one.get("name") for one in lease] == ["rightsizer", None, "rightsizer"]


async def test_missing_rights_are_named_and_the_dispensable_ones_marked() -> None:
    reviewer = Reviewer("patch deployments", "list scaledobjects", "list nodes")
    found = await rights.missing(reviewer, ("ml",), "system", "rightsizer")  # type: ignore[arg-type]
    assert [(str(one), one.optional) for one in found] == [
        ("patch deployments (apps) in namespace ml", False),
        ("list scaledobjects (keda.sh) in namespace ml", True),
        ("list nodes", True),
    ]


async def test_a_cluster_wide_install_needs_to_see_nodes() -> None:
    found = await rights.missing(Reviewer("list nodes"), (), "system", "rightsizer")  # type: ignore[arg-type]
    assert [(str(one), one.optional) for one in found] == [("list nodes", False)]


def test_no_secret_is_read_and_no_pod_entered() -> None:
    asked = list(rights.questions((), "system", "rightsizer"))
    assert not {"secrets", "configmaps", "serviceaccounts"} & {one.kind.plural for one in asked}
    assert all(not one.subresource for one in asked if one.kind.plural == "pods")
    assert {one.verb for one in asked if one.kind.plural == "deployments"} == {"get", "list", "watch", "patch"}
    assert {one.verb for one in asked if one.kind.plural == "inferencedeployments" and not one.subresource} == {
        "get",
        "list",
        "watch",
    }


# --- probes


class Now:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def health(now: Now) -> probes.Health:
    return probes.Health(queue=WorkQueue(), stuck_after_s=600, clock=now)


def a_lease(now: Now, *, leading: bool) -> Lease:
    found = Lease(cluster=None, namespace="n", name="l", identity="i", clock=now)  # type: ignore[arg-type]
    found._renewed_at = now() if leading else float("-inf")
    return found


def test_a_standby_is_never_asked_for_progress(health: probes.Health, now: Now) -> None:
    health.queue.add(Key("ml", "a"), 0)
    health.lease, health.listed_at = a_lease(now, leading=False), 0
    assert health.complaint() == ""


def test_a_leader_whose_keys_grow_old_is_unhealthy(health: probes.Health, now: Now) -> None:
    health.lease, health.listed_at = a_lease(now, leading=True), now()
    health.queue.add(Key("ml", "a"), now() - 500)
    assert health.complaint() == ""
    health.queue.add(Key("ml", "b"), now() - 601)
    assert health.complaint() == "the oldest key has waited 601 s"


def test_a_leader_that_cannot_list_is_unhealthy(health: probes.Health, now: Now) -> None:
    health.lease, health.listed_at = a_lease(now, leading=True), now() - 700
    assert health.complaint() == "no successful list for 700 s"


@pytest.fixture
async def served(health: probes.Health) -> AsyncIterator[str]:
    runner, port = await probes.serve(health, Telemetry(), 0, "127.0.0.1")
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


async def test_probes_and_metrics_are_served(health: probes.Health, now: Now, served: str) -> None:

    async with aiohttp.ClientSession() as session:

        async def get(path: str) -> tuple[int, str]:
            async with session.get(served + path) as answer:
                return answer.status, await answer.text()

        assert await get("/healthz") == (200, "ok")
        assert await get("/readyz") == (503, "starting")
        health.started = True
        assert await get("/readyz") == (200, "ok")
        health.lease, health.listed_at = a_lease(now, leading=True), now() - 700
        assert (await get("/healthz"))[0] == 500
        status, text = await get("/metrics")
        assert status == 200
        assert "rightsizer_leader 1.0" in text and "rightsizer_queue_depth 0.0" in text
        assert 'rightsizer_build_info{version="' in text


# --- log


def test_a_log_line_is_one_json_object(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    try:
        journal.set_up("INFO")
        logging.getLogger("rightsizer_operator").info("condition", extra={"key": "ml/chat", "detail": "übrig"})
        logging.getLogger("rightsizer_operator").debug("silent")
        for _ in range(3):
            logging.getLogger("kopf.clients").error("Request attempt failed")
    finally:
        root.handlers, root.level = before[0], before[1]
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["message"] for line in lines] == ["condition", "Request attempt failed"]
    assert (lines[0]["level"], lines[0]["key"], lines[0]["detail"]) == ("info", "ml/chat", "übrig")


def test_nothing_in_the_operator_blocks_the_loop() -> None:
    blocking = ("time.sleep(", "import requests", "run_in_executor", "to_thread(", "import subprocess")
    sources = pathlib.Path(start.__file__).parent.rglob("*.py")
    found = {f"{path.name}: {word}" for path in sources for word in blocking if word in path.read_text()}
    # Threads are where something cannot be made to give way: the client of Prometheus, which ends by its own deadline,
    # and the estimates of a step.
    assert found <= {"prometheus.py: import requests", "prometheus.py: to_thread(", "reconcile.py: to_thread("}
