"""What the API server keeps: nothing pruned, the types' defaults, status apart from spec, frozen fields frozen."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.embedded.client import Client, Refused, wait_for
from e2e.embedded.controlplane import ControlPlane
from rightsizer_operator.resource import crd
from rightsizer_operator.resource.run import RunSpec, RunStatus
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.resource.status import InferenceDeploymentStatus
from tests.resources import samples

INFDEP = "InferenceDeployment"


def patched(api: Client, stored: samples.Object, body: Any, *, subresource: str = "") -> samples.Object:
    meta = stored["metadata"]
    return api.patch(
        stored["apiVersion"], stored["kind"], meta["name"], meta["namespace"], body=body, subresource=subresource
    )


def test_the_least_object_gets_the_defaults_of_the_types(api: Client, namespace: str) -> None:
    sent = samples.infdep(namespace=namespace)
    stored = api.create(sent)
    assert stored["spec"] == InferenceDeploymentSpec.model_validate(sent["spec"]).wire()
    assert "status" not in stored


@pytest.mark.parametrize("short", ["infdep", "optrun"])
def test_an_object_with_every_field_is_stored_unpruned(api: Client, namespace: str, short: str) -> None:
    sent = samples.full(short, namespace=namespace)
    stored = api.create(sent)
    assert stored["spec"] == sent["spec"]
    stored = patched(api, stored, {"status": sent["status"]}, subresource="status")
    assert stored["status"] == sent["status"]


@pytest.mark.parametrize(
    ("short", "spec", "status"),
    [("infdep", InferenceDeploymentSpec, InferenceDeploymentStatus), ("optrun", RunSpec, RunStatus)],
)
def test_the_types_read_and_write_every_stored_field(short: str, spec: Any, status: Any) -> None:
    sent = samples.full(short)
    assert spec.model_validate(sent["spec"]).wire() == sent["spec"]
    assert status.model_validate(sent["status"]).wire() == sent["status"]


@pytest.mark.parametrize("load", samples.WORKLOADS.values(), ids=samples.WORKLOADS)
def test_every_kind_of_workload_is_stored_unpruned_and_read_again(
    api: Client, namespace: str, load: samples.Object
) -> None:
    stored = api.create(samples.changed(samples.infdep(namespace=namespace), "spec.workload", load))
    assert stored["spec"]["workload"] == load
    assert InferenceDeploymentSpec.model_validate(stored["spec"]).workload.wire() == load


def test_status_is_written_through_its_subresource_only(api: Client, namespace: str) -> None:
    stored = api.create(samples.changed(samples.infdep(namespace=namespace), "status", {"phase": "Lie"}))
    assert "status" not in stored
    assert "status" not in patched(api, stored, {"status": {"phase": "Lie"}})
    stored = patched(api, stored, {"spec": {"paused": True}, "status": {"phase": "Measuring"}}, subresource="status")
    assert stored["status"]["phase"] == "Measuring"
    assert stored["spec"]["paused"] is False
    assert stored["metadata"]["generation"] == 1


def test_conditions_are_merged_by_type(api: Client, namespace: str) -> None:
    stored = api.create(samples.infdep(namespace=namespace))
    ready = {"type": "Ready", "status": "True", "reason": "Accepted"}
    with pytest.raises(Refused, match="Duplicate value"):
        patched(api, stored, {"status": {"conditions": [ready, ready]}}, subresource="status")


FROZEN = (
    ("name", {"name": "other"}, "is immutable: create another InferenceDeployment for another target"),
    ("container", {"container": "other"}, "is immutable once set: create another InferenceDeployment"),
    ("container removed", {"container": None}, "is immutable once set: create another InferenceDeployment"),
)


@pytest.mark.parametrize(("change", "message"), [case[1:] for case in FROZEN], ids=[case[0] for case in FROZEN])
def test_the_target_is_immutable(api: Client, namespace: str, change: samples.Object, message: str) -> None:
    stored = api.create(samples.changed(samples.infdep(namespace=namespace), "spec.targetRef.container", "engine"))
    with pytest.raises(Refused, match=message):
        patched(api, stored, {"spec": {"targetRef": change}})


def test_of_the_target_ownership_may_change_and_the_container_may_be_named(api: Client, namespace: str) -> None:
    stored = api.create(samples.infdep(namespace=namespace))
    stored = patched(api, stored, {"spec": {"targetRef": {"takeOwnership": True, "container": "engine"}}})
    assert stored["spec"]["targetRef"]["container"] == "engine"


def test_everything_else_of_the_intent_may_change(api: Client, namespace: str) -> None:
    stored = api.create(samples.infdep(namespace=namespace))
    change = {"model": {"name": "other", "path": "other"}, "slo": {"ttftMs": 1}, "modelCache": {"claimName": "other"}}
    assert patched(api, stored, {"spec": change})["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    "change",
    [{"attempt": 9}, {"fingerprint": "other"}, {"accepted": {"paused": False}}, {"baseline": {"replicas": 9}}],
    ids=lambda change: next(iter(change)),
)
def test_a_run_is_immutable(api: Client, namespace: str, change: samples.Object) -> None:
    stored = api.create(samples.full("optrun", namespace=namespace))
    with pytest.raises(Refused, match="is immutable: change the InferenceDeployment, which starts a new run"):
        patched(api, stored, {"spec": change})


def test_a_run_takes_status_after_status(api: Client, namespace: str) -> None:
    sample = samples.full("optrun", namespace=namespace)
    stored = api.create(sample)
    for phase in ("Measuring", "Proposed"):
        status = {"status": {**sample["status"], "phase": phase}}
        assert patched(api, stored, status, subresource="status")["status"]["phase"] == phase


def with_trials(api: Client, namespace: str, *jobs: str) -> tuple[samples.Object, list[samples.Object]]:
    """A stored run, and the records of its finished trials."""
    sample = samples.full("optrun", namespace=namespace)
    records = [{**sample["status"]["trials"][0], "job": job} for job in jobs]
    stored = api.create(sample)
    return patched(api, stored, {"status": {"trials": records}}, subresource="status"), records


def test_a_finished_trial_is_followed_by_others_and_may_gain_fields(api: Client, namespace: str) -> None:
    sample = samples.full("optrun", namespace=namespace)
    record = sample["status"]["trials"][0]
    early = {name: value for name, value in record.items() if name != "logTail"}
    stored = api.create(sample)
    for trials in ([early], [record], [{**record, "job": "b"}, record]):
        stored = patched(api, stored, {"status": {"trials": trials}}, subresource="status")
        assert stored["status"]["trials"] == trials


TAMPERED = (
    ("removed", lambda a, b: [a], "trials is append-only: a finished trial is never removed"),
    ("removed with the list", lambda a, b: None, "trials is append-only"),
    ("replaced", lambda a, b: [a, {**b, "job": "c"}], "trials is append-only"),
    ("given another report", lambda a, b: [a, {**b, "report": "{}"}], "outcome and report of a finished trial"),
    ("given another outcome", lambda a, b: [{**a, "outcome": "Void"}, b], "outcome and report of a finished trial"),
)


@pytest.mark.parametrize(("tamper", "message"), [case[1:] for case in TAMPERED], ids=[case[0] for case in TAMPERED])
def test_a_finished_trial_cannot_be(api: Client, namespace: str, tamper: Any, message: str) -> None:
    stored, (first, second) = with_trials(api, namespace, "a", "b")
    with pytest.raises(Refused, match=message):
        patched(api, stored, {"status": {"trials": tamper(first, second)}}, subresource="status")


STOP = {"spec": {"updatePolicy": {"mode": "Off"}}}


def test_an_emergency_off_is_accepted_on_every_good_object(api: Client, namespace: str) -> None:
    for name, sample in (("least", samples.infdep(namespace=namespace)), ("full", samples.full("infdep"))):
        stored = api.create({**sample, "metadata": {"name": name, "namespace": namespace}})
        assert patched(api, stored, STOP)["spec"]["updatePolicy"]["mode"] == "Off"


LOOSE = "loose.test"
CRD = "CustomResourceDefinition"


def elsewhere(definition: samples.Object) -> samples.Object:
    """A CRD moved into a group of its own, so that it stands beside the real one."""
    moved: samples.Object = json.loads(json.dumps(definition).replace(crd.GROUP, LOOSE))
    for word in ("shortNames", "categories"):
        moved["spec"]["names"].pop(word)
    return moved


def strip(schema: samples.Object) -> None:
    for word in ("x-kubernetes-validations", "enum", "minimum", "maximum", "minLength", "maxLength", "minItems"):
        schema.pop(word, None)
    if schema.get("x-kubernetes-list-type") == "set":
        schema["x-kubernetes-list-type"] = "atomic"
    for child in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])):
        strip(child)


PREDATES = {
    "targetRef.name": "Not_A_Name",
    "model.path": "/absolute",
    "slo": {"ttftMs": 900, "e2eMs": 800},
    "workload.static.requestRate": "0",
    "quality.maxDropPoints": "200",
    "search.precisions": ["INT8", "INT8"],
    "search.budget.gpuHours": "0",
    "cost.currency": "$",
    "updatePolicy.approvedProposal": "soon",
}


def judged(api: Client, manifest: samples.Object, message: str) -> bool:
    """Whether the API server serves the kind by now and judges the object as said (empty: accepts it)."""
    try:
        api.create(manifest, dry_run=True)
    except (Refused, LookupError) as refused:
        return bool(message) and message in str(refused)
    return not message


def test_an_emergency_off_is_accepted_on_an_object_older_than_every_rule(api: Client, namespace: str) -> None:
    strict = elsewhere(crd.definition(samples.kind("infdep")))
    loose = copy.deepcopy(strict)
    strip(loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    old = {**samples.infdep(name="old", namespace=namespace), "apiVersion": f"{LOOSE}/{crd.VERSION}"}
    for path, value in PREDATES.items():
        old = samples.changed(old, f"spec.{path}", value)
    try:
        api.create(loose)
        wait_for(lambda: judged(api, old, ""), "the loose kind to be served")
        stored = api.create(old)
        api.apply(strict, force=True)
        wait_for(lambda: judged(api, samples.changed(old, "metadata.name", "new"), "must be greater"), "the rules")
        assert patched(api, stored, STOP)["spec"]["updatePolicy"]["mode"] == "Off"
    finally:
        api.delete("apiextensions.k8s.io/v1", CRD, strict["metadata"]["name"])


def kubectl_says(kubectl: Path, plane: ControlPlane, *arguments: str, given: str = "") -> tuple[int, str]:
    command = [kubectl, "--kubeconfig", plane.kubeconfig, *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def test_short_names_and_the_category_are_discovered(api: Client) -> None:
    resources = {found["name"]: found for found in api.request(f"/apis/{crd.GROUP}/{crd.VERSION}")["resources"]}
    for kind in crd.KINDS:
        assert resources[kind.plural]["shortNames"] == [kind.short]
        assert resources[kind.plural]["categories"] == ["inference"]
        assert f"{kind.plural}/status" in resources
        assert f"{kind.plural}/scale" not in resources


def test_selectable_fields_select(api: Client, namespace: str) -> None:
    api.create(samples.infdep(namespace=namespace))
    path = api.path(samples.API_VERSION, INFDEP, None, namespace)
    for value, found in (("support-chat", 1), ("other", 0)):
        assert len(api.request(f"{path}?fieldSelector=spec.targetRef.name%3D{value}")["items"]) == found


def test_kubectl_get_tells_what_is_going_on(
    api: Client, namespace: str, control_plane: ControlPlane, kubectl: Path
) -> None:
    stored = api.create(samples.infdep(namespace=namespace))
    status = {
        "phase": "Measuring",
        "activity": "trial 3 of 24: int8 at 4.1 requests/s",
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Accepted"},
            {"type": "Optimized", "status": "Unknown", "reason": "Measuring"},
        ],
        "current": {"engine": "VLLM", "gpus": 4},
        "proposal": {"hash": "0123456789ab", "candidate": "int8", "gpus": "4 -> 2", "configuration": {"gpus": 2}},
    }
    patched(api, stored, {"status": status}, subresource="status")
    code, table = kubectl_says(kubectl, control_plane, "get", "infdep,optrun", "-n", namespace)
    header, row = table.strip().splitlines()
    assert code == 0
    assert " ".join(header.split()) == "NAME TARGET MODE ENGINE GPUS PROPOSED PHASE READY OPTIMIZED AGE ACTIVITY"
    assert row.split()[1:9] == ["support-chat", "Manual", "VLLM", "4", "2", "Measuring", "True", "Unknown"]
    assert row.endswith("trial 3 of 24: int8 at 4.1 requests/s")


def test_kubectl_explains_every_kind(control_plane: ControlPlane, kubectl: Path) -> None:
    for path, words in (
        ("infdep.spec.quality.maxDropPoints", "Largest allowed drop in accuracy"),
        ("optrun.status.trials.report", "as it came"),
    ):
        # The API server publishes a kind's documentation some seconds after it serves the kind.
        def explained(path: str = path, words: str = words) -> bool:
            code, text = kubectl_says(kubectl, control_plane, "explain", path)
            return code == 0 and words in " ".join(text.split())

        wait_for(explained, f"kubectl explain {path}")


def test_a_bare_off_in_yaml_is_refused_and_a_quoted_one_is_not(
    namespace: str, control_plane: ControlPlane, kubectl: Path
) -> None:
    text = yaml.safe_dump(samples.changed(samples.infdep(namespace=namespace), "spec.updatePolicy.mode", "Off"))
    assert "mode: 'Off'" in text
    assert kubectl_says(kubectl, control_plane, "apply", "-f", "-", given=text)[0] == 0
    code, said = kubectl_says(kubectl, control_plane, "apply", "-f", "-", given=text.replace("'Off'", "Off"))
    assert (code, "spec.updatePolicy.mode" in said, "boolean" in said) == (1, True, True)


def test_an_unknown_field_is_named_by_kubectl(namespace: str, control_plane: ControlPlane, kubectl: Path) -> None:
    text = yaml.safe_dump(samples.changed(samples.infdep(namespace=namespace), "spec.slo.tftMs", 800))
    code, said = kubectl_says(kubectl, control_plane, "apply", "-f", "-", given=text)
    assert (code, 'unknown field "spec.slo.tftMs"' in said) == (1, True)
