"""What the operator needs of a cluster: a handful of verbs on plain dicts, and the errors they raise.

``kube`` implements it; tests wrap it to inject faults; ``lease`` wraps it so that only the leader writes.

    ClusterError
    ├── Unavailable      nobody knows whether it happened: timeout, connection, 429, 5xx
    ├── NotFound
    ├── AlreadyExists
    ├── Conflict         the object is not the one that was read (resourceVersion, uid)
    ├── ApplyConflict    other managers own fields of a server-side apply
    └── Refused          rights, quota, admission, validation, or somebody else's object: a person has to act
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from rightsizer_operator.manifests.labels import FIELD_MANAGER as FIELD_MANAGER

Object = dict[str, Any]


class ClusterError(Exception):
    """``message`` is the API server's, fit for a condition."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Unavailable(ClusterError):
    """The call may or may not have taken effect."""


class NotFound(ClusterError):
    pass


class AlreadyExists(ClusterError):
    pass


class Conflict(ClusterError):
    pass


class Refused(ClusterError):
    pass


class ApplyConflict(ClusterError):
    def __init__(self, message: str, managers: tuple[str, ...]) -> None:
        super().__init__(message, 409)
        self.managers = managers


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource of the API: enough to build its paths."""

    api_version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path; an empty namespace of a namespaced kind means all namespaces (lists only)."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{scope}/{self.plural}{tail}"


INFERENCE_DEPLOYMENTS = Kind("rightsizer.dev/v1alpha1", "inferencedeployments", "InferenceDeployment")
OPTIMIZATION_RUNS = Kind("rightsizer.dev/v1alpha1", "optimizationruns", "OptimizationRun")
DEPLOYMENTS = Kind("apps/v1", "deployments", "Deployment")
REPLICA_SETS = Kind("apps/v1", "replicasets", "ReplicaSet")
JOBS = Kind("batch/v1", "jobs", "Job")
PODS = Kind("v1", "pods", "Pod")
NODES = Kind("v1", "nodes", "Node", namespaced=False)
CLAIMS = Kind("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
EVENTS = Kind("v1", "events", "Event")
AUTOSCALERS = Kind("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
SCALED_OBJECTS = Kind("keda.sh/v1alpha1", "scaledobjects", "ScaledObject")
LEASES = Kind("coordination.k8s.io/v1", "leases", "Lease")
ACCESS_REVIEWS = Kind(
    "authorization.k8s.io/v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
)


class Cluster(Protocol):
    """Every method raises ClusterError. Reads are quorum reads: no cache lies between."""

    async def read(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """The object, or None."""

    def pages(
        self,
        kind: Kind,
        namespace: str,
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
        page_size: int = 250,
    ) -> AsyncIterator[list[Object]]:
        """The objects page by page; an empty namespace means all. ``metadata_only``: only their metadata travels."""

    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        """The object as stored; raises AlreadyExists."""

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """Delete with background propagation if it still is the object with that uid; gone already is success."""

    async def apply(
        self, kind: Kind, namespace: str, name: str, patch: Object, *, force: bool, dry_run: bool
    ) -> Object:
        """Server-side apply as FIELD_MANAGER; raises ApplyConflict with the managers that own wanted fields."""

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Object, subresource: str = "") -> Object:
        """JSON merge patch; with metadata.resourceVersion in the patch it raises Conflict when the object has moved
        on.
        """

    async def replace(self, kind: Kind, namespace: str, name: str, manifest: Object) -> Object:
        """PUT; raises Conflict when metadata.resourceVersion is no longer current."""


async def listed(
    cluster: Cluster, kind: Kind, namespace: str, *, labels: str = "", fields: str = "", metadata_only: bool = False
) -> list[Object]:
    """All pages at once, for lists that are small by nature."""
    pages = cluster.pages(kind, namespace, labels=labels, fields=fields, metadata_only=metadata_only)
    return [item async for page in pages for item in page]
