"""The mechanics of trial Jobs, sentence by sentence."""

import copy
import json

import pytest

from rightsizer_jobs.contract import load_assignment
from rightsizer_operator.manifests import jobs
from rightsizer_operator.settings import JobProfile
from tests.manifests.examples import (
    ARTEFACT,
    RUN_UID,
    SLOT,
    a_serving,
    a_target,
    a_trial,
    an_engine,
    some_settings,
)
from tests.manifests.trial_parts import a_job, client_of, engine_of, mounts_of, pod_of

# One trial = one Job = one engine start.


def test_the_engine_is_a_native_sidecar_and_the_client_stands_beside_it():
    job = a_job()
    assert [(one["name"], one["restartPolicy"]) for one in pod_of(job)["initContainers"]] == [("engine", "Always")]
    assert [one["name"] for one in pod_of(job)["containers"]] == ["trial"]


def test_what_is_measured_is_what_would_be_deployed():
    serving = a_serving(image="engines/other:2", args=("/m", "--port", "8000"), accelerators=2, memory_limit="7Gi")
    engine = engine_of(a_job(serving=serving))
    assert (engine["image"], engine["command"], engine["args"]) == (
        "engines/other:2",
        ["vllm", "serve"],
        ["/m", "--port", "8000"],
    )
    assert engine["resources"] == {
        "requests": {"cpu": "200m", "memory": "3Gi", SLOT: "2", "ephemeral-storage": "1Gi"},
        "limits": {"memory": "7Gi", SLOT: "2"},
    }
    assert engine["securityContext"] == an_engine()["securityContext"]
    assert (engine["envFrom"], engine["imagePullPolicy"]) == (an_engine()["envFrom"], "IfNotPresent")


def test_the_engines_variables_keep_their_order_with_the_servings_in_their_places():
    serving = a_serving(env=({"name": "VLLM_CPU_KVCACHE_SPACE", "value": "2"}, {"name": "VLLM_PLUGINS", "value": "x"}))
    assert engine_of(a_job(serving=serving))["env"] == [
        {"name": "VLLM_CPU_KVCACHE_SPACE", "value": "2"},
        *an_engine()["env"][1:],
        {"name": "VLLM_PLUGINS", "value": "x"},
    ]


def test_the_engine_mounts_what_it_would_mount_when_deployed_and_nothing_else():
    assert mounts_of(engine_of(a_job())) == {
        "/models": {"name": "weights", "mountPath": "/models", "readOnly": True},
        "/dev/shm": {"name": "shm", "mountPath": "/dev/shm"},
        "/tmp": {"name": "tmp-engine", "mountPath": "/tmp"},
        "/rightsizer/model": {
            "name": "weights",
            "mountPath": "/rightsizer/model",
            "subPath": f"artefacts/{ARTEFACT}",
            "readOnly": True,
        },
    }
    assert "/rightsizer/model" not in mounts_of(engine_of(a_job(serving=a_serving(artefact=""))))


def test_the_engine_has_no_probe_because_the_client_does_the_waiting():
    assert not {"startupProbe", "livenessProbe", "readinessProbe"} & set(engine_of(a_job()))


def test_the_last_words_of_a_crashed_engine_are_kept_in_its_status():
    assert engine_of(a_job())["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_the_pod_runs_where_and_how_the_target_runs():
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}]}}}
    target = a_target(affinity=affinity, runtimeClassName="nvidia", schedulerName="bin-packer", dnsPolicy="Default")
    pod = pod_of(a_job(target))
    found = target["spec"]["template"]["spec"]
    same = (
        "nodeSelector",
        "affinity",
        "tolerations",
        "runtimeClassName",
        "securityContext",
        "imagePullSecrets",
        "schedulerName",
    )
    assert {field: pod[field] for field in same} == {field: found[field] for field in same}


def test_a_profile_adds_placement_but_never_overrules_the_targets():
    profile = JobProfile(
        image="trial:1",
        node_selector={"pool": "other", "zone": "a"},
        tolerations=({"key": "batch", "operator": "Exists"},),
    )
    pod = pod_of(a_job(settings=some_settings(trial=profile)))
    assert pod["nodeSelector"] == {"pool": "engines", "zone": "a"}
    assert [one["key"] for one in pod["tolerations"]] == ["gpu", "batch"]


# Backoff, deadlines, failure rules.


def test_a_job_is_never_tried_again_by_the_job_controller():
    spec = a_job()["spec"]
    assert (spec["backoffLimit"], spec["completions"], spec["parallelism"]) == (0, 1, 1)
    assert (pod_of(a_job())["restartPolicy"], spec["podReplacementPolicy"]) == ("Never", "Failed")


@pytest.mark.parametrize("total_s", [1, 59.5, 3600, 86_400])
def test_the_clients_deadline_is_shorter_than_the_pods_and_that_than_the_jobs(total_s):
    job = a_job(assignment=a_trial(deadlines={"total_s": total_s}))
    pod_s, job_s = pod_of(job)["activeDeadlineSeconds"], job["spec"]["activeDeadlineSeconds"]
    assert total_s < pod_s < job_s
    assert isinstance(pod_s, int)


def test_the_jobs_deadline_leaves_room_for_the_time_a_pod_may_wait_to_be_scheduled():
    settings = some_settings(pending_deadline_s=500, job_ttl_grace_s=70)
    job = a_job(settings=settings)
    assert job["spec"]["activeDeadlineSeconds"] - pod_of(job)["activeDeadlineSeconds"] == 570


def test_disruption_and_the_clients_exit_code_fail_the_job_by_rules_of_their_own():
    rules = a_job()["spec"]["podFailurePolicy"]["rules"]
    assert rules == [
        {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"containerName": "trial", "operator": "NotIn", "values": [0]}},
    ]


@pytest.mark.parametrize(
    ("condition", "disrupted"),
    [
        (
            {
                "type": "Failed",
                "reason": "PodFailurePolicy",
                "message": "Pod ml/x has condition DisruptionTarget matching FailJob rule at index 0",
            },
            True,
        ),
        (
            {
                "type": "FailureTarget",
                "reason": "PodFailurePolicy",
                "message": "Pod ml/x has condition DisruptionTarget matching FailJob rule at index 0",
            },
            True,
        ),
        (
            {
                "type": "Failed",
                "reason": "PodFailurePolicy",
                "message": "Container trial for pod ml/x failed with exit code 3 matching FailJob rule at index 1",
            },
            False,
        ),
        ({"type": "Failed", "reason": "DeadlineExceeded", "message": ""}, False),
        ({"type": "Complete", "reason": "CompletionsReached", "message": ""}, False),
    ],
)
def test_a_disrupted_job_is_known_by_the_rule_its_condition_names(condition, disrupted):
    assert jobs.disrupted({"status": {"conditions": [condition]}}) is disrupted
    assert jobs.disrupted({"status": {}}) is False


def test_no_job_deletes_itself_before_its_result_is_recorded():
    assert "ttlSecondsAfterFinished" not in a_job()["spec"]


def test_the_run_owns_the_job():
    assert a_job()["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "rightsizer.dev/v1alpha1",
            "kind": "OptimizationRun",
            "name": "support-chat-01234567-1",
            "uid": RUN_UID,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def test_job_and_pod_carry_the_same_labels_which_say_what_they_are_for():
    job = a_job(assignment=a_trial(purpose="Certify", attempt=3))
    assert job["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"]
    assert {key.rpartition("/")[2]: value for key, value in job["metadata"]["labels"].items()} == {
        "managed-by": "rightsizer",
        "inference-deployment": "support-chat",
        "run": "support-chat-01234567-1",
        "purpose": "certify",
        "subject": "int8",
        "attempt": "3",
    }


# The assignment.


def test_the_assignment_goes_in_as_one_json_variable():
    assignment = a_trial()
    (variable,) = [
        one for one in client_of(a_job(assignment=assignment))["env"] if one["name"] == "RIGHTSIZER_ASSIGNMENT"
    ]
    assert load_assignment(variable["value"]) == assignment


def test_a_profile_can_neither_replace_the_assignment_nor_lose_its_own_variables():
    profile = JobProfile(
        image="trial:1",
        env=(
            {"name": "RIGHTSIZER_ASSIGNMENT", "value": "{}"},
            {"name": "HOME", "value": "/h"},
            {"name": "X", "value": "1"},
        ),
        volumes=({"name": "env", "persistentVolumeClaim": {"claimName": "env"}},),
        volume_mounts=({"name": "env", "mountPath": "/opt/env", "readOnly": True},),
        resources={"requests": {"cpu": "500m"}},
        command=("/opt/env/bin/python3", "-m", "rightsizer_jobs"),
    )
    job = a_job(settings=some_settings(trial=profile))
    env = {variable["name"]: variable["value"] for variable in client_of(job)["env"]}
    assert json.loads(env["RIGHTSIZER_ASSIGNMENT"])["run_uid"] == RUN_UID
    assert (env["HOME"], env["X"], len(client_of(job)["env"])) == ("/h", "1", 3)
    assert client_of(job)["resources"] == {"requests": {"cpu": "500m"}}
    assert mounts_of(client_of(job))["/opt/env"]["readOnly"] is True
    assert "client-env" in {volume["name"] for volume in pod_of(job)["volumes"]}


def test_volumes_of_the_target_and_of_the_profile_may_have_one_name():
    profile = JobProfile(
        image="trial:1",
        volumes=({"name": "shm", "configMap": {"name": "ours"}},),
        volume_mounts=({"name": "shm", "mountPath": "/ours"},),
    )
    job = a_job(settings=some_settings(trial=profile))
    volumes = {volume["name"]: volume for volume in pod_of(job)["volumes"]}
    assert len(volumes) == len(pod_of(job)["volumes"])
    assert "emptyDir" in volumes[mounts_of(engine_of(job))["/dev/shm"]["name"]]
    assert "configMap" in volumes[mounts_of(client_of(job))["/ours"]["name"]]


def test_building_changes_nothing_that_was_passed_in():
    target = a_target(an_engine(ports=[{"containerPort": 1, "hostPort": 1}]))
    before = copy.deepcopy(target)
    job = a_job(target)
    engine_of(job)["env"][1]["valueFrom"]["secretKeyRef"]["name"] = "changed"
    pod_of(job)["volumes"][0]["name"] = "changed"
    assert target == before
    assert a_job(target) == a_job(copy.deepcopy(target))
