"""The closed field list, and nothing but it, in every intent that can be made."""

import copy
import json
import re

from hypothesis import given
from hypothesis import strategies as st

from rightsizer_operator.manifests import baseline, target
from rightsizer_operator.resource.run import Serving
from tests.manifests.examples import (
    ARTEFACT,
    SLOT,
    a_baseline,
    a_serving,
    a_spec,
    a_target,
    an_engine,
    applied,
    managed_by,
)

CLOSED_LIST = [
    r"apiVersion|kind|metadata\.(name|namespace)",
    r"metadata\.annotations\[rightsizer\.dev/(baseline|applied-proposal)\]",
    r"spec\.replicas",
    r"spec\.template\.metadata\.annotations\[rightsizer\.dev/engine-config\]",
    r"spec\.template\.spec\.containers\[engine\]\.(name|image|command|args)",
    r"spec\.template\.spec\.containers\[engine\]\.env\[(VLLM_[A-Z_]+)\]\.(name|value)",
    r"spec\.template\.spec\.containers\[engine\]\.resources\.(requests|limits)\[(cpu|memory|rightsizer\.dev/engine-slot)\]",
    r"spec\.template\.spec\.containers\[engine\]\.volumeMounts\[(rightsizer-models|weights|rightsizer-engine-config)\]\.(name|mountPath|subPath|readOnly)",
    r"spec\.template\.spec\.volumes\[rightsizer-models\]\.(name|persistentVolumeClaim\.(claimName|readOnly))",
    r"spec\.template\.spec\.volumes\[rightsizer-engine-config\]\.(name|downwardAPI\.items)",
]
MAPS = ("annotations", "requests", "limits")
KEYED = ("containers", "env", "volumes", "volumeMounts")


def leaves(node, path=""):
    if isinstance(node, dict):
        for key, value in node.items():
            inside = path.rpartition(".")[2] in MAPS
            yield from leaves(value, f"{path}[{key}]" if inside else f"{path}.{key}" if path else key)
    elif isinstance(node, list) and path.rpartition(".")[2] in KEYED:
        for item in node:
            yield from leaves(item, f"{path}[{item['name']}]")
    else:
        yield path


TEXTS = st.text(max_size=20)
SERVINGS = st.builds(
    Serving,
    image=TEXTS,
    command=st.lists(TEXTS, max_size=3).map(tuple),
    args=st.lists(TEXTS, max_size=4).map(tuple),
    env=st.lists(
        st.builds(dict, name=st.sampled_from(["VLLM_PLUGINS", "VLLM_CPU_KVCACHE_SPACE"]), value=TEXTS),
        max_size=2,
        unique_by=lambda one: one["name"],
    ).map(tuple),
    accelerators=st.integers(1, 64),
    cpu_request=st.sampled_from(["", "1"]),
    cpu_limit=st.sampled_from(["", "2"]),
    memory_request=st.sampled_from(["", "1Gi"]),
    memory_limit=st.sampled_from(["", "2Gi"]),
    artefact=st.sampled_from(["", ARTEFACT]),
    engine_config=st.sampled_from(["", "{}"]),
)
TARGETS = st.builds(
    lambda claim, requests, ours: (
        a_target(
            an_engine(resources={"limits": {SLOT: "1"}, **({"requests": {SLOT: "1"}} if requests else {})}), claim=claim
        )
        | ({"metadata": _ours()} if ours else {})
    ),
    st.sampled_from(["models", "other"]),
    st.booleans(),
    st.booleans(),
)


def _ours():
    fields = {"f:spec": {"f:replicas": {}}}
    return {**a_target()["metadata"], "managedFields": [managed_by("rightsizer.dev/rightsizer", fields, "Apply")]}


@given(TARGETS, SERVINGS, SERVINGS, st.integers(0, 100), st.sampled_from(["", "HorizontalPodAutoscaler/x"]), TEXTS)
def test_every_leaf_of_every_intent_is_in_the_closed_list(found, serving, before, replicas, scaler, proposal):
    recorded = a_baseline(before, replicas_managed_by=scaler)
    for intent in (
        target.template_patch(found, "engine", serving, recorded, proposal),
        target.replicas_patch(found, "engine", serving, replicas, recorded, proposal),
        target.restore_patch(found, recorded),
    ):
        outside = [
            leaf for leaf in leaves(intent) if not any(re.fullmatch(rule, leaf, re.DOTALL) for rule in CLOSED_LIST)
        ]
        assert outside == []


@given(SERVINGS)
def test_what_was_applied_is_read_back_as_the_same_serving(serving):
    bare = a_target(an_engine(command=None, args=None, env=[], resources={"limits": {SLOT: "1"}}), claim="other")
    intent = target.template_patch(bare, "engine", serving, a_baseline(), "0123456789ab")
    found = baseline.serving_of(applied(bare, intent), "engine", SLOT)
    assert found.model_copy(update={"env": ()}) == serving.model_copy(update={"env": ()})
    assert found.env == tuple(sorted(serving.env, key=lambda one: one.name))


def test_the_template_is_written_first_and_the_replica_count_left_alone():
    assert "replicas" not in target.template_patch(a_target(), "engine", a_serving(), a_baseline(), "h")["spec"]


def test_the_replica_count_comes_with_the_whole_template_because_an_intent_drops_what_it_omits():
    first = target.template_patch(a_target(), "engine", a_serving(), a_baseline(), "h")
    second = target.replicas_patch(a_target(), "engine", a_serving(), 2, a_baseline(), "h")
    assert second["spec"]["replicas"] == 2
    assert second["spec"]["template"] == first["spec"]["template"]
    assert second["metadata"] == first["metadata"]


def test_replicas_of_a_scaler_are_never_written():
    scaled = a_baseline(replicas_managed_by="HorizontalPodAutoscaler/chat")
    for intent in (
        target.template_patch(a_target(), "engine", a_serving(), scaled, "h"),
        target.replicas_patch(a_target(), "engine", a_serving(), 2, scaled, "h"),
        target.restore_patch(a_target(), scaled),
    ):
        assert "replicas" not in intent["spec"]


def test_a_replica_count_of_ours_is_kept_because_the_api_server_would_reset_it_to_one():
    found = a_target() | {"metadata": _ours()}
    assert target.template_patch(found, "engine", a_serving(), a_baseline(), "h")["spec"]["replicas"] == 4
    scaled = a_baseline(replicas_managed_by="HorizontalPodAutoscaler/chat")
    assert target.replicas_patch(found, "engine", a_serving(), 2, scaled, "h")["spec"]["replicas"] == 4


def test_the_way_back_is_the_baseline_and_none_of_our_additions():
    serving = a_serving(artefact="", args=("/models/m26", "--port", "8000"))
    intent = target.restore_patch(a_target(), a_baseline(serving))
    assert intent["spec"]["replicas"] == 4
    assert "volumes" not in intent["spec"]["template"]["spec"]
    assert "annotations" not in intent["metadata"]
    container = intent["spec"]["template"]["spec"]["containers"][0]
    assert "volumeMounts" not in container
    assert container["args"] == ["/models/m26", "--port", "8000"]


def test_the_target_carries_its_baseline_so_that_deleting_our_resource_loses_nothing():
    annotations = target.template_patch(a_target(), "engine", a_serving(), a_baseline(), "0123456789ab")["metadata"][
        "annotations"
    ]
    marked = {"metadata": {"annotations": annotations}}
    assert baseline.recorded(marked) == a_baseline()
    assert annotations["rightsizer.dev/applied-proposal"] == "0123456789ab"


def test_the_artefact_is_mounted_read_only_from_the_users_own_volume_of_the_claim():
    pod = target.template_patch(a_target(), "engine", a_serving(), a_baseline(), "h")["spec"]["template"]["spec"]
    assert "volumes" not in pod
    assert pod["containers"][0]["volumeMounts"] == [
        {"name": "weights", "mountPath": "/rightsizer/model", "subPath": f"artefacts/{ARTEFACT}", "readOnly": True}
    ]


def test_the_artefact_is_mounted_from_a_volume_of_ours_where_the_target_has_none_of_the_claim():
    intent = target.template_patch(a_target(claim="other"), "engine", a_serving(), a_baseline(), "h")
    pod = intent["spec"]["template"]["spec"]
    claim = {"claimName": "models", "readOnly": True}
    assert pod["volumes"] == [{"name": "rightsizer-models", "persistentVolumeClaim": claim}]
    assert pod["containers"][0]["volumeMounts"][0]["name"] == "rightsizer-models"


def test_a_volume_of_ours_stays_in_the_intent_because_the_mount_needs_it():
    first = target.template_patch(a_target(claim="other"), "engine", a_serving(), a_baseline(), "h")
    rewritten = applied(a_target(claim="other"), first)
    again = target.template_patch(rewritten, "engine", a_serving(artefact="another"), a_baseline(), "h2")
    assert again["spec"]["template"]["spec"]["volumes"] == first["spec"]["template"]["spec"]["volumes"]


def test_the_accelerators_are_written_where_the_user_writes_them():
    only_limits = a_target(an_engine(resources={"limits": {SLOT: "1"}}))
    serving = a_serving(accelerators=2, cpu_request="", memory_request="", memory_limit="")
    container = target.template_patch(only_limits, "engine", serving, a_baseline(), "h")["spec"]["template"]["spec"][
        "containers"
    ][0]
    assert container["resources"] == {"limits": {SLOT: "2"}}
    container = target.template_patch(a_target(), "engine", serving, a_baseline(), "h")["spec"]["template"]["spec"][
        "containers"
    ][0]
    assert container["resources"] == {"limits": {SLOT: "2"}, "requests": {SLOT: "2"}}


def test_building_an_intent_changes_nothing_that_was_passed_in():
    found = a_target()
    before = copy.deepcopy(found)
    intent = target.template_patch(found, "engine", a_serving(), a_baseline(), "h")
    assert found == before
    assert json.loads(json.dumps(intent)) == intent


def test_a_snapshot_restored_right_away_changes_nothing():
    found = a_target()
    assert applied(found, target.restore_patch(found, baseline.snapshot(found, a_spec(), ()))) == found
