"""Everything the demo and the scenarios stand on: programs, images, environments, model volume, node, chart.
Each step is safe to repeat.

The node is the embedded one (root on Linux); what differs between demo and scenarios are arguments.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from e2e.images import build, environments, store
from e2e.model import volume
from e2e.stage import objects
from e2e.stage.kubectl import Kubectl, Object, wait_for

CHART = store.REPOSITORY / "charts" / "rightsizer"
RELEASE = "rightsizer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One cluster's folder: its state, its model volume, its results."""

    folder: Path

    @property
    def models(self) -> Path:
        return self.folder / "models"


def images() -> dict[str, Path]:
    """Archives of every image by name, built when their inputs changed."""
    cache = store.cache_root()
    return {name: build.ensure(name, cache) for name in build.IMAGES}


def host(place: Place, size: str) -> objects.Host:
    """The directories the node's volumes show; environments and model are made when missing."""
    cache = store.cache_root()
    place.models.mkdir(parents=True, exist_ok=True)
    volume.lay_out(place.models, size, cache)
    return objects.Host(
        engine=str(environments.ensure("engine-cpu", cache)),
        compress=str(environments.ensure("compress", cache)),
        models=str(place.models.resolve()),
    )


def chart_values() -> Object:
    """The chart's values for the demo: our images, the environment of the compress Job as a volume, a price."""

    def image(name: str) -> Object:
        repository, tag = build.reference(name).rsplit(":", 1)
        return {"repository": repository, "tag": tag, "pullPolicy": "Never"}

    return {
        "image": image("operator"),
        "jobs": {
            "trial": {
                "image": image("trial"),
                "resources": objects.TRIAL_RESOURCES,
            },
            "compress": {
                "image": image("compress"),
                "volumes": [
                    {"name": "environment", "persistentVolumeClaim": {"claimName": "compress", "readOnly": True}}
                ],
                "volumeMounts": [{"name": "environment", "mountPath": "/opt/compress", "readOnly": True}],
                "resources": {"requests": {"cpu": "300m", "memory": "1Gi"}, "limits": {"memory": "6Gi"}},
            },
        },
        "networkPolicy": {"jobNamespaces": [objects.NAMESPACE]},
        "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}},
    }


def install(kubectl: Kubectl, place: Place, overrides: Mapping[str, object] | None = None) -> None:
    """The chart with `helm upgrade --install --wait`: CRDs, operator, RBAC."""
    values = place.folder / "values.json"
    values.write_text(json.dumps({**chart_values(), **(overrides or {})}, indent=1))
    kubectl.run(
        "upgrade",
        "--install",
        RELEASE,
        str(CHART),
        "-n",
        objects.SYSTEM_NAMESPACE,
        "-f",
        str(values),
        "--wait",
        "--timeout",
        "120s",
        program="helm",
    )


def furnish(kubectl: Kubectl, given: objects.Host) -> None:
    """Namespaces (PodSecurity restricted) and volumes."""
    kubectl.apply([*objects.namespaces(), *objects.volumes(given)])


def serve(kubectl: Kubectl, replicas: int, limit_s: float = 600) -> None:
    """The target and its Service by ordinary `kubectl apply`; returns when every replica is Ready."""
    kubectl.apply(objects.target(build.reference("engine-cpu"), replicas))
    await_ready(kubectl, limit_s)


def await_ready(kubectl: Kubectl, limit_s: float = 600) -> None:
    """Until every replica the target asks for is Ready."""

    def all_ready() -> bool:
        found = kubectl.get("deployment", objects.TARGET, objects.NAMESPACE) or {"spec": {}}
        return bool(ready_replicas(kubectl) == found["spec"].get("replicas"))

    wait_for(all_ready, f"every replica of {objects.TARGET} is Ready", limit_s)


def ready_replicas(kubectl: Kubectl) -> int:
    found = kubectl.get("deployment", objects.TARGET, objects.NAMESPACE) or {}
    return int(found.get("status", {}).get("readyReplicas", 0))


def clear(place: Place) -> None:
    """Remove what this place holds on disk; the caches stay."""
    shutil.rmtree(place.folder, ignore_errors=True)
