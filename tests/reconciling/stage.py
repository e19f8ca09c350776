"""What a pass meets: a target that serves, its claim, an InferenceDeployment, a run, its Jobs; manifests only."""

from typing import Any

from tests.resources import samples

Object = dict[str, Any]
ACCELERATOR = "nvidia.com/gpu"


def infdep(namespace: str, name: str = "support-chat", **spec: Any) -> Object:
    found = samples.infdep(name, namespace)
    found["spec"] |= spec
    return found


def target(namespace: str, name: str = "support-chat", replicas: int = 4) -> Object:
    """A Deployment that runs vLLM with one accelerator per pod."""
    container = {
        "name": "engine",
        "image": "vllm/vllm-openai:v0.11.0",
        "args": ["--model=/models/base", "--served-model-name=chat"],
        "resources": {"limits": {ACCELERATOR: "1"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    }


def claim(namespace: str, name: str = "models") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }


def run(owner: Object, name: str = "support-chat-0a1b2c3d-1") -> Object:
    """An OptimizationRun of that InferenceDeployment as stored."""
    spec = samples.full("optrun")["spec"]
    spec["accepted"] = owner["spec"]
    spec["inferenceDeployment"] = owner["metadata"]["name"]
    return {
        "apiVersion": samples.API_VERSION,
        "kind": "OptimizationRun",
        "metadata": {
            "name": name,
            "namespace": owner["metadata"]["namespace"],
            "labels": {"rightsizer.dev/inference-deployment": owner["metadata"]["name"]},
            "ownerReferences": [reference(owner)],
        },
        "spec": spec,
    }


def job(owner: Object, name: str = "support-chat-explore-11223344") -> Object:
    """A Job of that run as stored."""
    labels = {
        "app.kubernetes.io/managed-by": "rightsizer",
        "rightsizer.dev/run": owner["metadata"]["name"],
        "rightsizer.dev/inference-deployment": owner["spec"]["inferenceDeployment"],
    }
    container = {"name": "trial", "image": "rightsizer/trial:1"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": owner["metadata"]["namespace"],
            "labels": labels,
            "ownerReferences": [reference(owner)],
        },
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": labels},
                "spec": {"restartPolicy": "Never", "containers": [container]},
            },
        },
    }


def reference(owner: Object) -> Object:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
