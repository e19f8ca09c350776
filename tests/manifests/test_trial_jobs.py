"""The mechanics of Jobs, sentence by sentence."""

import copy
import json

import pytest

from rightsizer_jobs.contract import load_assignment
from rightsizer_operator.manifests import jobs, trial_pod
from rightsizer_operator.settings import JobProfile
from tests.manifests.examples import (
    ARTEFACT,
    RUN_UID,
    SLOT,
    a_serving,
    a_spec,
    a_target,
    a_trial,
    an_engine,
    some_settings,
)


def a_job(target=None, *, serving=None, assignment=None, settings=None, spec=None):
    return jobs.trial_job(
        run_name="support-chat-01234567-1",
        run_uid=RUN_UID,
        infdep_name="support-chat",
        namespace="ml",
        target=target or a_target(),
        container="engine",
        serving=serving or a_serving(),
        assignment=assignment or a_trial(),
        settings=settings or some_settings(),
        spec=spec or a_spec(),
    )


def pod_of(job):
    return job["spec"]["template"]["spec"]


def engine_of(job):
    return pod_of(job)["initContainers"][-1]


def client_of(job):
    return pod_of(job)["containers"][0]


def mounts_of(container):
    return {mount["mountPath"]: mount for mount in container["volumeMounts"]}


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


# Trials never displace serving pods.


def test_no_service_or_selector_of_the_target_selects_a_trial():
    target = a_target()
    labels = a_job(target)["spec"]["template"]["metadata"]["labels"]
    assert not trial_pod.matches(target["spec"]["selector"], labels)
    assert not set(labels) & set(target["spec"]["template"]["metadata"]["labels"])
    assert all(key.startswith("rightsizer.dev/") or labels[key] == "rightsizer" for key in labels)


def test_a_trial_has_no_priority_over_anybody():
    assert "priorityClassName" not in pod_of(a_job())


def test_a_trial_takes_no_port_of_the_node():
    ports = [{"containerPort": 8000, "hostPort": 8000, "hostIP": "0.0.0.0"}]
    job = a_job(a_target(an_engine(ports=ports), hostNetwork=True, hostIPC=True, hostPID=True))
    assert engine_of(job)["ports"] == [{"containerPort": 8000}]
    assert not {"hostNetwork", "hostIPC", "hostPID"} & set(pod_of(job))


def _term(app):
    return {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "kubernetes.io/hostname"}


def test_spreading_among_the_targets_own_pods_is_left_out_and_other_rules_stay():
    affinity = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [_term("support-chat"), _term("noisy")],
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "podAffinityTerm": _term("support-chat")}
            ],
        },
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [_term("support-chat")]},
    }
    spread = [{"maxSkew": 1, **_term("support-chat"), "whenUnsatisfiable": "DoNotSchedule"}]
    pod = pod_of(a_job(a_target(affinity=affinity, topologySpreadConstraints=spread)))
    assert pod["affinity"] == {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [_term("noisy")]}}
    assert "topologySpreadConstraints" not in pod


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "chat"}}, True),
        ({"matchLabels": {"app": "web"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["chat"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["chat"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "other", "operator": "DoesNotExist"}]}, True),
    ],
)
def test_label_selectors_are_read_as_kubernetes_reads_them(selector, selected):
    assert trial_pod.matches(selector, {"app": "chat"}) is selected


def test_autoscalers_are_asked_to_leave_the_pod_alone():
    annotations = a_job()["spec"]["template"]["metadata"]["annotations"]
    assert annotations["karpenter.sh/do-not-disrupt"] == "true"
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"


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


# No rights, no token.


def test_a_trial_has_no_token_and_no_service_account_of_its_own():
    pod = pod_of(a_job())
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["serviceAccountName"] == "default"


def test_tokens_that_the_target_mounts_by_hand_are_left_out():
    target = a_target()
    projected = {"sources": [{"serviceAccountToken": {"path": "token"}}, {"configMap": {"name": "kept"}}]}
    target["spec"]["template"]["spec"]["volumes"].append({"name": "identity", "projected": projected})
    target["spec"]["template"]["spec"]["containers"][0]["volumeMounts"].append({"name": "identity", "mountPath": "/id"})
    volumes = {volume["name"]: volume for volume in pod_of(a_job(target))["volumes"]}
    assert volumes["identity"]["projected"]["sources"] == [{"configMap": {"name": "kept"}}]


def test_the_client_runs_restricted_whatever_the_target_does():
    job = a_job(a_target(an_engine(securityContext=None), securityContext={"runAsUser": 0}))
    context = client_of(job)["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] != 0
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert mounts_of(client_of(job))["/tmp"]["name"] == "client-tmp"


def test_the_client_is_the_user_that_the_targets_pods_are_so_that_it_can_use_the_volume():
    assert client_of(a_job())["securityContext"]["runAsUser"] == 1000
    engine = an_engine(securityContext={"runAsUser": 2000, "runAsGroup": 3000})
    context = client_of(a_job(a_target(engine)))["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (2000, 3000)


# The model volume.


def test_the_client_reads_the_model_volume_and_writes_only_below_runs():
    mounts = mounts_of(client_of(a_job()))
    assert mounts["/rightsizer/volume"]["readOnly"] is True
    records = mounts["/rightsizer/volume/runs"]
    assert records["subPath"] == "runs"
    writable = [path for path, mount in mounts.items() if not mount.get("readOnly") and path.startswith("/rightsizer")]
    assert writable == ["/rightsizer/volume/runs"]


def test_a_claim_that_the_target_mounts_already_gets_no_second_volume():
    """A pod with two volumes of one claim never starts: kubernetes/kubernetes#127004."""
    claims = [one for one in pod_of(a_job())["volumes"] if "persistentVolumeClaim" in one]
    assert claims == [{"name": "weights", "persistentVolumeClaim": {"claimName": "models"}}]


def test_what_the_target_mounts_read_only_for_the_whole_pod_stays_read_only_for_the_engine():
    engine = an_engine()
    engine["volumeMounts"][0].pop("readOnly")
    assert mounts_of(engine_of(a_job(a_target(engine))))["/models"]["readOnly"] is True


def test_a_claim_that_the_target_does_not_mount_gets_a_volume_of_ours():
    job = a_job(a_target(claim="weights-only"))
    volumes = {volume["name"]: volume for volume in pod_of(job)["volumes"]}
    assert volumes["rightsizer-models"] == {
        "name": "rightsizer-models",
        "persistentVolumeClaim": {"claimName": "models"},
    }
    assert mounts_of(engine_of(job))["/rightsizer/model"]["name"] == "rightsizer-models"


def test_a_volume_of_an_earlier_rewrite_is_replaced_by_the_claim_of_the_spec():
    target = a_target(claim="weights-only")
    old = {"name": "rightsizer-models", "persistentVolumeClaim": {"claimName": "old", "readOnly": True}}
    target["spec"]["template"]["spec"]["volumes"].append(old)
    mount = {
        "name": "rightsizer-models",
        "mountPath": "/rightsizer/model",
        "subPath": "artefacts/old",
        "readOnly": True,
    }
    target["spec"]["template"]["spec"]["containers"][0]["volumeMounts"].append(mount)
    job = a_job(target)
    volumes = {volume["name"]: volume for volume in pod_of(job)["volumes"]}
    assert volumes["rightsizer-models"]["persistentVolumeClaim"] == {"claimName": "models"}
    assert mounts_of(engine_of(job))["/rightsizer/model"]["subPath"] == f"artefacts/{ARTEFACT}"


def test_only_volumes_that_somebody_mounts_come_along():
    assert {volume["name"] for volume in pod_of(a_job())["volumes"]} == {"weights", "shm", "tmp-engine", "client-tmp"}


def test_init_containers_that_prepare_the_engines_volumes_come_along():
    fetch = {
        "name": "trial",
        "image": "fetch:1",
        "volumeMounts": [{"name": "shm", "mountPath": "/w"}, {"name": "unrelated", "mountPath": "/c"}],
    }
    chatter = {"name": "chatter", "image": "c:1"}
    proxy = {
        "name": "proxy",
        "image": "p:1",
        "restartPolicy": "Always",
        "volumeMounts": [{"name": "shm", "mountPath": "/w"}],
    }
    pod = pod_of(a_job(a_target(initContainers=[chatter, fetch, proxy])))
    assert [(one["name"], one["image"]) for one in pod["initContainers"]] == [
        ("prepare-0", "fetch:1"),
        ("engine", "engines/vllm-cpu:0.32.0"),
    ]
    assert "unrelated" in {volume["name"] for volume in pod["volumes"]}


def test_settings_without_a_flag_reach_the_engine_as_a_file_from_the_pods_own_annotation():
    job = a_job(serving=a_serving(engine_config='{"a": 1}'))
    assert job["spec"]["template"]["metadata"]["annotations"]["rightsizer.dev/engine-config"] == '{"a": 1}'
    volumes = {volume["name"]: volume for volume in pod_of(job)["volumes"]}
    item = volumes["rightsizer-engine-config"]["downwardAPI"]["items"][0]
    assert item == {
        "path": "engine.yaml",
        "fieldRef": {"fieldPath": "metadata.annotations['rightsizer.dev/engine-config']"},
    }
    assert mounts_of(engine_of(job))["/rightsizer/config"]["readOnly"] is True


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
