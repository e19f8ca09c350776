"""Values with defaults, so that a test states only what matters: specs, targets, nodes, reports, pods, worlds."""

import datetime
from collections.abc import Sequence
from typing import Any

from rightsizer_jobs import stats
from rightsizer_jobs.contract import (
    Answers,
    Capacity,
    CompressAssignment,
    CompressReport,
    Probe,
    Saturation,
    Slo,
    TrialAssignment,
    TrialReport,
)
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.settings import JobProfile, Settings

Object = dict[str, Any]
SLOT = "rightsizer.dev/engine-slot"
NOW = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
IMAGE = "docker.example/vllm-openai:v0.11.0"
DIGEST = "a" * 64
QUESTIONS = 1200


def a_spec(**changes: Any) -> InferenceDeploymentSpec:
    """A valid spec; ``changes`` are camelCase and merged deeply."""
    return InferenceDeploymentSpec.model_validate(a_spec_document(**changes))


def a_spec_document(**changes: Any) -> Object:
    document: Object = {
        "targetRef": {"name": "chat", "container": "engine", "takeOwnership": True},
        "model": {"name": "acme/chat", "path": "base", "calibrationPath": "calibration/chat.jsonl"},
        "modelCache": {"claimName": "models"},
        "accelerator": {"resource": SLOT, "type": "cpu-core"},
        "slo": {"ttftMs": 800, "itlMs": 50},
        "workload": {"static": {"inputTokens": 64, "outputTokens": 24, "requestRate": "7.5"}},
        "quality": {"maxDropPoints": "2.0", "questionSet": {"path": "questions/chat.jsonl", "questions": QUESTIONS}},
        "search": {"precisions": ["AsIs", "INT8", "INT4"], "budget": {"gpuHours": "8", "maxTrials": 24}},
        "cost": {"gpuHourly": "2.00"},
        "updatePolicy": {"mode": "Manual"},
    }
    return merged(document, changes)


def merged(old: Object, new: Object) -> Object:
    result = dict(old)
    for key, value in new.items():
        result[key] = merged(old[key], value) if isinstance(value, dict) and isinstance(old.get(key), dict) else value
    return result


def some_settings(**changes: Any) -> Settings:
    profile = JobProfile(image="docker.example/jobs:1")
    return Settings(**{"trial": profile, "compress": profile, **changes})


def a_target(replicas: int = 4, accelerators: int = 1, **container: Any) -> Object:
    """A Deployment that serves with vLLM, applied by kubectl."""
    engine: Object = {
        "name": "engine",
        "image": IMAGE,
        "args": ["--model", "/models/base", "--served-model-name", "chat", "--port", "8000"],
        "resources": {"limits": {SLOT: str(accelerators), "memory": "6Gi"}},
        "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
        **container,
    }
    volumes = [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "chat",
            "namespace": "ml",
            "uid": "target-uid",
            "generation": 1,
            "annotations": {"deployment.kubernetes.io/revision": "1"},
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "chat"}},
            "template": {
                "metadata": {"labels": {"app": "chat"}},
                "spec": {"containers": [engine], "volumes": volumes},
            },
        },
        "status": settled_status(replicas, 1),
    }


def settled_status(replicas: int, generation: int) -> Object:
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas)
    return {"observedGeneration": generation, **counts}


def a_claim(**changes: Any) -> Object:
    return merged(
        {"metadata": {"name": "models"}, "spec": {"accessModes": ["ReadWriteMany"]}, "status": {"phase": "Bound"}},
        changes,
    )


def a_node(slots: int = 5, name: str = "node", **changes: Any) -> Object:
    return merged(
        {
            "metadata": {"name": name, "labels": {}},
            "spec": {},
            "status": {"allocatable": {SLOT: str(slots)}, "conditions": [{"type": "Ready", "status": "True"}]},
        },
        changes,
    )


# --- reports ---


def answers(correct: int = 1000, flipped: int = 0, asked: int = QUESTIONS) -> Answers:
    """The first ``correct`` right, of which the first ``flipped`` are wrong after all."""
    return stats.encode_answers([flipped <= index < correct for index in range(asked)], DIGEST)


def a_probe(rate: float, capacity: float, seconds: float = 600, slope: float = 10.0) -> Probe:
    """What an engine of that true capacity shows at a rate."""
    share = min(1.0, 0.05 * (rate / capacity) ** slope)
    return Probe(
        rate_rps=rate,
        achieved_rps=rate,
        seconds=seconds,
        requests=max(1, round(rate * seconds)),
        failed=0,
        violations={"ttft": share / 2, "itl": share},
        p_ms={"ttft": 400.0 * rate / capacity, "itl": 50.0 * rate / capacity, "e2e": 1200.0},
        output_tps=rate * 24,
        variance_inflation=5.0,
    )


def probes(capacity: float) -> tuple[Probe, ...]:
    return tuple(a_probe(share * capacity, capacity) for share in (0.92, 0.98, 1.03))


def fitted(found: Sequence[Probe], slo: Slo) -> Capacity | None:
    return stats.fit_capacity(found, slo, block_s=20)


def a_report(assignment: TrialAssignment, *, capacity: float = 2.5, **changes: Any) -> TrialReport:
    """The report of an engine of that capacity."""
    hold = assignment.rate_rps
    found = probes(capacity) if hold is None else (a_probe(hold, capacity),)
    told: Object = {
        "purpose": assignment.purpose,
        "candidate": assignment.candidate,
        "attempt": assignment.attempt,
        "seed": assignment.seed,
        "outcome": "Succeeded",
        "ready_s": 60.0,
        "engine_s": 600.0,
        "answers": answers() if assignment.questions else None,
        "saturation": Saturation(rps=capacity * 1.4, output_tps=capacity * 24, concurrency=64)
        if hold is None
        else None,
        "probes": found,
        "capacity": fitted(found, assignment.slo) if hold is None else None,
    }
    if hold is not None and not stats.holds(found[0], assignment.slo):
        told["outcome"] = "MissedSLO"
    return TrialReport(**{**told, **changes})


def a_compress_report(assignment: CompressAssignment, **changes: Any) -> CompressReport:
    told: Object = {
        "artefact": assignment.artefact,
        "attempt": assignment.attempt,
        "outcome": "Succeeded",
        "sha256": "b" * 64,
        "size_bytes": 1000,
        "tool": "llmcompressor 0.14",
    }
    return CompressReport(**{**told, **changes})
