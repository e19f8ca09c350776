"""Objects of both kinds for the tests of this room: a minimal one, one with every field set, ways to change them."""

import copy
import re
from typing import Any

from rightsizer_operator.resource import crd

Object = dict[str, Any]
API_VERSION = f"{crd.GROUP}/{crd.VERSION}"
ABSENT = object()

TEXTS = (
    "0.5", "weights/base", "nvidia.com/gpu", "USD", "0123456789ab", "0" * 64, "a1b2", "Reason", "x",
)  # fmt: skip
"""Tried in turn wherever a text must match a pattern."""


def kind(short: str) -> crd.Kind:
    return next(kind for kind in crd.KINDS if kind.short == short)


def infdep(name: str = "support-chat", namespace: str = "ml") -> Object:
    """The least that is accepted."""
    return {
        "apiVersion": API_VERSION,
        "kind": "InferenceDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "targetRef": {"name": "support-chat"},
            "model": {"name": "meta-llama/Llama-3.1-70B-Instruct", "path": "base/llama"},
            "modelCache": {"claimName": "models"},
            "accelerator": {"resource": "nvidia.com/gpu"},
            "slo": {"ttftMs": 800},
            "workload": {"static": {"inputTokens": 1020, "outputTokens": 210, "requestRate": "5.5"}},
            "quality": {"questionSet": {"path": "questions/chat.jsonl"}},
        },
    }


EVERY_LENGTH = {
    "inputTokens": 1020,
    "inputTokensP95": 3500,
    "outputTokensHistogram": [{"tokens": 60, "weight": 3}, {"tokens": 400, "weight": 1}],
    "arrivals": "Gamma",
    "burstiness": "0.5",
}
WORKLOADS: dict[str, Object] = {
    "static": {"static": {**EVERY_LENGTH, "requestRate": "5.5"}, "api": "Chat"},
    "the other lengths": {
        "static": {
            "inputTokensHistogram": [{"tokens": 9, "weight": 1}],
            "outputTokens": 210,
            "outputTokensP95": 600,
            "requestRate": "5.5",
            "arrivals": "Constant",
        },
        "api": "Completions",
    },
    "trace": {
        "trace": {
            "path": "traces/chat.csv",
            "format": "Azure",
            "sha256": "0" * 64,
            "startSeconds": 30,
            "durationSeconds": 600,
            "timeScale": "1.5",
        },
        "api": "Completions",
    },
    "prometheus": {
        "prometheus": {**EVERY_LENGTH, "windowHours": 24, "averageMinutes": 10, "driftPercent": 50},
        "api": "Completions",
    },
    "a trace at a rate": {"trace": {"path": "traces/chat.csv", "startSeconds": 0, "requestRate": "5.5"}, "api": "Chat"},
}
"""Workloads that have, together, every field of every kind; no one can have them all."""


def full(short: str, name: str = "full", namespace: str = "ml") -> Object:
    """An object with every field of spec and status set, made from the schema; of the workload all that go together."""
    schema = crd.schema(kind(short))["properties"]
    spec = example(schema["spec"])
    (spec if short == "infdep" else spec["accepted"])["workload"] = WORKLOADS["static"]
    return {
        "apiVersion": API_VERSION,
        "kind": kind(short).kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
        "status": example(schema["status"]),
    }


def example(schema: Object) -> Any:
    """A value that fits the schema, with every property set and one item in every list."""
    match schema["type"]:
        case "object":
            return {name: example(child) for name, child in schema["properties"].items()}
        case "array":
            return [example(schema["items"])]
        case "integer":
            return max(schema.get("minimum", 3), 3) if schema.get("maximum", 3) >= 3 else schema["maximum"]
        case "boolean":
            return True
    return schema["enum"][0] if "enum" in schema else next(text for text in TEXTS if _fits(schema, text))


def _fits(schema: Object, text: str) -> bool:
    patterns = [schema.get("pattern", "")]
    for rule in schema.get("x-kubernetes-validations", ()):
        found = re.fullmatch(r"self\.matches\('(.*)'\)", rule["rule"])
        patterns += [found[1].replace("\\\\", "\\")] if found else []
    short_enough = len(text) <= schema.get("maxLength", len(text))
    return short_enough and all(re.search(pattern, text) for pattern in patterns)


def changed(manifest: Object, path: str, value: Any) -> Object:
    """A copy with one field set, or removed where the value is ABSENT; objects on the way are made."""
    found = copy.deepcopy(manifest)
    *parents, last = path.split(".")
    node = found
    for name in parents:
        node = node.setdefault(name, {})
    if value is ABSENT:
        node.pop(last, None)
    else:
        node[last] = value
    return found
