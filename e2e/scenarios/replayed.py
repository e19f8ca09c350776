"""A cluster of GPUs, replayed: node, model volume, three targets and what they ask for. Called by its test.

Llama-3.1-70B FP8 serves with vLLM at TP8 on H200; engines answer with recorded latencies on a clock that is a few times
as fast, so every limit is that much shorter and every rate that much higher than the case says.
"""

import functools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from e2e.embedded import sites
from e2e.images import build, store
from e2e.model import volume
from e2e.replay import exhaustive, recordings
from e2e.replay.recordings import Curve, Lengths, Served
from e2e.stage import objects, setting
from e2e.stage.cluster import Own
from e2e.stage.kubectl import Kubectl, Object, condition, wait_for
from rightsizer_jobs.contract import Slo

FOLDER = store.REPOSITORY / "build" / "replayed"
GPU = "nvidia.com/gpu"
PRODUCT = "NVIDIA-H200"
SYSTEM = "h200_sxm"
MODEL = "meta-llama/Llama-3.1-70B"
WEIGHTS = "llama-3.1-70b-fp8"
LENGTHS = Lengths(1024, 1024)
FOUND_TP = 8
TOKENS_A_CHUNK = 256
"""Few, so that engines and clients of three searches need little of two cores."""
VOID_RETRIES = 5
"""A trial whose client was kept waiting by other work on the machine is repeated."""
QUESTIONS = 300
MAX_DROP_POINTS = "2.5"
SERVED = "chat"
IMAGES = ("operator", "trial", "replay-vllm", "replay-tensorrt-llm")
SEARCH_LIMIT_S = 1500
JUDGED = 8000
"""Requests at each rate of the exhaustive choice."""

CONFIG = {
    "_name_or_path": MODEL,
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "quantization_config": {"quant_method": "fp8", "activation_scheme": "static"},
}
"""Facts of the model; there are no weights."""


@dataclass(frozen=True, slots=True)
class Case:
    """Limits in milliseconds and demand in requests a second of the recorded clock; the engines' clock is so many times
    as fast, limits are whole milliseconds of it. The faster it is, the less a client may send late: 5 % of ``ttft_ms``.
    """

    ttft_ms: int
    tpot_ms: int
    demand_rps: float
    time_scale: int

    @property
    def name(self) -> str:
        return f"chat-{self.ttft_ms}-{self.tpot_ms}"

    def curves(self) -> dict[Served, Curve]:
        """What was recorded of the model on this GPU."""
        table = recordings.load()
        mine = [one for one in table if (one.model, one.system, one.precision) == (MODEL, SYSTEM, "fp8")]
        return {one: table[one][LENGTHS] for one in mine}

    @functools.cache  # noqa: B019 three cases, for the whole session
    def choices(self) -> tuple[exhaustive.Choice, ...]:
        """Every configuration that meets the limits under open-loop arrivals at p95, by long runs of the law."""
        known = [
            (one, exhaustive.Capacities(curve, LENGTHS.output_tokens, requests=JUDGED))
            for one, curve in self.curves().items()
        ]
        return exhaustive.choices(known, Slo(ttft_ms=self.ttft_ms, tpot_ms=self.tpot_ms))

    def best(self) -> tuple[exhaustive.Choice, ...]:
        """Every plan with the fewest GPUs for the demand; which of them is the quicker one decides nothing."""
        found = self.choices()
        fewest = min(one.gpus(self.demand_rps) for one in found)
        return tuple(one for one in found if one.gpus(self.demand_rps) == fewest)


CASES = (Case(800, 40, 0.8, 5), Case(1190, 35, 2.9, 7), Case(500, 20, 2.6, 5))
GPUS = len(CASES) * (FOUND_TP + FOUND_TP)
"""For each case the target, and as many again: trials never displace serving pods."""


def furnish(own: Own, say: Callable[[str], None]) -> None:
    """The node, the images, the chart, the model volume."""
    place = setting.Place(folder=FOLDER)
    archives = {name: build.ensure(name, store.cache_root()) for name in IMAGES}
    lay_out(place.models)
    own.node.up({GPU: GPUS}, say)
    own.node.kubectl("label", "node", sites.NODE, f"{GPU}.product={PRODUCT}", "--overwrite")
    have = own.node.images()
    for name, archive in archives.items():
        if build.reference(name) not in have:
            say(f"loading {build.reference(name)}")
            own.node.load_image(archive)
    own.kubectl.apply([*objects.namespaces(), *objects.volume("models", str(place.models.resolve()), "ReadWriteMany")])
    images = {"VLLM": build.reference("replay-vllm"), "TensorRTLLM": build.reference("replay-tensorrt-llm")}
    settings = {"voidRetries": VOID_RETRIES}
    values = {"engineImages": images, "prices": {PRODUCT: "5.75"}, "jobs": jobs(), "settings": settings}
    setting.install(own.kubectl, place, values)
    say("chart installed")


def jobs() -> Object:
    """Three trials at once on two cores: less is asked for each than in the demo, and the most of it for the client,
    which must not be late.
    """
    found: Object = setting.chart_values()["jobs"]
    found["trial"]["resources"]["requests"]["cpu"] = "250m"
    return found


def lay_out(models: Path) -> None:
    """config.json and questions; folders of the Jobs' user."""
    folder = models / WEIGHTS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=1))
    (models / "questions").mkdir(exist_ok=True)
    lines = [json.dumps({"id": index, "prompt": f"Question {index}:", "answer": "A"}) for index in range(QUESTIONS)]
    (models / "questions" / "letters.jsonl").write_text("\n".join(lines) + "\n")
    for name in ("artefacts", "runs"):
        (models / name).mkdir(exist_ok=True)
        os.chown(models / name, volume.JOB_USER, volume.JOB_USER)


def target(case: Case) -> Object:
    container = {
        "name": "engine",
        "image": build.reference("replay-vllm"),
        "command": ["vllm", "serve"],
        "args": [
            f"/models/{WEIGHTS}", "--served-model-name", SERVED, "--port", "8000",
            "--tensor-parallel-size", str(FOUND_TP), "--stream-interval", str(TOKENS_A_CHUNK),
        ],
        "env": [
            {"name": "RIGHTSIZER_REPLAY_GPU", "value": SYSTEM},
            {"name": "RIGHTSIZER_REPLAY_TIME_SCALE", "value": str(case.time_scale)},
        ],
        "ports": [{"name": "http", "containerPort": 8000}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 3},
        "resources": {
            "requests": {"cpu": "100m", "memory": "64Mi", GPU: str(FOUND_TP)},
            "limits": {"memory": "512Mi", GPU: str(FOUND_TP)},
        },
        "securityContext": objects.CONTAINER_SECURITY,
        "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
    }  # fmt: skip
    labels = {"app": case.name}
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": objects.POD_SECURITY,
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": case.name, "namespace": objects.NAMESPACE},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def inference_deployment(case: Case) -> Object:
    """Both engines, every parallelism; limits and demand on the replay's clock."""
    static = {
        "inputTokens": LENGTHS.input_tokens,
        "outputTokens": LENGTHS.output_tokens,
        "requestRate": f"{case.demand_rps * case.time_scale:g}",
    }
    scale = case.time_scale
    limits = {"percentile": 95, "ttftMs": case.ttft_ms // scale, "tpotMs": case.tpot_ms // scale}
    return {
        "apiVersion": "rightsizer.dev/v1alpha1",
        "kind": "InferenceDeployment",
        "metadata": {"name": case.name, "namespace": objects.NAMESPACE},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": case.name, "container": "engine"},
            "model": {"name": MODEL, "path": WEIGHTS},
            "modelCache": {"claimName": "models"},
            "accelerator": {"resource": GPU},
            "slo": limits,
            "workload": {"static": static},
            "quality": {
                "maxDropPoints": MAX_DROP_POINTS,
                "confidencePercent": 95,
                "questionSet": {"path": "questions/letters.jsonl", "questions": QUESTIONS},
            },
            "search": {
                "engines": ["VLLM", "TensorRTLLM"],
                "precisions": ["AsIs"],
                "maxGPUsPerReplica": FOUND_TP,
                "budget": {"gpuHours": "20", "deadlineMinutes": 60, "maxTrials": 40},
                "measurement": {
                    "probeSeconds": 8, "saturationSeconds": 5, "warmupSeconds": 1, "maxProbes": 3,
                    "targetErrorPercent": 12, "certificationSeconds": 10, "verificationSeconds": 10,
                    "saturationConcurrency": 128, "readySeconds": 60, "firstTokenSeconds": 30,
                },
            },
            "updatePolicy": {"mode": "Manual"},
        },
    }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """One case's objects once its search has ended."""

    case: Case
    infdep: Object
    run: Object


def search(kubectl: Kubectl, say: Callable[[str], None]) -> dict[Case, Decided]:
    """All cases at once, each to the end of its search."""
    kubectl.apply([target(case) for case in CASES])
    wait_for(lambda: all(ready(kubectl, case.name) for case in CASES), "every target is Ready", 120)
    kubectl.apply([inference_deployment(case) for case in CASES])
    told: dict[str, str] = {}

    def look() -> dict[Case, Decided] | None:
        found: dict[Case, Decided] = {}
        for case in CASES:
            infdep = kubectl.get("infdep", case.name, objects.NAMESPACE) or {}
            activity = str(infdep.get("status", {}).get("activity", ""))
            if activity and told.get(case.name) != activity:
                told[case.name] = activity
                say(f"{case.name}: {activity[:150]}")
            if condition(infdep, "Optimized").get("status") in ("True", "False"):
                run = kubectl.get("optrun", infdep["status"]["runRef"]["name"], objects.NAMESPACE) or {}
                found[case] = Decided(case=case, infdep=infdep, run=run)
        return found if len(found) == len(CASES) else None

    decided: dict[Case, Decided] = wait_for(look, "every search ends", SEARCH_LIMIT_S, pause_s=2.0)
    return decided


def ready(kubectl: Kubectl, name: str) -> bool:
    found = kubectl.get("deployment", name, objects.NAMESPACE) or {}
    return int(found.get("status", {}).get("readyReplicas", 0)) == 1
