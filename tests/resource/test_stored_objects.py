"""What the API server keeps: nothing pruned, defaults as the types have them, status apart from spec, frozen fields frozen."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from e2e.embedded.client import Client, Refused
from e2e.embedded.controlplane import ControlPlane
from rightsizer_operator.resource import crd
from rightsizer_operator.resource.run import RunSpec, RunStatus
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.resource.status import InferenceDeploymentStatus
from tests.resource import samples

INFDEP, RUN = "InferenceDeployment", "OptimizationRun"


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


STOP = {"spec": {"updatePolicy": {"mode": "Off"}}}


def test_an_emergency_off_is_accepted_on_every_good_object(api: Client, namespace: str) -> None:
    for name, sample in (("least", samples.infdep(namespace=namespace)), ("full", samples.full("infdep"))):
        stored = api.create({**sample, "metadata": {"name": name, "namespace": namespace}})
        assert patched(api, stored, STOP)["spec"]["updatePolicy"]["mode"] == "Off"


LOOSE_NAME = "loose"


def loose_group() -> samples.Object:
    """Our CRD as it would be without any rule or bound, in a group of its own."""
    definition = json.loads(json.dumps(crd.definition(samples.kind("infdep"))).replace(crd.GROUP, f"{LOOSE_NAME}.test"))
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    definition["spec"]["names"].pop("shortNames")
    strip(schema)
    return definition


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


def test_an_emergency_off_is_accepted_on_an_object_older_than_every_rule(api: Client, namespace: str) -> None:
    loose = loose_group()
    api.create(loose)
    bad = samples.infdep(name=LOOSE_NAME, namespace=namespace)
    for path, value in PREDATES.items():
        bad = samples.changed(bad, f"spec.{path}", value)
    bad["apiVersion"] = f"{LOOSE_NAME}.test/{crd.VERSION}"
    stored = created_once_served(api, bad)
    strict = json.loads(json.dumps(crd.definition(samples.kind("infdep"))).replace(crd.GROUP, f"{LOOSE_NAME}.test"))
    strict["spec"]["names"].pop("shortNames")
    api.apply(strict, force=True)
    refused_once_strict(api, {**bad, "metadata": {**bad["metadata"], "name": "new"}})
    assert patched(api, stored, STOP)["spec"]["updatePolicy"]["mode"] == "Off"
    api.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", loose["metadata"]["name"])
