"""The rewrite as server-side apply intents of the closed field list, and the reading of its roll-out.

Called by ``phases``. An intent is always complete: whatever an earlier one held and this one leaves out is removed by
the API server (so the way back removes what we added), and a replica count of ours that were left out would fall to 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rightsizer_operator.manifests import Manifest, Object, labels, ownership, template
from rightsizer_operator.resource.run import Baseline, Serving

REVISION = "deployment.kubernetes.io/revision"
BROKEN_WAITS = frozenset(
    {"CrashLoopBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError"}
)
"""Reasons for which a container waits that do not go away by waiting. A failing pull may, and the progress deadline
covers it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutState:
    complete: bool
    failed: bool
    message: str
    new_pods: tuple[Object, ...]
    """Pods of the new ReplicaSet that are not being deleted."""


def template_patch(
    target: Object, container: str, serving: Serving, baseline: Baseline, proposal_hash: str
) -> Manifest:
    """Write (a): the template at the replica count as it is."""
    return _intent(target, container, serving, baseline, _marks(baseline, proposal_hash), replicas=None)


def replicas_patch(
    target: Object, container: str, serving: Serving, replicas: int, baseline: Baseline, proposal_hash: str
) -> Manifest:
    """Write (b): the same template with the replica count; without it where a scaler owns the replicas."""
    return _intent(target, container, serving, baseline, _marks(baseline, proposal_hash), replicas=replicas)


def restore_patch(target: Object, baseline: Baseline) -> Manifest:
    """The way back: the user's values again; volume, variables and annotations that we added go because they are left
    out."""
    return _intent(target, baseline.container, baseline.serving, baseline, {}, replicas=baseline.replicas)


def rollout_state(target: Object, replica_sets: Sequence[Object], pods: Sequence[Object]) -> RolloutState:
    """Where the roll-out of the target's present template stands, judged by the pods of its new ReplicaSet only."""
    status = target.get("status", {})
    if int(status.get("observedGeneration", 0)) < int(target["metadata"].get("generation", 0)):
        return _state("the Deployment controller has not seen the change yet")
    if target["spec"].get("paused"):
        return _state("the Deployment's roll-outs are paused (spec.paused): resume them")
    new = _new_replica_set(target, replica_sets)
    if new is None:
        return _state("no ReplicaSet of the new template yet")
    new_pods = tuple(pod for pod in pods if _is_live_pod_of(pod, new))
    if broken := _broken(status, new_pods):
        return _state(broken, new_pods, failed=True)
    wanted = int(target["spec"].get("replicas", 1))
    updated, total = int(status.get("updatedReplicas", 0)), int(status.get("replicas", 0))
    available = int(status.get("availableReplicas", 0))
    if updated >= wanted and total == updated and available >= wanted:
        return _state(f"{available} of {wanted} new pods available", new_pods, complete=True)
    return _state(
        f"{updated} of {wanted} pods updated, {total - updated} old ones left, {available} available", new_pods
    )


def _intent(
    target: Object,
    container: str,
    serving: Serving,
    baseline: Baseline,
    annotations: dict[str, str],
    *,
    replicas: int | None,
) -> Manifest:
    found = template.container_of(target, container)
    used = template.claim_volume(template.pod_spec(target), baseline.model_claim)
    pod_spec: Object = {"containers": [_container(found, serving, baseline, used or template.MODEL_VOLUME)]}
    if volumes := _volumes(serving, baseline, used):
        pod_spec["volumes"] = volumes
    pod: Object = {"spec": pod_spec}
    if serving.engine_config:
        pod["metadata"] = {"annotations": {labels.ENGINE_CONFIG: serving.engine_config}}
    spec: Object = {"template": pod}
    count = _replicas(target, baseline, replicas)
    if count is not None:
        spec["replicas"] = count
    metadata: Object = {"name": target["metadata"]["name"], "namespace": target["metadata"]["namespace"]}
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def _container(found: Object, serving: Serving, baseline: Baseline, volume: str) -> Object:
    """The engine container's closed fields. Command and args are atomic lists: written whole, or left out and so
    removed."""
    container: Object = {"name": found["name"], "image": serving.image}
    if serving.command:
        container["command"] = list(serving.command)
    if serving.args:
        container["args"] = list(serving.args)
    if serving.env:
        container["env"] = [{"name": variable.name, "value": variable.value} for variable in serving.env]
    if resources := template.resources(found, serving, baseline.accelerator_resource):
        container["resources"] = resources
    if mounts := template.our_mounts(serving, volume):
        container["volumeMounts"] = mounts
    return container


def _volumes(serving: Serving, baseline: Baseline, used: str | None) -> list[Object]:
    volumes: list[Object] = []
    if serving.artefact and used is None:
        claim = {"claimName": baseline.model_claim, "readOnly": True}
        volumes.append({"name": template.MODEL_VOLUME, "persistentVolumeClaim": claim})
    if serving.engine_config:
        volumes.append(template.config_volume())
    return volumes


def _replicas(target: Object, baseline: Baseline, wanted: int | None) -> int | None:
    """The count to write; None leaves the field out. A count of ours is kept in every intent, else it would be reset to
    1."""
    if wanted is not None and not baseline.replicas_managed_by:
        return wanted
    return int(target["spec"].get("replicas", 1)) if ownership.owns_replicas(target) else None


def _marks(baseline: Baseline, proposal_hash: str) -> dict[str, str]:
    return {labels.BASELINE: baseline.model_dump_json(by_alias=True), labels.APPLIED_PROPOSAL: proposal_hash}


def _state(
    message: str, new_pods: tuple[Object, ...] = (), *, complete: bool = False, failed: bool = False
) -> RolloutState:
    return RolloutState(complete=complete, failed=failed, message=message, new_pods=new_pods)


def _new_replica_set(target: Object, replica_sets: Sequence[Object]) -> Object | None:
    revision = template.annotations_of(target).get(REVISION)
    for one in replica_sets:
        owners = {owner.get("uid") for owner in one["metadata"].get("ownerReferences", ())}
        if target["metadata"]["uid"] in owners and template.annotations_of(one).get(REVISION) == revision:
            return one
    return None


def _is_live_pod_of(pod: Object, replica_set: Object) -> bool:
    owners = {owner.get("uid") for owner in pod["metadata"].get("ownerReferences", ())}
    return replica_set["metadata"]["uid"] in owners and not pod["metadata"].get("deletionTimestamp")


def _broken(status: Object, new_pods: Sequence[Object]) -> str:
    """Why the roll-out cannot succeed; empty where it still may."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return f"ProgressDeadlineExceeded: {condition.get('message', '')}"[:1000]
    for pod in new_pods:
        found = pod.get("status", {})
        for container in (*found.get("initContainerStatuses", ()), *found.get("containerStatuses", ())):
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in BROKEN_WAITS:
                return f"pod {pod['metadata']['name']}: {waiting['reason']}: {_last_words(container, waiting)}"[:1000]
    return ""


def _last_words(container: Object, waiting: Object) -> str:
    ended = (container.get("lastState") or {}).get("terminated") or {}
    return str(ended.get("message") or waiting.get("message") or "").strip()
