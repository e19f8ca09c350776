from typing import Any

import pytest

from rightsizer_operator.cluster import parse
from rightsizer_operator.cluster.accelerators import requested, trimmed
from rightsizer_operator.cluster.observe import scales, selector_text
from rightsizer_operator.resource.status import InferenceDeploymentStatus
from tests.reconciling import stage
from tests.resources import samples

Object = dict[str, Any]


def stored(spec: Any, **more: Any) -> Object:
    metadata = {"namespace": "ml", "name": "odd", "uid": "u", "resourceVersion": "1", "generation": 1}
    return {"metadata": metadata, "spec": spec, **more}


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        (None, "spec"),
        ([], "spec"),
        ("text", "spec"),
        ({}, "spec.targetRef"),
        ({**stage.infdep("ml")["spec"], "slo": None}, "spec.slo"),
        ({**stage.infdep("ml")["spec"], "slo": {"ttftMs": "fast"}}, "spec.slo.ttftMs"),
        ({**stage.infdep("ml")["spec"], "search": {"precisions": ["INT1"]}}, "spec.search.precisions.0"),
        ({**stage.infdep("ml")["spec"], "search": {"engines": None}}, "spec.search.engines"),
    ],
)
def test_a_spec_that_does_not_fit_names_the_field(spec: Any, named: str) -> None:
    found = parse.inference_deployment(stored(spec))
    assert found.spec is None
    assert named in found.spec_error and len(found.spec_error) <= 900


def test_fields_of_a_newer_version_are_ignored() -> None:
    spec = {**stage.infdep("ml")["spec"], "fancy": {"new": True}}
    assert parse.inference_deployment(stored(spec)).spec_error == ""


@pytest.mark.parametrize("status", [None, [], {"conditions": "none"}, {"runRef": {"name": 5}}])
def test_an_unreadable_status_is_as_good_as_none(status: Any) -> None:
    found = parse.inference_deployment(stored(stage.infdep("ml")["spec"], status=status))
    assert found.status == InferenceDeploymentStatus()


def test_missing_metadata_is_survived() -> None:
    found = parse.inference_deployment(
        {"metadata": {"namespace": "ml", "name": "odd", "uid": "u", "annotations": None}}
    )
    assert (found.generation, found.annotations, found.created) == (0, {}, "")


def test_an_unreadable_run_is_named_and_not_overwritten() -> None:
    run = samples.full("optrun")
    run["metadata"] |= {"uid": "u", "resourceVersion": "1"}
    run["status"]["trials"] = "lost"
    with pytest.raises(parse.Unreadable, match=r"OptimizationRun full cannot be read: run.trials: .* delete the run"):
        parse.optimization_run(run)


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ({}, ""),
        ({"matchLabels": None, "matchExpressions": None}, ""),
        ({"matchLabels": {"a": "1", "b": "2"}}, "a=1,b=2"),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["x", "y"]}]}, "a in (x,y)"),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]}, "a notin (x)"),
        ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}, "a=1,b"),
        ({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}, "!b"),
    ],
)
def test_a_selector_is_written_as_the_api_takes_it(selector: Object, text: str) -> None:
    assert selector_text(selector) == text


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ({"name": "chat"}, True),
        ({"name": "chat", "kind": "Deployment"}, True),
        ({"name": "chat", "kind": "StatefulSet"}, False),
        ({"name": "other"}, False),
        (None, False),
    ],
)
def test_a_scaler_scales_what_it_names(reference: Any, answer: bool) -> None:
    assert scales({"spec": {"scaleTargetRef": reference}}, "chat") is answer


def container(amount: Any, **more: Any) -> Object:
    return {"resources": {"limits": {stage.ACCELERATOR: amount, "cpu": "1"}}, **more}


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ({}, 0),
        ({"containers": None}, 0),
        ({"containers": [{"resources": None}]}, 0),
        ({"containers": [container("lots")]}, 0),
        ({"containers": [container("2"), container("1")]}, 3),
        ({"containers": [{}], "initContainers": [container("2", restartPolicy="Always")]}, 2),
        ({"containers": [container("1")], "initContainers": [container("2", restartPolicy="Always")]}, 3),
        ({"containers": [container("1")], "initContainers": [container("4")]}, 4),
        ({"containers": [container("3")], "initContainers": [container("2")]}, 3),
        ({"containers": [{}], "initContainers": [container("1", restartPolicy="Always"), container("2")]}, 3),
    ],
)
def test_accelerators_of_a_pod_are_counted_as_the_scheduler_does(spec: Object, count: int) -> None:
    assert requested(spec)[stage.ACCELERATOR] == count


def test_a_node_is_kept_without_its_images() -> None:
    node = {"metadata": {"name": "n", "managedFields": [1]}, "status": {"images": [1], "allocatable": {"cpu": "1"}}}
    assert trimmed(node) == {"metadata": {"name": "n"}, "spec": {}, "status": {"allocatable": {"cpu": "1"}}}
