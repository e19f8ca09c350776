"""Values with defaults for these tests: a Deployment as the API server sends it, our resource's spec, assignments,
settings."""

import copy
import json
from typing import Any

from rightsizer_jobs.contract import CompressAssignment, Endpoint, QuestionSet, Slo, TrialAssignment, Workload
from rightsizer_operator.resource.run import Baseline, Serving
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.settings import JobProfile, Settings

SLOT = "rightsizer.dev/engine-slot"
RUN_UID = "7d0c1f64-2f36-4c9e-8a53-0f3c6a1d9b11"
ARTEFACT = "m26-int8-w8a8-0123456789"

RESTRICTED_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def an_engine(**changes: Any) -> dict[str, Any]:
    """The engine container of the demo."""
    container: dict[str, Any] = {
        "name": "engine",
        "image": "engines/vllm-cpu:0.32.0",
        "imagePullPolicy": "IfNotPresent",
        "command": ["vllm", "serve"],
        "args": ["/models/m26", "--port", "8000", "--max-model-len=1024", "--enable-prefix-caching"],
        "env": [
            {"name": "VLLM_CPU_KVCACHE_SPACE", "value": "1"},
            {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
            {"name": "OMP_NUM_THREADS", "value": "2"},
        ],
        "envFrom": [{"configMapRef": {"name": "engine-env", "optional": True}}],
        "ports": [{"containerPort": 8000, "name": "http", "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8000}},
        "startupProbe": {"httpGet": {"path": "/health", "port": 8000}, "failureThreshold": 60},
        "resources": {
            "requests": {"cpu": "200m", "memory": "3Gi", "ephemeral-storage": "1Gi", SLOT: "1"},
            "limits": {"memory": "6Gi", SLOT: "1"},
        },
        "securityContext": dict(RESTRICTED_CONTAINER),
        "volumeMounts": [
            {"name": "weights", "mountPath": "/models", "readOnly": True},
            {"name": "shm", "mountPath": "/dev/shm"},
            {"name": "tmp-engine", "mountPath": "/tmp"},
        ],
    }
    return {key: value for key, value in {**container, **changes}.items() if value is not None}


def a_target(container: dict[str, Any] | None = None, *, claim: str = "models", **pod: Any) -> dict[str, Any]:
    """A Deployment of 4 replicas; keyword arguments replace fields of the pod spec."""
    labels = {"app": "support-chat", "tier": "serving"}
    pod_spec: dict[str, Any] = {
        "containers": [container or an_engine()],
        "volumes": [
            {"name": "weights", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}},
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
            {"name": "tmp-engine", "emptyDir": {}},
            {"name": "unrelated", "configMap": {"name": "unrelated"}},
        ],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": {"pool": "engines"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "pull"}],
        "serviceAccountName": "chat",
        "priorityClassName": "production",
        "terminationGracePeriodSeconds": 120,
    }
    pod_spec.update(pod)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "support-chat",
            "namespace": "ml",
            "uid": "1f8b2c3d-0000-4000-8000-000000000001",
            "generation": 3,
        },
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": {"app": "support-chat"}},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec},
        },
        "status": {"observedGeneration": 3},
    }


def a_spec(**changes: Any) -> InferenceDeploymentSpec:
    document: dict[str, Any] = {
        "targetRef": {"name": "support-chat", "container": "engine"},
        "model": {"name": "lab/m26", "path": "m26"},
        "modelCache": {"claimName": "models"},
        "accelerator": {"resource": SLOT},
        "slo": {"ttftMs": 800, "itlMs": 100},
        "workload": {"static": {"inputTokens": 200, "outputTokens": 64, "requestRate": "5.5"}},
        "quality": {"questionSet": {"path": "questions.jsonl"}},
    }
    return InferenceDeploymentSpec.model_validate({**document, **changes})


def a_serving(**changes: Any) -> Serving:
    """The demo's container as a candidate with an artefact."""
    fields: dict[str, Any] = {
        "image": "engines/vllm-cpu:0.32.0",
        "command": ("vllm", "serve"),
        "args": ("/rightsizer/model", "--port", "8000", "--served-model-name", "/models/m26"),
        "env": ({"name": "VLLM_CPU_KVCACHE_SPACE", "value": "1"},),
        "accelerators": 1,
        "cpu_request": "200m",
        "memory_request": "3Gi",
        "memory_limit": "6Gi",
        "artefact": ARTEFACT,
    }
    return Serving.model_validate({**fields, **changes})


def a_baseline(serving: Serving | None = None, **changes: Any) -> Baseline:
    fields: dict[str, Any] = {
        "target_uid": "1f8b2c3d-0000-4000-8000-000000000001",
        "container": "engine",
        "engine": "VLLM",
        "served_model_name": "/models/m26",
        "port": 8000,
        "replicas": 4,
        "serving": serving or a_serving(args=("/models/m26", "--port", "8000"), artefact=""),
        "hash": "0123456789abcdef",
        "template_hash": "fedcba9876543210",
        "model_claim": "models",
        "accelerator_resource": SLOT,
    }
    return Baseline.model_validate({**fields, **changes})


def a_trial(**changes: Any) -> TrialAssignment:
    fields: dict[str, Any] = {
        "purpose": "Explore",
        "run_uid": RUN_UID,
        "candidate": "int8",
        "attempt": 1,
        "seed": 7,
        "endpoints": (Endpoint(engine="VLLM", base_url="http://127.0.0.1:8000", served_model_name="/models/m26"),),
        "model_path": "/rightsizer/volume/m26",
        "workload": Workload(input_tokens=200, output_tokens=64),
        "slo": Slo(ttft_ms=800, itl_ms=100),
        "questions": QuestionSet(path="/rightsizer/volume/questions.jsonl"),
    }
    return TrialAssignment.model_validate({**fields, **changes})


def a_compression(**changes: Any) -> CompressAssignment:
    fields: dict[str, Any] = {
        "run_uid": RUN_UID,
        "artefact": ARTEFACT,
        "attempt": 1,
        "recipe": "int8-w8a8",
        "source_path": "/rightsizer/volume/m26",
        "target_path": f"/rightsizer/volume/artefacts/{ARTEFACT}",
    }
    return CompressAssignment.model_validate({**fields, **changes})


def some_settings(**changes: Any) -> Settings:
    return Settings(**{"trial": JobProfile(image="trial:1"), "compress": JobProfile(image="compress:1"), **changes})


def applied(target: dict[str, Any], intent: dict[str, Any]) -> dict[str, Any]:
    """What a first forced apply of an intent makes of a target: keyed lists by key, the rest replaced. For reading back
    in unit tests; that the real API server does the same is tested on the control plane."""
    return _merged(copy.deepcopy(target), intent)


KEYS = {"containers": "name", "volumes": "name", "env": "name", "volumeMounts": "mountPath"}


def _merged(old: Any, new: Any, key: str = "") -> Any:
    if isinstance(new, dict) and isinstance(old, dict):
        return {**old, **{name: _merged(old.get(name), value, name) for name, value in new.items()}}
    if isinstance(new, list) and key in KEYS and isinstance(old, list):
        by_key = {item[KEYS[key]]: item for item in old}
        for item in new:
            by_key[item[KEYS[key]]] = _merged(by_key.get(item[KEYS[key]]), item)
        return list(by_key.values())
    return new


def managed_by(manager: str, fields: dict[str, Any], operation: str = "Update", **more: Any) -> dict[str, Any]:
    """One entry of managedFields."""
    return {"manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": fields, **more}


def container_fields(*names: str) -> dict[str, Any]:
    """fieldsV1 that owns those fields of the engine container."""
    key = "k:" + json.dumps({"name": "engine"}, separators=(",", ":"))
    fields = {f"f:{name}": {} for name in names}
    return {"f:spec": {"f:template": {"f:spec": {"f:containers": {key: {".": {}, "f:name": {}, **fields}}}}}}
