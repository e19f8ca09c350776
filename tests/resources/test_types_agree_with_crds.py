"""The types accept exactly what the CRDs accept: random good objects, and the same with something broken in them.

Without a cluster against the independent reader of schemas; on the API server, rules included, for a sample of them.
``null`` is left out: the API server drops it before anything is stored.
"""

from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies
from pydantic import ValidationError

from rightsizer_operator.resource.crd import schema
from rightsizer_operator.resource.run import RunSpec, RunStatus
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.resource.status import InferenceDeploymentStatus
from tests.resources import openapi, samples

Draw = Callable[[strategies.SearchStrategy[Any]], Any]

PARTS = (
    ("infdep", "spec", InferenceDeploymentSpec),
    ("infdep", "status", InferenceDeploymentStatus),
    ("optrun", "spec", RunSpec),
    ("optrun", "status", RunStatus),
)
SCHEMAS = {(short, part): schema(samples.kind(short))["properties"][part] for short, part, _ in PARTS}
SAMPLES = {(short, part): samples.full(short)[part] for short, part, _ in PARTS}

quantities = strategies.from_regex(r"[0-9]{1,3}(\.[0-9]{1,6})?", fullmatch=True).filter(lambda text: len(text) <= 16)
positives = quantities.filter(lambda text: float(text) > 0)
names = strategies.from_regex(r"[a-z0-9]([a-z0-9.\-]{0,9}[a-z0-9])?", fullmatch=True)
relative_paths = strategies.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,9}(/[a-z_][a-z0-9.]{0,5}){0,2}", fullmatch=True)
paths = relative_paths.filter(lambda path: path.split("/")[0] not in ("artefacts", "runs"))
wholes = strategies.integers(min_value=1, max_value=90)


def some(*items: Any) -> strategies.SearchStrategy[Any]:
    return strategies.lists(strategies.sampled_from(items), min_size=1, max_size=len(items), unique=True)


slos = strategies.fixed_dictionaries(
    {"ttftMs": wholes},
    optional={
        "itlMs": wholes,
        "tpotMs": wholes,
        "percentile": strategies.integers(50, 99),
        "e2eMs": wholes.map(lambda n: n + 90),
    },
)
searches = strategies.fixed_dictionaries(
    {},
    optional={
        "engines": some("VLLM", "TensorRTLLM"),
        "precisions": some("BF16", "INT8", "INT4", "FP8").map(lambda found: ["AsIs", *found]),
        "kvCache": some("Auto", "FP8"),
        "maxNumSeqs": some(8, 64, 256),
        "maxGPUsPerReplica": strategies.integers(1, 64),
        "rerun": strategies.text(max_size=64),
        "budget": strategies.fixed_dictionaries(
            {}, optional={"gpuHours": positives, "maxTrials": strategies.integers(1, 64)}
        ),
        "measurement": strategies.fixed_dictionaries({}, optional={"probeSeconds": strategies.integers(5, 3600)}),
    },
)
policies = strategies.fixed_dictionaries(
    {},
    optional={
        "mode": strategies.sampled_from(["Off", "Manual", "Auto"]),
        "approvedProposal": strategies.from_regex(r"([0-9a-f]{12})?", fullmatch=True),
        "allowDowntime": strategies.booleans(),
    },
)
histograms = strategies.lists(
    strategies.fixed_dictionaries({"tokens": wholes, "weight": wholes}),
    min_size=1, max_size=4, unique_by=lambda one: one["tokens"],
)  # fmt: skip
workloads = strategies.one_of(
    strategies.fixed_dictionaries(
        {
            "static": strategies.fixed_dictionaries(
                {"inputTokens": wholes, "outputTokens": wholes, "requestRate": positives}
            )
            | strategies.fixed_dictionaries(
                {"inputTokensHistogram": histograms, "outputTokensHistogram": histograms, "requestRate": positives}
            )
        }
    ),
    strategies.fixed_dictionaries(
        {
            "trace": strategies.fixed_dictionaries(
                {"path": paths},
                optional={"startSeconds": strategies.integers(0, 10**6), "timeScale": positives},
            )
        }
    ),
)
good_specs = strategies.fixed_dictionaries(
    {
        "targetRef": strategies.fixed_dictionaries({"name": names}, optional={"takeOwnership": strategies.booleans()}),
        "model": strategies.fixed_dictionaries({"name": names, "path": paths}, optional={"revision": names}),
        "modelCache": strategies.fixed_dictionaries({"claimName": names}),
        "accelerator": strategies.sampled_from([{"resource": "nvidia.com/gpu"}, {"resource": "a.b/c", "type": "X-1"}]),
        "slo": slos,
        "workload": workloads,
        "quality": strategies.fixed_dictionaries(
            {"questionSet": strategies.fixed_dictionaries({"path": paths})},
            optional={
                "maxDropPoints": positives.filter(lambda text: float(text) <= 100),
                "confidencePercent": strategies.integers(50, 99),
            },
        ),
    },
    optional={"search": searches, "updatePolicy": policies, "paused": strategies.booleans()},
)

TEXTS = ("", "0", "5.5", "1e3", "Off", "../x", "a b", "UPPER", "é" * 17, "x" * 5000, "0.0000001", "1\n")
LISTS = ([], ["x"], ["AsIs", "AsIs"], ["VLLM"], [0], [{}])
JUNK = (-1, 0, 1, 51, 10**7, 0.5, True, False, {}, {"a": 1}, *TEXTS, *LISTS, samples.ABSENT)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, the value itself left out."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def broken(value: Any, place: tuple[Any, ...], junk: Any) -> Any:
    """A copy with junk at a place; without that place where the junk is ABSENT."""
    key, *rest = place
    found = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        found[key] = broken(value[key], tuple(rest), junk)
    elif junk is samples.ABSENT:
        del found[key]
    else:
        found[key] = junk
    return found


@strategies.composite
def mutants(draw: Draw, value: Any) -> Any:
    """The value with junk in, or nothing at, one of its places."""
    place = draw(strategies.sampled_from(list(places(value))))
    return broken(value, place, draw(strategies.sampled_from(JUNK)))


def accepted(type_: Any, value: Any) -> bool:
    try:
        type_.model_validate(value)
    except ValidationError:
        return False
    return True


def accepted_but_for_rules(type_: Any, value: Any) -> bool:
    try:
        type_.model_validate(value)
    except ValidationError as error:
        return all(found["type"] in ("rule", "string_pattern_mismatch") for found in error.errors())
    return True


def is_pattern(violation: str) -> bool:
    """A pattern of the schema may be a rule of the types: for what the operator alone writes."""
    return violation.endswith(": should match")


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(good_specs)
def test_a_good_spec_is_accepted_by_both_and_survives_the_types(spec: dict[str, Any]) -> None:
    assert list(openapi.violations(SCHEMAS["infdep", "spec"], spec)) == []
    read = InferenceDeploymentSpec.model_validate(spec)
    assert InferenceDeploymentSpec.model_validate(read.wire()) == read
    assert list(openapi.violations(SCHEMAS["infdep", "spec"], read.wire())) == []


@pytest.mark.parametrize(("short", "part", "type_"), PARTS, ids=[f"{short}-{part}" for short, part, _ in PARTS])
@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(data=strategies.data())
def test_something_broken_anywhere_is_seen_by_both_or_by_neither(
    short: str, part: str, type_: Any, data: strategies.DataObject
) -> None:
    mutant = data.draw(mutants(SAMPLES[short, part]))
    seen = list(openapi.violations(SCHEMAS[short, part], mutant))
    assert accepted_but_for_rules(type_, mutant) == all(map(is_pattern, seen)), seen
    assert not seen or not accepted(type_, mutant), seen


@hypothesis.settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(data=strategies.data())
def test_the_api_server_and_the_types_give_the_same_verdict(
    refusal: Callable[[samples.Object], str], data: strategies.DataObject
) -> None:
    good = data.draw(good_specs)
    spec = data.draw(strategies.one_of(strategies.just(good), mutants(good)))
    message = refusal({**samples.infdep(), "spec": spec})
    assert accepted(InferenceDeploymentSpec, spec) == (not message), message
