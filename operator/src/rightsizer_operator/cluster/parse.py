"""Stored objects into typed values. Pure. A stored object may predate any rule of the CRD: what does not fit becomes
an error text, never a crash.
"""

import pydantic

from rightsizer_operator.cluster.port import Object
from rightsizer_operator.resource.run import RunSpec, RunStatus
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.resource.status import InferenceDeploymentStatus
from rightsizer_operator.world import InferenceDeployment, OptimizationRun, Rival

ERROR_LIMIT = 900


class Unreadable(ValueError):
    """A stored object that does not fit its type; the message names each field."""


def inference_deployment(stored: Object) -> InferenceDeployment:
    """Never raises for a wrong spec: ``spec`` is None then and ``spec_error`` names the fields."""
    metadata = stored["metadata"]
    spec, error = None, ""
    try:
        spec = InferenceDeploymentSpec.model_validate(stored.get("spec"))
    except pydantic.ValidationError as found:
        error = problems(found, "spec")
    return InferenceDeployment(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=int(metadata.get("generation") or 0),
        created=metadata.get("creationTimestamp") or "",
        annotations=dict(metadata.get("annotations") or {}),
        resource_version=metadata.get("resourceVersion") or "",
        spec=spec,
        spec_error=error,
        status=_status(stored),
    )


def _status(stored: Object) -> InferenceDeploymentStatus:
    """An unreadable status is worth nothing and is written anew: everything in it follows from the run."""
    try:
        return InferenceDeploymentStatus.model_validate(stored.get("status") or {})
    except pydantic.ValidationError:
        return InferenceDeploymentStatus()


def optimization_run(stored: Object) -> OptimizationRun:
    """Raises Unreadable: a run's status holds measured results and must not be overwritten by guesswork."""
    metadata = stored["metadata"]
    try:
        return OptimizationRun(
            name=metadata["name"],
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
            created=metadata.get("creationTimestamp") or "",
            spec=RunSpec.model_validate(stored.get("spec")),
            status=RunStatus.model_validate(stored.get("status") or {}),
        )
    except pydantic.ValidationError as found:
        raise Unreadable(
            f"OptimizationRun {metadata['name']} cannot be read: {problems(found, 'run')}. "
            "It may have been written by a newer version; upgrade the operator, or delete the run to start afresh."
        ) from found


def rival(stored: Object) -> Rival:
    metadata = stored["metadata"]
    return Rival(name=metadata["name"], uid=metadata["uid"], created=metadata.get("creationTimestamp") or "")


def problems(error: pydantic.ValidationError, root: str) -> str:
    """Every wrong field with what is expected of it, e.g. ``spec.slo.ttftMs: Input should be a valid integer``."""
    found = [f"{'.'.join([root, *map(str, item['loc'])])}: {item['msg']}" for item in error.errors(include_url=False)]
    text = "; ".join(found)
    return text if len(text) <= ERROR_LIMIT else text[: ERROR_LIMIT - 1] + "…"


def owned_by(stored: Object, uid: str) -> bool:
    owners = (stored.get("metadata") or {}).get("ownerReferences") or []
    return any(owner.get("uid") == uid for owner in owners)
