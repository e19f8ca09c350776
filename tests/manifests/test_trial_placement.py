"""Where a trial may run, and what it may not do there: it never displaces serving pods and has no rights."""

import pytest

from rightsizer_operator.manifests import trial_pod
from rightsizer_operator.settings import JobProfile
from tests.manifests.examples import a_target, an_engine, some_settings
from tests.manifests.trial_parts import a_job, client_of, engine_of, mounts_of, pod_of

# Trials never displace serving pods.


def test_no_service_or_selector_of_the_target_selects_a_trial():
    target = a_target()
    labels = a_job(target)["spec"]["template"]["metadata"]["labels"]
    assert not trial_pod.matches(target["spec"]["selector"], labels)
    assert not set(labels) & set(target["spec"]["template"]["metadata"]["labels"])
    assert all(key.startswith("rightsizer.dev/") or labels[key] == "rightsizer" for key in labels)


def test_a_trial_has_no_priority_over_anybody():
    assert "priorityClassName" not in pod_of(a_job())


def test_a_trial_has_the_priority_of_its_profile_where_there_is_one():
    profile = JobProfile(image="trial:1", priority_class_name="trials")
    assert pod_of(a_job(settings=some_settings(trial=profile)))["priorityClassName"] == "trials"


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
