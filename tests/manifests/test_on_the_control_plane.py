"""What was built against the real API server: admission, server-side apply, the Job controller."""

import copy
import json
import subprocess

import pytest

from e2e.embedded.client import Refused, wait_for
from rightsizer_operator.manifests import baseline, jobs, labels, ownership, target, template
from tests.manifests.examples import RUN_UID, SLOT, a_compression, a_serving, a_spec, a_target, a_trial, some_settings


def build(kind, namespace, **changes):
    who = {
        "run_name": "support-chat-01234567-1",
        "run_uid": RUN_UID,
        "infdep_name": "support-chat",
        "namespace": namespace,
        "target": a_target(),
        "settings": some_settings(),
        "spec": a_spec(),
    }
    if kind == "compress":
        return jobs.compress_job(**who, assignment=a_compression(), **changes)
    if kind == "verify":
        return jobs.verify_job(**who, container="engine", assignment=a_trial(purpose="Verify", rate_rps=1.0), **changes)
    serving = a_serving(engine_config='{"a": 1}' if kind == "trial with settings in a file" else "")
    return jobs.trial_job(**who, container="engine", serving=serving, assignment=a_trial(), **changes)


KINDS = ["trial", "trial with settings in a file", "verify", "compress"]


@pytest.fixture
def restricted(api, namespace):
    labels_of_namespace = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.patch("v1", "Namespace", namespace, body={"metadata": {"labels": labels_of_namespace}})
    return namespace


@pytest.mark.parametrize("kind", KINDS)
def test_a_restricted_namespace_accepts_the_job_and_its_pod(api, restricted, kind):
    job = build(kind, restricted)
    stored = api.create(job, dry_run=True)
    assert stored["spec"]["podFailurePolicy"] == job["spec"]["podFailurePolicy"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        **copy.deepcopy(job["spec"]["template"]),
    }
    pod["metadata"].update({"name": "pod", "namespace": restricted})
    accepted = api.create(pod, dry_run=True)
    assert accepted["spec"].get("priority", 0) == 0
    assert not any("kube-api-access" in volume["name"] for volume in accepted["spec"]["volumes"])


def test_a_restricted_namespace_refuses_the_trial_of_a_target_that_is_not_restricted(api, restricted):
    loose = a_target()
    loose["spec"]["template"]["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    job = jobs.trial_job(
        run_name="r",
        run_uid=RUN_UID,
        infdep_name="support-chat",
        namespace=restricted,
        target=loose,
        container="engine",
        serving=a_serving(),
        assignment=a_trial(),
        settings=some_settings(),
        spec=a_spec(),
    )
    pod = {"apiVersion": "v1", "kind": "Pod", **job["spec"]["template"]}
    pod["metadata"].update({"name": "pod", "namespace": restricted})
    with pytest.raises(Refused, match="privileged"):
        api.create(pod, dry_run=True)


@pytest.fixture
def applied(api, control_plane, kubectl, namespace):
    """A Deployment that a person made with plain `kubectl apply`; call it to apply the same file again."""
    manifest = a_target()
    manifest["metadata"] = {"name": "support-chat", "namespace": namespace, "labels": {"team": "chat"}}
    manifest.pop("status")

    def apply():
        command = [str(kubectl), "--kubeconfig", str(control_plane.kubeconfig), "apply", "-f", "-"]
        done = subprocess.run(
            command, input=json.dumps(manifest), capture_output=True, text=True, check=True, timeout=120
        )
        return done.stdout

    apply()
    return apply


def read(api, namespace):
    return api.get("apps/v1", "Deployment", "support-chat", namespace)


def write(api, intent, *, force=True):
    return api.apply(intent, manager=labels.FIELD_MANAGER, force=force)


def without_closed_list(found):
    """The pod template and spec with the fields of the closed list taken out."""
    spec = copy.deepcopy(found["spec"])
    spec.pop("replicas")
    (container,) = spec["template"]["spec"]["containers"]
    for field in ("image", "command", "args"):
        container.pop(field, None)
    for kind in ("requests", "limits"):
        for resource in ("cpu", "memory", SLOT):
            container["resources"].get(kind, {}).pop(resource, None)
    container["env"] = [one for one in container["env"] if one["name"] not in template.MANAGED_ENV]
    container["volumeMounts"] = [one for one in container["volumeMounts"] if "rightsizer" not in one["mountPath"]]
    spec["template"]["spec"]["volumes"] = [
        one for one in spec["template"]["spec"]["volumes"] if not one["name"].startswith("rightsizer-")
    ]
    spec["template"]["metadata"].pop("annotations", None)
    return spec


SERVING = {
    "args": ("/rightsizer/model", "--port", "8000", "--served-model-name", "/models/m26", "--kv-cache-dtype", "fp8"),
    "env": ({"name": "VLLM_CPU_KVCACHE_SPACE", "value": "2"}, {"name": "VLLM_PLUGINS", "value": "x"}),
    "engine_config": '{"kv_cache_config": {"dtype": "fp8"}}',
    "memory_limit": "7Gi",
}


def test_a_rewrite_over_kubectl_apply_conflicts_unless_forced_and_ownership_says_so_before(api, namespace, applied):
    found = read(api, namespace)
    recorded = baseline.snapshot(found, a_spec(), ())
    intent = target.template_patch(found, "engine", a_serving(**SERVING), recorded, "0123456789ab")
    checked = ownership.check(found, "engine", replicas=True, take_ownership=False)
    assert not checked.allowed
    assert checked.owners == ("kubectl-client-side-apply",)
    with pytest.raises(Refused) as conflict:
        write(api, intent, force=False)
    assert conflict.value.code == 409
    assert "kubectl-client-side-apply" in conflict.value.message
    assert read(api, namespace)["spec"] == found["spec"]


@pytest.mark.parametrize("claim", ["models", "other"])
def test_a_forced_rewrite_keeps_every_field_of_the_user_outside_the_closed_list(api, namespace, applied, claim):
    found = read(api, namespace)
    recorded = baseline.snapshot(found, a_spec(modelCache={"claimName": claim}), ())
    serving = a_serving(**SERVING)
    live = write(api, target.template_patch(found, "engine", serving, recorded, "0123456789ab"))
    assert without_closed_list(live) == without_closed_list(found)
    assert live["spec"]["replicas"] == 4
    assert live["metadata"]["labels"] == found["metadata"]["labels"]
    assert baseline.serving_of(live, "engine", SLOT) == serving
    assert baseline.recorded(live) == recorded
    assert baseline.template_hash(live) != recorded.template_hash


@pytest.mark.parametrize("claim", ["models", "other"])
def test_the_way_back_gives_the_target_exactly_as_the_user_left_it(api, namespace, applied, claim):
    found = read(api, namespace)
    recorded = baseline.snapshot(found, a_spec(modelCache={"claimName": claim}), ())
    serving = a_serving(**SERVING)
    live = write(api, target.template_patch(found, "engine", serving, recorded, "0123456789ab"))
    live = write(api, target.replicas_patch(live, "engine", serving, 2, recorded, "0123456789ab"))
    assert live["spec"]["replicas"] == 2
    # Replicas first, so that serving capacity is back before the old engines load.
    live = write(api, target.replicas_patch(live, "engine", serving, 4, recorded, "0123456789ab"))
    assert (live["spec"]["replicas"], baseline.serving_of(live, "engine", SLOT)) == (4, serving)
    live = write(api, target.restore_patch(live, recorded))
    assert live["spec"] == found["spec"]
    again = baseline.snapshot(live, a_spec(), ())
    assert (again.hash, again.template_hash) == (recorded.hash, recorded.template_hash)
    ours = {key for key in live["metadata"]["annotations"] if key.startswith(labels.PREFIX)}
    assert ours == set()
    assert "unchanged" in applied()


def test_an_engine_without_a_command_gets_its_entrypoint_back(api, namespace, applied):
    entrypoint = {
        "name": "engine",
        "image": "engines/vllm-openai:1",
        "command": None,
        "args": ["--model", "/models/m26"],
    }
    body = {"spec": {"template": {"spec": {"containers": [entrypoint]}}}}
    found = api.patch("apps/v1", "Deployment", "support-chat", namespace, body=body, how="strategic")
    recorded = baseline.snapshot(found, a_spec(), ())
    other = a_serving(command=("trtllm-serve",), args=("/models/m26",), artefact="")
    switched = write(api, target.template_patch(found, "engine", other, recorded, "h"))
    assert switched["spec"]["template"]["spec"]["containers"][0]["command"] == ["trtllm-serve"]
    restored = write(api, target.restore_patch(switched, recorded))
    assert restored["spec"] == found["spec"]


def test_a_second_proposal_leaves_the_replica_count_of_the_first(api, namespace, applied):
    found = read(api, namespace)
    recorded = baseline.snapshot(found, a_spec(), ())
    first, second = a_serving(), a_serving(artefact="", args=("/models/m26", "--port", "8000"))
    live = write(api, target.replicas_patch(found, "engine", first, 2, recorded, "first"))
    intent = target.template_patch(live, "engine", second, recorded, "second")
    assert write(api, intent)["spec"]["replicas"] == 2
    # The danger is real: without the count in the intent the API server resets it.
    intent["spec"].pop("replicas")
    assert write(api, intent)["spec"]["replicas"] == 1


def test_after_a_rewrite_the_fields_are_ours_and_a_new_apply_of_the_user_takes_them_back(api, namespace, applied):
    found = read(api, namespace)
    recorded = baseline.snapshot(found, a_spec(), ())
    serving = a_serving(image="engines/vllm-cpu:0.33.0", **SERVING)
    live = write(api, target.replicas_patch(found, "engine", serving, 2, recorded, "h"))
    assert ownership.owns_replicas(live)
    # What both want stays in both names; what differed is ours alone.
    checked = ownership.check(live, "engine", replicas=True, take_ownership=False)
    assert checked.message.startswith("kubectl-client-side-apply owns command, resources. ")
    applied()
    taken_back = read(api, namespace)
    assert not ownership.owns_replicas(taken_back)
    assert taken_back["spec"]["replicas"] == 4
    assert baseline.serving_of(taken_back, "engine", SLOT).args == recorded.serving.args


def our_writes(stored):
    """What the API server recorded of the writes under our name, with the time of the last that changed something."""
    return [entry for entry in stored["metadata"]["managedFields"] if entry["manager"] == labels.FIELD_MANAGER]


def test_the_same_write_twice_changes_nothing(api, namespace, applied):
    found = read(api, namespace)
    recorded = baseline.snapshot(found, a_spec(), ())
    first = write(api, target.template_patch(found, "engine", a_serving(), recorded, "h"))
    again = write(api, target.template_patch(first, "engine", a_serving(), recorded, "h"))
    # Not the resource version: the Deployment controller writes revision and status between the two.
    assert again["spec"] == first["spec"]
    assert again["metadata"]["generation"] == first["metadata"]["generation"]
    assert our_writes(again) == our_writes(first)


def ended(api, namespace, status):
    """A trial Job whose only pod ends with that status: the Job as the Job controller leaves it, and its pods."""
    job = build("trial", namespace)
    # No run exists in this test: garbage collection would take a Job whose owner does not.
    job["metadata"].pop("ownerReferences")
    name = api.create(job)["metadata"]["name"]
    selector = labels.selector(run="support-chat-01234567-1")
    (pod,) = wait_for(lambda: api.list("v1", "Pod", namespace, selector), "the Job's pod")
    api.patch(
        "v1", "Pod", pod["metadata"]["name"], namespace, body={"status": status}, how="strategic", subresource="status"
    )

    def finished():
        found = api.get("batch/v1", "Job", name, namespace)
        return found if found.get("status", {}).get("failed") else None

    return wait_for(finished, "the Job to fail"), api.list("v1", "Pod", namespace, selector)


def test_a_disrupted_trial_fails_its_job_and_no_second_engine_starts(api, namespace):
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    job, pods = ended(api, namespace, {"phase": "Failed", "conditions": [condition]})
    assert jobs.disrupted(job)
    assert len(pods) == 1


def test_a_client_that_fails_is_no_disruption(api, namespace):
    terminated = {"exitCode": 3, "reason": "Error", "message": "{}"}
    container = {
        "name": "trial",
        "image": "trial:1",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": terminated},
    }
    job, pods = ended(api, namespace, {"phase": "Failed", "containerStatuses": [container]})
    assert not jobs.disrupted(job)
    assert len(pods) == 1
    messages = [one["message"] for one in job["status"]["conditions"] if one["reason"] == "PodFailurePolicy"]
    assert any("Container trial" in message and "exit code 3" in message for message in messages)
