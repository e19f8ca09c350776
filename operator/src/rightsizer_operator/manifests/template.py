"""Readers of a Deployment's pod template, shared by the builders: the container, its resources, the volume an artefact
is mounted from.

Called by ``baseline``, ``jobs`` and ``target``, so that what is measured and what is deployed are put together in one
place.
"""

from collections.abc import Iterable

from rightsizer_operator.manifests import Object, labels
from rightsizer_operator.manifests.artefacts import FOLDER
from rightsizer_operator.resource.run import Serving

MODEL_VOLUME = "rightsizer-models"
MODEL_PATH = "/rightsizer/model"
CONFIG_VOLUME = "rightsizer-engine-config"
CONFIG_PATH = "/rightsizer/config"
CONFIG_FILE = "engine.yaml"

MANAGED_ENV = ("VLLM_ATTENTION_BACKEND", "VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND", "VLLM_PLUGINS")
"""Variables that are part of a serving configuration: recorded, measured and written with it. All others stay the
user's."""


def pod_template(target: Object) -> Object:
    template: Object = target.get("spec", {}).get("template", {})
    return template


def pod_spec(target: Object) -> Object:
    spec: Object = pod_template(target).get("spec", {})
    return spec


def container_of(target: Object, name: str) -> Object:
    """The container of that name; raises KeyError where the target has none."""
    for container in pod_spec(target).get("containers", ()):
        if container.get("name") == name:
            found: Object = container
            return found
    raise KeyError(name)


def annotations_of(thing: Object) -> dict[str, str]:
    """Annotations of an object or of a pod template."""
    return dict(thing.get("metadata", {}).get("annotations") or {})


def claim_volume(spec: Object, claim: str) -> str | None:
    """Name of the user's volume that already mounts the claim.

    A pod with two volumes of one claim never starts (kubernetes/kubernetes#127004), so such a volume is used instead of
    one of ours.
    """
    for volume in spec.get("volumes", ()):
        if volume.get("name") != MODEL_VOLUME and (volume.get("persistentVolumeClaim") or {}).get("claimName") == claim:
            return str(volume["name"])
    return None


def our_mounts(serving: Serving, volume: str) -> list[Object]:
    """Mounts that a serving configuration adds to the engine: the artefact, and the file of settings without a flag."""
    mounts: list[Object] = []
    if serving.artefact:
        mounts.append(
            {"name": volume, "mountPath": MODEL_PATH, "subPath": f"{FOLDER}/{serving.artefact}", "readOnly": True}
        )
    if serving.engine_config:
        mounts.append({"name": CONFIG_VOLUME, "mountPath": CONFIG_PATH, "readOnly": True})
    return mounts


def config_volume() -> Object:
    """The pod's own annotation as a file: settings travel in the pod template, so that a rollback takes them back
    too."""
    field = {"fieldPath": f"metadata.annotations['{labels.ENGINE_CONFIG}']"}
    return {"name": CONFIG_VOLUME, "downwardAPI": {"items": [{"path": CONFIG_FILE, "fieldRef": field}]}}


def mounted_artefact(container: Object) -> str:
    """Name of the artefact that is mounted now; empty where none is."""
    for mount in container.get("volumeMounts", ()):
        if mount.get("mountPath") == MODEL_PATH and str(mount.get("subPath", "")).startswith(FOLDER + "/"):
            return str(mount["subPath"]).removeprefix(FOLDER + "/")
    return ""


def user_mounts(container: Object) -> list[Object]:
    """The container's mounts without ours."""
    return [
        mount for mount in container.get("volumeMounts", ()) if mount.get("mountPath") not in (MODEL_PATH, CONFIG_PATH)
    ]


def quantity_of(container: Object, kind: str, resource: str) -> str:
    """A resource as found in ``requests`` or ``limits``; empty where it is not there."""
    return str((container.get("resources") or {}).get(kind, {}).get(resource, ""))


def resources(container: Object, serving: Serving, accelerator_resource: str) -> Object:
    """``requests`` and ``limits`` of the closed list for a serving configuration, in those of the two where the
    container has them.

    An extended resource needs its limit; its request is written only where the user writes it, so that no further field
    is owned.
    """
    wanted = [
        ("requests", "cpu", serving.cpu_request),
        ("requests", "memory", serving.memory_request),
        ("limits", "cpu", serving.cpu_limit),
        ("limits", "memory", serving.memory_limit),
        ("limits", accelerator_resource, str(serving.accelerators) if serving.accelerators else ""),
    ]
    if quantity_of(container, "requests", accelerator_resource):
        wanted.append(("requests", accelerator_resource, str(serving.accelerators)))
    found: Object = {}
    for kind, resource, value in wanted:
        if value:
            found.setdefault(kind, {})[resource] = value
    return found


def named(items: Iterable[Object]) -> dict[str, Object]:
    """A list keyed by name, as the API server keys it."""
    return {str(item["name"]): item for item in items}
