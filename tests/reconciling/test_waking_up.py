import asyncio
from typing import Any

import kopf
import pytest

from rightsizer_operator import handlers
from rightsizer_operator.cluster.kube import Access
from rightsizer_operator.work_queue import Key
from tests.reconciling import stage

CHAT = Key("ml", "support-chat")


@pytest.fixture
def woken() -> list[Key]:
    return []


@pytest.fixture
def wakeups(woken: list[Key]) -> handlers.Wakeups:
    found = handlers.Wakeups(woken.append)
    found.resource("ADDED", stage.infdep("ml"))
    found.resource("ADDED", stage.infdep("ml", "other", targetRef={"name": "search"}))
    found.resource("ADDED", stage.infdep("elsewhere"))
    woken.clear()
    return found


def labelled(namespace: str, name: str | None) -> dict[str, Any]:
    labels = {"rightsizer.dev/inference-deployment": name} if name else None
    return {"metadata": {"namespace": namespace, "name": "x", "labels": labels}}


def test_an_event_on_a_resource_wakes_it(wakeups: handlers.Wakeups, woken: list[Key]) -> None:
    wakeups.resource("MODIFIED", stage.infdep("ml"))
    assert woken == [CHAT]


@pytest.mark.parametrize("spec", [None, {}, {"targetRef": None}])
def test_a_resource_without_a_target_is_woken_all_the_same(
    wakeups: handlers.Wakeups, woken: list[Key], spec: Any
) -> None:
    wakeups.resource("MODIFIED", {"metadata": {"namespace": "ml", "name": "odd"}, "spec": spec})
    assert woken == [Key("ml", "odd")]


def test_an_event_on_a_run_a_job_or_its_pod_wakes_their_resource(wakeups: handlers.Wakeups, woken: list[Key]) -> None:
    wakeups.owned(labelled("ml", "support-chat"))
    assert woken == [CHAT]


@pytest.mark.parametrize(("namespace", "name"), [("ml", None), ("ml", "unknown"), ("nowhere", "support-chat")])
def test_what_belongs_to_no_resource_wakes_none(
    wakeups: handlers.Wakeups, woken: list[Key], namespace: str, name: str | None
) -> None:
    wakeups.owned(labelled(namespace, name))
    assert woken == []


def test_a_name_too_long_for_a_label_is_found(woken: list[Key]) -> None:
    name = "a" * 80
    found = handlers.Wakeups(woken.append)
    found.resource("ADDED", stage.infdep("ml", name))
    woken.clear()
    found.owned(labelled("ml", handlers.labels.label_value(name)))
    assert woken == [Key("ml", name)]


def test_an_event_on_a_target_wakes_those_that_name_it(wakeups: handlers.Wakeups, woken: list[Key]) -> None:
    wakeups.target({"metadata": {"namespace": "ml", "name": "support-chat"}})
    wakeups.target({"metadata": {"namespace": "ml", "name": "a-stranger"}})
    assert woken == [CHAT]


def test_the_target_of_a_deleted_resource_wakes_nobody(wakeups: handlers.Wakeups, woken: list[Key]) -> None:
    wakeups.resource("DELETED", stage.infdep("ml"))
    woken.clear()
    wakeups.target({"metadata": {"namespace": "ml", "name": "support-chat"}})
    assert woken == []


def test_no_handler_makes_kopf_write_to_an_object(wakeups: handlers.Wakeups) -> None:
    async def access() -> Access:
        raise AssertionError("not asked")

    registry = handlers.registry(wakeups, access)
    assert len(registry._watching.get_all_handlers()) == 5
    for kind in (registry._changing, registry._spawning, registry._indexing, registry._webhooks):
        assert not kind.get_all_handlers()
    assert all(asyncio.iscoroutinefunction(handler.fn) for handler in registry._watching.get_all_handlers())


def test_kopf_is_set_up_to_watch_and_nothing_else() -> None:
    found = handlers.settings()
    assert found.peering.standalone and found.scanning.disabled and not found.posting.enabled
    jobs = [text for _, text in found.watching.label_selectors.items()]
    assert set(jobs) == {"app.kubernetes.io/managed-by=rightsizer"} and len(jobs) == 2


def test_kopf_tries_for_ever_with_growing_jittered_pauses() -> None:
    backoffs = handlers.Backoffs()
    assert isinstance(handlers.settings().networking.error_backoffs, handlers.Backoffs)
    for _ in range(2):  # each call of kopf's starts anew
        pauses = iter(backoffs)
        found = [next(pauses) for _ in range(100)]
        assert 0.8 <= found[0] <= 1.2
        assert all(24 <= pause <= 36 for pause in found[5:])


@pytest.mark.parametrize(
    ("header", "scheme", "token"),
    [("bearer abc", "bearer", "abc"), ("Bearer abc", "Bearer", "abc"), ("abc", None, "abc"), ("", None, None)],
)
def test_kopf_logs_in_as_the_client_does(header: str, scheme: str | None, token: str | None) -> None:
    access = Access(
        server="https://x", verify=True, ca_path="/ca", certificate_path=None, key_path=None, authorization=header
    )
    found = handlers.connection(access)
    assert isinstance(found, kopf.ConnectionInfo)
    assert (found.server, found.ca_path, found.insecure) == ("https://x", "/ca", False)
    assert (found.scheme, found.token) == (scheme, token)
