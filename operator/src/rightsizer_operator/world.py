"""Everything one reconcile read, as one frozen value: the input of every phase. ``cluster`` fills
it, nobody changes it.

Kubernetes objects other than our own stay plain dicts, as the API server sent them.
"""

import datetime
from dataclasses import dataclass, field
from typing import Any

from rightsizer_operator.actions import Action
from rightsizer_operator.resource.run import RunSpec, RunStatus
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.resource.status import GpuReading, InferenceDeploymentStatus, PeakReading
from rightsizer_operator.settings import Settings

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceDeployment:
    """Our custom resource, parsed. ``spec`` is None where it could not be parsed; ``spec_error`` then says why."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: str
    annotations: dict[str, str]
    spec: InferenceDeploymentSpec | None
    spec_error: str = ""
    status: InferenceDeploymentStatus = field(default_factory=InferenceDeploymentStatus)
    resource_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizationRun:
    name: str
    uid: str
    resource_version: str
    created: str
    spec: RunSpec
    status: RunStatus = field(default_factory=RunStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """Another InferenceDeployment of the namespace with the same target."""

    name: str
    uid: str
    created: str


@dataclass(frozen=True, slots=True)
class Unread:
    """Why the peak demand could not be read from Prometheus: reason, and a message with the remedy."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    now: datetime.datetime
    settings: Settings
    infdep: InferenceDeployment
    rivals: tuple[Rival, ...] = ()
    target: Object | None = None
    """The target Deployment, with managedFields."""
    target_pods: tuple[Object, ...] = ()
    """Pods of the target's selector."""
    replica_sets: tuple[Object, ...] = ()
    """ReplicaSets owned by the target."""
    scalers: tuple[str, ...] = ()
    """HPAs and ScaledObjects that scale the target, as kind/name."""
    claim: Object | None = None
    """The modelCache PersistentVolumeClaim."""
    nodes: tuple[Object, ...] | None = ()
    """None: the operator may not read nodes (namespaced install); the scheduler alone knows where there is room."""
    accelerators_used: dict[str, int] = field(default_factory=dict)
    """Requested accelerators of the resource by node name, over all pods that are not finished; those that no node has
    yet count under the empty name. At most 10 seconds old."""
    peak: PeakReading | Unread | None = None
    """The peak demand as Prometheus has it now; None where nobody asks for it. As old as the operator's settings
    allow."""
    gpu_readings: dict[str, tuple[GpuReading, ...]] = field(default_factory=dict)
    """How busy the GPUs of trials were that have just finished, by name of the Job, where their clients could not see
    them."""
    run: OptimizationRun | None = None
    """The run that status.runRef or the fingerprint names."""
    run_names: tuple[tuple[str, str, str], ...] = ()
    """(name, uid, created) of every run this resource owns, oldest first."""
    jobs: tuple[Object, ...] = ()
    """Our Jobs of the run, by label."""
    job_pods: tuple[Object, ...] = ()
    """Pods of those Jobs."""
    conflicts: tuple[str, ...] = ()
    """Managers that own fields which this reconcile's own dry run wanted: where an ApplyTarget meets a conflict,
    nothing is written and the same world is advanced once more with this filled. Empty at the start of every
    reconcile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a reconcile decided: the run's new status, the resource's new status, side effects, and when to look again.

    Written in this order: run status (what was harvested is kept first), actions, resource status.
    """

    status: InferenceDeploymentStatus
    run_status: RunStatus | None = None
    actions: tuple[Action, ...] = ()
    wake_after_s: float = 300.0
