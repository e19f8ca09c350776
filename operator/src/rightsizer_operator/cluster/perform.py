"""Carry out one action. Each is safe to repeat: after a crash, or a write that timed out but was committed, the next
reconcile does it again.

Called by ``reconcile``; Events go through ``recorder``. Decides nothing but whether an object that already exists is
ours.
"""

from rightsizer_operator.actions import ApplyTarget, CreateJob, CreateRun, DeleteJob, DeleteRun
from rightsizer_operator.cluster.parse import owned_by
from rightsizer_operator.cluster.port import (
    DEPLOYMENTS,
    JOBS,
    OPTIMIZATION_RUNS,
    AlreadyExists,
    Cluster,
    Conflict,
    Kind,
    Object,
    Refused,
)

Write = CreateRun | DeleteRun | CreateJob | DeleteJob | ApplyTarget


async def perform(cluster: Cluster, namespace: str, action: Write) -> None:
    """Raises ClusterError; ApplyConflict only from the dry run, so nothing was written then."""
    match action:
        case CreateRun(manifest=manifest):
            await _create(cluster, OPTIMIZATION_RUNS, namespace, manifest)
        case CreateJob(manifest=manifest):
            await _create(cluster, JOBS, namespace, manifest)
        case DeleteRun(name=name, uid=uid):
            await cluster.delete(OPTIMIZATION_RUNS, namespace, name, uid)
        case DeleteJob(name=name, uid=uid):
            await cluster.delete(JOBS, namespace, name, uid)
        case ApplyTarget():
            await _apply(cluster, namespace, action)


async def _create(cluster: Cluster, kind: Kind, namespace: str, manifest: Object) -> None:
    try:
        await cluster.create(kind, namespace, manifest)
    except AlreadyExists:
        await _ours(cluster, kind, namespace, manifest)


async def _ours(cluster: Cluster, kind: Kind, namespace: str, manifest: Object) -> None:
    """An object of that name exists: fine where its owner is the one we would have written, as after a crash."""
    name = manifest["metadata"]["name"]
    found = await cluster.read(kind, namespace, name)
    if found is None or found["metadata"].get("deletionTimestamp"):
        raise Conflict(f"{kind.kind} {name} is being deleted")
    owners = manifest["metadata"].get("ownerReferences") or []
    if not any(owned_by(found, owner["uid"]) for owner in owners):
        raise Refused(f"{kind.kind} {name} exists and belongs to somebody else. Delete or rename it.")


async def _apply(cluster: Cluster, namespace: str, action: ApplyTarget) -> None:
    """The uid travels in the patch: the API server refuses it where the target was deleted or made anew, and never
    creates one.
    """
    metadata = {**action.patch.get("metadata", {}), "name": action.name, "namespace": namespace, "uid": action.uid}
    patch = {**action.patch, "metadata": metadata}
    try:
        for dry_run in (True, False):
            await cluster.apply(DEPLOYMENTS, namespace, action.name, patch, force=action.force, dry_run=dry_run)
    except Refused as error:
        if "metadata.uid" in error.message:
            raise Conflict(f"Deployment {action.name} was made anew since it was read") from error
        raise
