"""Where a roll-out stands is judged by the pods of the new ReplicaSet only."""

import pytest

from rightsizer_operator.manifests.target import rollout_state
from tests.manifests.examples import a_target

TARGET_UID = a_target()["metadata"]["uid"]


def a_rolling_target(*, replicas=2, updated=2, total=2, available=2, revision="7", observed=3, **spec):
    target = a_target()
    target["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": revision}
    target["spec"].update({"replicas": replicas, **spec})
    target["status"] = {
        "observedGeneration": observed,
        "replicas": total,
        "updatedReplicas": updated,
        "availableReplicas": available,
    }
    return target


def a_replica_set(uid, revision, owner=TARGET_UID):
    return {
        "metadata": {
            "name": uid,
            "uid": uid,
            "annotations": {"deployment.kubernetes.io/revision": revision},
            "ownerReferences": [{"uid": owner, "controller": True}],
        }
    }


def a_pod(name, owner, *, waiting=None, last="", deleted=False):
    status = {"state": {"waiting": {"reason": waiting}} if waiting else {"running": {}}}
    if last:
        status["lastState"] = {"terminated": {"message": last}}
    metadata = {"name": name, "ownerReferences": [{"uid": owner}]}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata, "status": {"containerStatuses": [status]}}


SETS = (a_replica_set("old", "6"), a_replica_set("new", "7"), a_replica_set("foreign", "7", owner="somebody"))


def test_complete_when_every_pod_is_new_and_available():
    pods = (a_pod("a", "new"), a_pod("b", "new"), a_pod("c", "old"), a_pod("d", "new", deleted=True))
    state = rollout_state(a_rolling_target(), SETS, pods)
    assert (state.complete, state.failed) == (True, False)
    assert [pod["metadata"]["name"] for pod in state.new_pods] == ["a", "b"]


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"observed": 2}, "not seen"),
        ({"updated": 1}, "1 of 2 pods updated"),
        ({"total": 3}, "1 old ones left"),
        ({"available": 1}, "1 available"),
        ({"revision": "8"}, "no ReplicaSet"),
        ({"paused": True}, "spec.paused"),
    ],
)
def test_not_complete_and_not_failed_while(figures, words):
    state = rollout_state(a_rolling_target(**figures), SETS, (a_pod("a", "new"),))
    assert (state.complete, state.failed) == (False, False)
    assert words in state.message


def test_a_crashing_new_pod_fails_the_roll_out_with_its_last_words():
    pods = (a_pod("a", "new", waiting="CrashLoopBackOff", last="libnuma.so.1: cannot open"),)
    state = rollout_state(a_rolling_target(available=0), SETS, pods)
    assert state.failed
    assert "CrashLoopBackOff" in state.message
    assert "libnuma.so.1" in state.message


def test_a_crashing_old_pod_says_nothing_about_the_new_template():
    pods = (a_pod("a", "new"), a_pod("b", "old", waiting="CrashLoopBackOff"))
    assert not rollout_state(a_rolling_target(total=3), SETS, pods).failed


def test_a_slow_pull_is_waited_for():
    pods = (a_pod("a", "new", waiting="ImagePullBackOff"),)
    assert not rollout_state(a_rolling_target(available=0), SETS, pods).failed


def test_an_exceeded_progress_deadline_fails_the_roll_out():
    target = a_rolling_target(available=0)
    target["status"]["conditions"] = [
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    ]
    state = rollout_state(target, SETS, ())
    assert state.failed
    assert "ProgressDeadlineExceeded" in state.message


def test_a_verdict_on_an_earlier_template_is_not_taken_for_one_on_this():
    target = a_rolling_target(observed=2)
    target["status"]["conditions"] = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
    assert not rollout_state(target, SETS, ()).failed
