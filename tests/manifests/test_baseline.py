import copy

import pytest

from rightsizer_operator.manifests import baseline
from rightsizer_operator.manifests.baseline import Refused, recorded, serving_hash, serving_of, snapshot, template_hash
from rightsizer_operator.resource.reasons import REASONS
from tests.manifests.examples import ARTEFACT, SLOT, a_baseline, a_serving, a_spec, a_target, an_engine


def test_the_baseline_is_the_target_as_found():
    found = snapshot(a_target(), a_spec(), ())
    assert (found.engine, found.container, found.port, found.replicas) == ("VLLM", "engine", 8000, 4)
    assert found.served_model_name == "/models/m26"
    assert found.serving.image == "engines/vllm-cpu:0.32.0"
    assert found.serving.args[0] == "/models/m26"
    assert (found.serving.accelerators, found.serving.cpu_request, found.serving.cpu_limit) == (1, "200m", "")
    assert (found.serving.memory_request, found.serving.memory_limit) == ("3Gi", "6Gi")
    assert (found.model_claim, found.accelerator_resource) == ("models", SLOT)


def test_only_variables_of_the_serving_configuration_are_recorded_with_their_values():
    engine = an_engine()
    engine["env"] += [{"name": "PASSWORD", "value": "canary-7b1"}]
    found = snapshot(a_target(engine), a_spec(), ())
    assert [(one.name, one.value) for one in found.serving.env] == [("VLLM_CPU_KVCACHE_SPACE", "1")]
    assert "canary-7b1" not in found.model_dump_json()


def test_a_scaler_owns_the_replicas():
    found = snapshot(a_target(), a_spec(), ("HorizontalPodAutoscaler/chat",))
    assert found.replicas_managed_by == "HorizontalPodAutoscaler/chat"
    assert found.hash == serving_hash(found.serving, None)


def test_the_only_container_needs_no_name():
    assert snapshot(a_target(), a_spec(targetRef={"name": "support-chat"}), ()).container == "engine"


def test_port_and_served_name_are_resolved_from_literal_variables_as_the_kubelet_does():
    engine = an_engine(
        args=["/m", "--port", "$(PORT)", "--served-model-name", "chat-$$-$(TIER)"],
        env=[{"name": "PORT", "value": "9001"}, {"name": "TIER", "value": "gold"}],
    )
    found = snapshot(a_target(engine), a_spec(), ())
    assert (found.port, found.served_model_name) == (9001, "chat-$-gold")


def test_an_artefact_of_an_earlier_rewrite_is_read_from_its_mount():
    engine = an_engine()
    engine["volumeMounts"].append(
        {"name": "weights", "mountPath": "/rightsizer/model", "subPath": f"artefacts/{ARTEFACT}", "readOnly": True}
    )
    assert serving_of(a_target(engine), "engine", SLOT).artefact == ARTEFACT


def _owned(kind, api_version, controller=True):
    target = a_target()
    target["metadata"]["ownerReferences"] = [
        {"apiVersion": api_version, "kind": kind, "name": "chat", "uid": "u", "controller": controller}
    ]
    return target


def _second(**container):
    return a_target(containers=[an_engine(), {"name": "proxy", "image": "proxy:1", **container}])


SPEC_WITHOUT_NAME = {"targetRef": {"name": "support-chat"}}
REFUSALS = {
    "a container that is not there": (
        a_target(),
        {"targetRef": {"name": "support-chat", "container": "vllm"}},
        "ContainerNotFound",
        ("vllm", "engine"),
    ),
    "several containers of which none is named": (
        _second(),
        SPEC_WITHOUT_NAME,
        "ContainerAmbiguous",
        ("engine, proxy", "spec.targetRef.container"),
    ),
    "a container that is no engine": (
        a_target(an_engine(command=["nginx"], args=None)),
        {},
        "NotAnEngine",
        ("nginx", "spec.targetRef.container"),
    ),
    "an engine behind a shell": (
        a_target(an_engine(command=["sh", "-c"], args=["vllm serve /m"])),
        {},
        "ShellWrapped",
        ("lists",),
    ),
    "an unknown image": (
        a_target(an_engine(image="shop/web", command=None, args=None)),
        {},
        "UnknownEngineImage",
        ("shop/web",),
    ),
    "a target that KServe owns": (
        _owned("InferenceService", "serving.kserve.io/v1beta1"),
        {},
        "TargetOwned",
        ("InferenceService chat", "serving.kserve.io"),
    ),
    "a target that Argo Rollouts owns": (
        _owned("Rollout", "argoproj.io/v1alpha1"),
        {},
        "TargetOwned",
        ("Rollout chat",),
    ),
    "a target without accelerators": (
        a_target(an_engine(resources={"limits": {"memory": "6Gi"}})),
        {},
        "UnsupportedDeviceRequest",
        (SLOT, "resources.limits"),
    ),
    "a target with none of them": (
        a_target(an_engine(resources={"limits": {SLOT: "0"}})),
        {},
        "UnsupportedDeviceRequest",
        (SLOT, "resources.limits"),
    ),
    "devices by claims of the pod": (
        a_target(resourceClaims=[{"name": "gpu"}]),
        {},
        "UnsupportedDeviceRequest",
        ("resourceClaims",),
    ),
    "devices by claims of the container": (
        a_target(an_engine(resources={"claims": [{"name": "gpu"}], "limits": {SLOT: "1"}})),
        {},
        "UnsupportedDeviceRequest",
        ("resourceClaims",),
    ),
    "a second container with accelerators": (
        _second(resources={"limits": {SLOT: "1"}}),
        {},
        "UnsupportedDeviceRequest",
        ("proxy", "only one container"),
    ),
    "an engine that demands a key": (
        a_target(an_engine(args=["/m", "--api-key", "canary"])),
        {},
        "UnsupportedEngineFlag",
        ("--api-key",),
    ),
    "an engine that demands a key by variable": (
        a_target(an_engine(env=[{"name": "VLLM_API_KEY", "value": "canary"}])),
        {},
        "UnsupportedEngineFlag",
        ("VLLM_API_KEY",),
    ),
    "an engine that speaks TLS": (
        a_target(an_engine(args=["/m", "--ssl-keyfile", "/k"])),
        {},
        "UnsupportedEngineFlag",
        ("--ssl-keyfile", "TLS"),
    ),
    "settings in a file": (
        a_target(an_engine(args=["/m", "--config", "/c.yaml"])),
        {},
        "UnsupportedEngineFlag",
        ("--config",),
    ),
    "a port that is no number": (
        a_target(an_engine(args=["/m", "--port", "http"])),
        {},
        "UnsupportedEngineFlag",
        ("--port", "http"),
    ),
    "a port beyond all ports": (
        a_target(an_engine(args=["/m", "--port", "99999"])),
        {},
        "UnsupportedEngineFlag",
        ("--port",),
    ),
    "a port known only in the pod": (
        a_target(an_engine(args=["/m", "--port", "$(PORT)"])),
        {},
        "UnsupportedEngineFlag",
        ("$(PORT)",),
    ),
    "an argument that no record can hold": (
        a_target(an_engine(args=["/m", "--chat-template", "x" * 5000])),
        {},
        "UnsupportedEngineFlag",
        ("args",),
    ),
}


@pytest.mark.parametrize("what", REFUSALS, ids=list(REFUSALS))
def test_refused_with_a_message_that_helps_is(what):
    target, spec, reason, words = REFUSALS[what]
    before = copy.deepcopy(target)
    with pytest.raises(Refused) as refused:
        snapshot(target, a_spec(**spec), ())
    assert refused.value.reason == reason
    assert reason in REASONS
    assert all(word in refused.value.message for word in words), refused.value.message
    assert "canary" not in refused.value.message
    assert target == before


def test_an_owner_that_is_no_controller_does_not_matter():
    assert snapshot(_owned("Application", "app.k8s.io/v1", controller=False), a_spec(), ()).replicas == 4


def test_reading_a_target_whose_container_is_gone_is_refused():
    with pytest.raises(Refused, match="ContainerNotFound"):
        serving_of(a_target(), "gone", SLOT)


def test_the_hash_changes_with_every_field_of_the_closed_list_and_with_the_replicas():
    serving = a_serving()
    changes = [
        {"image": "other"},
        {"command": ("other",)},
        {"args": ("other",)},
        {"env": ()},
        {"accelerators": 2},
        {"cpu_request": "1"},
        {"cpu_limit": "1"},
        {"memory_request": "1Gi"},
        {"memory_limit": "1Gi"},
        {"artefact": "other"},
        {"engine_config": "{}"},
    ]
    assert {field for change in changes for field in change} == set(type(serving).model_fields)
    hashes = {serving_hash(a_serving(**change), 4) for change in changes}
    assert (
        len(hashes | {serving_hash(serving, 4), serving_hash(serving, 5), serving_hash(serving, None)})
        == len(changes) + 3
    )
    assert serving_hash(serving, 4) == serving_hash(a_serving(), 4)


def test_the_template_hash_sees_everything_but_our_annotations_and_plain_restarts():
    target = a_target()
    before = template_hash(target)
    target["spec"]["template"]["metadata"]["annotations"] = {
        "rightsizer.dev/engine-config": "{}",
        "kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z",
    }
    assert template_hash(target) == before
    target["spec"]["template"]["metadata"]["annotations"]["team"] = "chat"
    assert template_hash(target) != before
    target = a_target()
    target["spec"]["template"]["spec"]["containers"][0]["env"][2]["value"] = "3"
    assert template_hash(target) != before


def test_the_baseline_is_read_back_from_the_targets_annotation():
    target = a_target()
    assert recorded(target) is None
    target["metadata"]["annotations"] = {"rightsizer.dev/baseline": a_baseline().model_dump_json(by_alias=True)}
    assert recorded(target) == a_baseline()
    target["metadata"]["annotations"]["rightsizer.dev/baseline"] = "{"
    assert recorded(target) is None


def test_the_exception_is_the_one_that_command_lines_raise():
    with pytest.raises(baseline.Refused):
        snapshot(a_target(an_engine(command=["sh", "-c"])), a_spec(), ())
