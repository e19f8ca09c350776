"""The objects of the demo as plain dicts: what a platform team would have on its cluster, and what it adds to
right-size it.

Pure; ``steps`` applies them with kubectl. Sizes and lengths that shape the demo are the constants at the top.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

Object = dict[str, Any]

NAMESPACE = "ml"
SYSTEM_NAMESPACE = "rightsizer-system"
TARGET = "support-chat"
SLOT = "rightsizer.dev/engine-slot"
"""The demo's accelerator: one slot is an enforced limit of one CPU core, the same in trial and Deployment."""
SLOTS = 3
REPLICAS = 2
"""As many as two cores back at full load, and one more slot for the trial."""
SLOT_CORES = "1"
INPUT_TOKENS = 64
OUTPUT_TOKENS = 24
ENGINE_PORT = 8000
DRAIN_S = 10
"""A pod that is to end serves on for so long, until every node has heard that it is not to be sent requests."""
MODELS = "/models"
"""Where containers find the model volume."""
MAX_DROP_POINTS = "2.5"
WARMUP_S = 5
SATURATION_CONCURRENCY = 160
"""More than the batch limit that vLLM sets itself on a CPU, 128: some wait, which shows that the batch is full. With
few in flight the engine still has room, and a replica would sustain more under open load than its saturation (16 in
flight: 15.3 requests/s; 15.6 were held, in batches of 34).
"""
TRIAL_RESOURCES = {"requests": {"cpu": "600m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
OURS = "rightsizer.dev/demo"
"""Label of what was made here and may be removed again."""
POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "fsGroup": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Directories of this machine that the node's volumes show."""

    engine: str
    compress: str
    models: str


def namespaces() -> list[Object]:
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {**RESTRICTED, OURS: ""}}}
        for name in (NAMESPACE, SYSTEM_NAMESPACE)
    ]


def volume(name: str, path: str, mode: str) -> list[Object]:
    """A PersistentVolume over a host directory with its claim: allowed under PodSecurity restricted, a
    hostPath in a pod is not.
    """
    spec: Object = {"accessModes": [mode], "storageClassName": "", "volumeName": f"demo-{name}"}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"demo-{name}", "labels": {OURS: ""}},
            "spec": {
                "capacity": {"storage": "20Gi"},
                "accessModes": [mode],
                "storageClassName": "",
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": path, "type": "Directory"},
                "claimRef": {"namespace": NAMESPACE, "name": name},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {**spec, "resources": {"requests": {"storage": "20Gi"}}},
        },
    ]


def volumes(host: Host) -> list[Object]:
    return [
        *volume("engine", host.engine, "ReadOnlyMany"),
        *volume("compress", host.compress, "ReadOnlyMany"),
        *volume("models", host.models, "ReadWriteMany"),
    ]


def engine_container(image: str) -> Object:
    """vLLM's CPU build with default settings, BF16."""
    return {
        "name": "engine",
        "image": image,
        "command": ["/opt/engine/bin/python", "-m", "vllm.entrypoints.openai.api_server"],
        "args": [
            "--model",
            f"{MODELS}/base",
            "--served-model-name",
            TARGET,
            "--port",
            str(ENGINE_PORT),
            "--enforce-eager",
        ],
        "env": [
            {"name": name, "value": value}
            for name, value in {
                "VLLM_CPU_KVCACHE_SPACE": "1",
                "HF_HUB_OFFLINE": "1",
                "VLLM_NO_USAGE_STATS": "1",
                "DO_NOT_TRACK": "1",
                "HOME": "/tmp",
            }.items()
        ],
        "ports": [{"name": "http", "containerPort": ENGINE_PORT}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 3, "timeoutSeconds": 3},
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_S}}},
        "resources": {
            "requests": {"cpu": "150m", "memory": "2Gi", SLOT: "1"},
            "limits": {"cpu": SLOT_CORES, "memory": "6Gi", SLOT: "1"},
        },
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            {"name": "engine", "mountPath": "/opt/engine", "readOnly": True},
            {"name": "models", "mountPath": MODELS, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }


def target(image: str, replicas: int = REPLICAS) -> list[Object]:
    """The Deployment as a team would have written it, with its Service."""
    labels = {"app": TARGET}
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": POD_SECURITY,
        "terminationGracePeriodSeconds": DRAIN_S + 10,
        "containers": [engine_container(image)],
        "volumes": [
            {"name": "engine", "persistentVolumeClaim": {"claimName": "engine", "readOnly": True}},
            {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        ],
    }
    meta = {"name": TARGET, "namespace": NAMESPACE}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta,
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        },
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What the demo's InferenceDeployment asks for; rates in requests a second, limits in milliseconds."""

    request_rate: str
    precisions: tuple[str, ...]
    kv_cache: tuple[str, ...]
    questions: int
    itl_ms: int = 500
    ttft_ms: int = 2500
    probe_s: int = 20
    max_probes: int = 3
    certification_s: int = 45
    verification_s: int = 40
    max_num_seqs: tuple[int, ...] = ()
    mode: str = "Manual"


def intent(demand_rps: float, *, full: bool, questions: int) -> Intent:
    """The demo's wishes; FULL=1 adds what fails for real on this CPU build (INT8 W8A16 does not load, FP8
    weights crawl or hang) and a batch limit.
    """
    precisions = ("AsIs", "INT8", "INT4", *(("INT8W8A16", "FP8") if full else ()))
    return Intent(
        request_rate=f"{demand_rps:.2f}",
        precisions=precisions,
        kv_cache=("Auto", *(("FP8",) if cpu_has_fp8_cache() else ())),
        questions=questions,
        max_probes=4,
        max_num_seqs=(32,) if full else (),
    )


def cpu_has_fp8_cache() -> bool:
    """vLLM's CPU build keeps an FP8 KV cache only with AVX512 or AMX."""
    flags = Path("/proc/cpuinfo").read_text()
    return "avx512f" in flags or "amx_tile" in flags


def inference_deployment(intent: Intent) -> Object:
    return {
        "apiVersion": "rightsizer.dev/v1alpha1",
        "kind": "InferenceDeployment",
        "metadata": {"name": TARGET, "namespace": NAMESPACE},
        "spec": {
            "targetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": TARGET,
                "container": "engine",
                "takeOwnership": True,
            },
            "model": {"name": "rightsizer/support-26m", "path": "base", "calibrationPath": "calibration/support.jsonl"},
            "modelCache": {"claimName": "models"},
            "accelerator": {"resource": SLOT, "type": "cpu-core"},
            "slo": {"percentile": 95, "ttftMs": intent.ttft_ms, "itlMs": intent.itl_ms},
            "workload": {
                "static": {
                    "inputTokens": INPUT_TOKENS,
                    "outputTokens": OUTPUT_TOKENS,
                    "requestRate": intent.request_rate,
                }
            },
            "quality": {
                "maxDropPoints": MAX_DROP_POINTS,
                "confidencePercent": 95,
                "questionSet": {"path": "questions/support.jsonl", "questions": intent.questions},
            },
            "search": {
                "engines": ["VLLM", "TensorRTLLM"],
                "precisions": list(intent.precisions),
                "kvCache": list(intent.kv_cache),
                "maxNumSeqs": list(intent.max_num_seqs),
                "budget": {"gpuHours": "4", "deadlineMinutes": 120, "maxTrials": 16},
                "measurement": {
                    "probeSeconds": intent.probe_s,
                    "saturationSeconds": 20,
                    "warmupSeconds": WARMUP_S,
                    "maxProbes": intent.max_probes,
                    "targetErrorPercent": 12,
                    "certificationSeconds": intent.certification_s,
                    "verificationSeconds": intent.verification_s,
                    "saturationConcurrency": SATURATION_CONCURRENCY,
                    "readySeconds": 420,
                    "firstTokenSeconds": 40,
                },
            },
            "cost": {"gpuHourly": "0.05", "currency": "USD"},
            "updatePolicy": {"mode": intent.mode},
        },
    }
