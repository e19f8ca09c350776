"""What sends requests to the target in the cluster: a Deployment that keeps a rate on its Service, and a trial's client
that saturates one replica.
"""

import json
import time
from pathlib import Path

from e2e import traffic
from e2e.images import build
from e2e.stage import objects
from e2e.stage.kubectl import Kubectl, Object, wait_for
from rightsizer_jobs.contract import (
    ASSIGNMENT_VARIABLE,
    Deadlines,
    Endpoint,
    Measurement,
    Saturation,
    Slo,
    TrialAssignment,
    TrialReport,
    load_report,
)
from rightsizer_jobs.workload import Workload

SCRIPT = Path(traffic.__file__).with_name("generate.py")
NAME = "traffic"
SATURATION = "saturation"
SATURATION_S = 30
SATURATION_LIMIT_S = 240
UNBEATABLE_RPS = 1e9
"""A trial that must beat this rate ends once it has saturated the engine: nothing could win."""
PATIENCE = Slo(e2e_ms=120_000)
"""A limit that no answer misses: latencies play no part in a saturation."""


def config_map() -> Object:
    meta = {"name": NAME, "namespace": objects.NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"generate.py": SCRIPT.read_text()}}


def pod(address: str, rate_rps: float) -> Object:
    """A restricted pod of the trial image that runs the generator with the demo's lengths."""
    arguments = {
        "--url": address,
        "--rate": f"{rate_rps:.3f}",
        "--model": objects.TARGET,
        "--input": str(objects.INPUT_TOKENS),
        "--output": str(objects.OUTPUT_TOKENS),
    }
    words = [word for pair in arguments.items() for word in pair]
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": objects.POD_SECURITY,
        "containers": [
            {
                "name": NAME,
                "image": build.reference("trial"),
                "imagePullPolicy": "Never",
                "command": ["python3", "/traffic/generate.py", *words],
                "resources": {"requests": {"cpu": "200m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}},
                "securityContext": objects.CONTAINER_SECURITY,
                "volumeMounts": [{"name": "script", "mountPath": "/traffic", "readOnly": True}],
            }
        ],
        "volumes": [{"name": "script", "configMap": {"name": NAME}}],
    }


def run(kubectl: Kubectl, rate_rps: float) -> None:
    """Send this rate from now on."""
    service = kubectl.get("service", objects.TARGET, objects.NAMESPACE) or {}
    address = f"http://{service['spec']['clusterIP']}:80"
    labels = {"app": NAME}
    template = {
        "metadata": {"labels": labels},
        "spec": pod(address, rate_rps),
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": objects.NAMESPACE},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": template,
        },
    }
    kubectl.apply([config_map(), deployment])


def saturation(address: str, seconds: float) -> TrialAssignment:
    """A trial of a serving replica up to its saturation, with the code, lengths and concurrency of those that follow:
    ready, first token, single requests, warm-up, closed loop.
    """
    return TrialAssignment(
        purpose="Explore",
        run_uid=SATURATION,
        candidate="as-found",
        attempt=1,
        seed=1,
        endpoints=(Endpoint(engine="VLLM", base_url=address, served_model_name=objects.TARGET),),
        model_path=f"{objects.MODELS}/base",
        workload=Workload(input_tokens=objects.INPUT_TOKENS, output_tokens=objects.OUTPUT_TOKENS),
        slo=PATIENCE,
        measurement=Measurement(
            warmup_block_s=objects.WARMUP_S,
            saturation_s=seconds,
            saturation_concurrency=objects.SATURATION_CONCURRENCY,
        ),
        deadlines=Deadlines(ready_s=60, first_token_s=60, total_s=SATURATION_LIMIT_S - 30),
        rate_to_beat_rps=UNBEATABLE_RPS,
    )


def saturate(kubectl: Kubectl, address: str, seconds: float = SATURATION_S) -> Saturation:
    """What one replica can do, as a trial measures it. Raises RuntimeError with the client's reason where it cannot."""
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": SATURATION, "namespace": objects.NAMESPACE},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": SATURATION_LIMIT_S,
            "template": {"spec": trial_pod(saturation(address, seconds))},
        },
    }
    kubectl.run("delete", "job", SATURATION, "-n", objects.NAMESPACE, "--ignore-not-found")
    kubectl.apply([job])

    def ended() -> Object | None:
        status = (kubectl.get("job", SATURATION, objects.NAMESPACE) or {}).get("status", {})
        return status if status.get("succeeded") or status.get("failed") else None

    wait_for(ended, "the saturation Job ends", SATURATION_LIMIT_S + 30)
    return measured(kubectl.list("pods", objects.NAMESPACE, f"job-name={SATURATION}"))


def measured(pods: list[Object]) -> Saturation:
    """From the report in the pod's termination message; raises RuntimeError with what it says instead."""
    statuses = [status for pod in pods for status in pod["status"].get("containerStatuses", ())]
    ends = [status.get("state", {}).get("terminated", {}) for status in statuses]
    messages = [end["message"] for end in ends if end.get("message")]
    if not messages:
        codes = ", ".join(str(end.get("exitCode", "unknown")) for end in ends) or "no pod"
        raise RuntimeError(f"the saturation Job left no report (exit code {codes}): kubectl logs job/{SATURATION}")
    report = load_report(messages[-1])
    if not isinstance(report, TrialReport) or report.saturation is None:
        raise RuntimeError(f"the saturation Job measured nothing: {report.outcome}: {report.reason}")
    return report.saturation


def trial_pod(assignment: TrialAssignment) -> Object:
    """A restricted pod of the trial image beside no engine, with the share of the cores that trials' clients have."""
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": objects.POD_SECURITY,
        "containers": [
            {
                "name": "trial",
                "image": build.reference("trial"),
                "imagePullPolicy": "Never",
                "env": [{"name": ASSIGNMENT_VARIABLE, "value": assignment.model_dump_json(exclude_none=True)}],
                "resources": objects.TRIAL_RESOURCES,
                "securityContext": objects.CONTAINER_SECURITY,
                "volumeMounts": [{"name": "models", "mountPath": objects.MODELS, "readOnly": True}],
            }
        ],
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
    }


def watch(kubectl: Kubectl, seconds: int) -> list[str]:
    """Wait that long and return what the generator said of it, a line for each of its intervals."""
    time.sleep(seconds + 5)
    log = kubectl.run("logs", f"deployment/{NAME}", "-n", objects.NAMESPACE, f"--since={seconds}s")
    return [_told(json.loads(line)) for line in log.splitlines() if line.startswith("{")]


def _told(interval: dict[str, float]) -> str:
    rate = interval["sent"] / interval["seconds"]
    return (
        f"sent {rate:.1f} requests/s, {interval['failed']:.0f} failed, p95 TTFT {interval['ttft_p95_ms']:.0f} ms, "
        f"p95 ITL {interval['itl_p95_ms']:.0f} ms"
    )
