"""The generator in the cluster: a Deployment that sends a rate to the target's Service, and a Job that
saturates one replica.
"""

import json
import time
from pathlib import Path

from e2e import traffic
from e2e.images import build
from e2e.stage import objects
from e2e.stage.kubectl import Kubectl, Object, wait_for

SCRIPT = Path(traffic.__file__).with_name("generate.py")
NAME = "traffic"
SATURATION = "saturation"
SATURATION_S = 30
CONCURRENCY = 16


def config_map() -> Object:
    meta = {"name": NAME, "namespace": objects.NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"generate.py": SCRIPT.read_text()}}


def pod(arguments: list[str], restart: str) -> Object:
    """A restricted pod of the trial image that runs the generator with the demo's lengths."""
    lengths = ["--model", objects.TARGET, "--input", str(objects.INPUT_TOKENS), "--output", str(objects.OUTPUT_TOKENS)]
    return {
        "restartPolicy": restart,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": objects.POD_SECURITY,
        "containers": [
            {
                "name": NAME,
                "image": build.reference("trial"),
                "imagePullPolicy": "Never",
                "command": ["python3", "/traffic/generate.py", *arguments, *lengths],
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
        "spec": pod(["rate", "--url", address, "--rate", f"{rate_rps:.3f}"], "Always"),
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


def saturate(kubectl: Kubectl, url: str, seconds: int = SATURATION_S) -> dict[str, float]:
    """Requests and output tokens a second of one replica in a closed loop: {"rps", "output_tps", "failed"}."""
    spec = pod(["saturate", "--url", url, "--seconds", str(seconds), "--concurrency", str(CONCURRENCY)], "Never")
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": SATURATION, "namespace": objects.NAMESPACE},
        "spec": {"backoffLimit": 0, "activeDeadlineSeconds": 180, "template": {"spec": spec}},
    }
    kubectl.run("delete", "job", SATURATION, "-n", objects.NAMESPACE, "--ignore-not-found")
    kubectl.apply([config_map(), job])

    def ended() -> Object | None:
        status = (kubectl.get("job", SATURATION, objects.NAMESPACE) or {}).get("status", {})
        return status if status.get("succeeded") or status.get("failed") else None

    wait_for(ended, "the saturation Job ends", 240)
    log = kubectl.run("logs", f"job/{SATURATION}", "-n", objects.NAMESPACE)
    found: dict[str, float] = json.loads(log.strip().splitlines()[-1])
    return found


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
