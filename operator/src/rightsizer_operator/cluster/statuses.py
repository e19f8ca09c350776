"""Write a status where it changed, and only then, as a merge patch bound to the resourceVersion that was read.

Called by ``reconcile``: one writer per object. A Conflict means somebody wrote in between: read again, decide again.
"""

from rightsizer_operator.cluster.port import INFERENCE_DEPLOYMENTS, OPTIMIZATION_RUNS, Cluster, Kind, Object
from rightsizer_operator.resource.run import RunStatus
from rightsizer_operator.resource.status import InferenceDeploymentStatus
from rightsizer_operator.world import InferenceDeployment, OptimizationRun


async def write_run(cluster: Cluster, namespace: str, run: OptimizationRun, status: RunStatus) -> str:
    """The run's resourceVersion afterwards; unchanged where nothing was written."""
    if status == run.status:
        return run.resource_version
    patch = merge_patch(run.status.wire(), status.wire())
    return await _write(cluster, OPTIMIZATION_RUNS, namespace, run.name, run.resource_version, patch)


async def write_resource(cluster: Cluster, infdep: InferenceDeployment, status: InferenceDeploymentStatus) -> bool:
    """Whether anything was written."""
    if status == infdep.status:
        return False
    patch = merge_patch(infdep.status.wire(), status.wire())
    await _write(cluster, INFERENCE_DEPLOYMENTS, infdep.namespace, infdep.name, infdep.resource_version, patch)
    return True


async def _write(cluster: Cluster, kind: Kind, namespace: str, name: str, version: str, patch: Object) -> str:
    body = {"metadata": {"resourceVersion": version}, "status": patch}
    stored = await cluster.merge(kind, namespace, name, body, subresource="status")
    return str(stored["metadata"]["resourceVersion"])


def merge_patch(old: Object, new: Object) -> Object:
    """The JSON merge patch (RFC 7386) from old to new; lists are replaced whole, absent keys become null."""
    patch: Object = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := merge_patch(before, value):
                patch[key] = inner
        elif value != before:
            patch[key] = value
    return patch
