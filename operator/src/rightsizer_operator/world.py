"""Everything one reconcile read, as one frozen value: the input of every phase. ``cluster`` fills it, nobody changes it.

Kubernetes objects other than our own stay plain dicts, as the API server sent them.
"""

import datetime
from dataclasses import dataclass, field
from typing import Any

from rightsizer_operator.actions import Action
from rightsizer_operator.resource.run import RunSpec, RunStatus
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.resource.status import InferenceDeploymentStatus

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProfile:
    """How Jobs of one purpose are run: operator configuration (chart values), never a CR field."""

    image: str
    image_pull_policy: str = "IfNotPresent"
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[Object, ...] = ()
    volumes: tuple[Object, ...] = ()
    volume_mounts: tuple[Object, ...] = ()
    env: tuple[Object, ...] = ()
    command: tuple[str, ...] = ("python3", "-m", "rightsizer_jobs")
    resources: Object = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Operator configuration; every field is a chart value. Times in seconds."""

    trial: JobProfile
    compress: JobProfile
    prices: dict[str, str] = field(default_factory=dict)
    """Price of one accelerator hour by accelerator type; the resource name is looked up when the type is unknown or unlisted."""
    engine_images: dict[str, str] = field(default_factory=dict)
    """Image by engine kind (VLLM, TensorRTLLM) for candidates whose engine is not the baseline's."""
    read_only: bool = False
    """Kill switch: no new write to a target; a needed way back is still taken."""
    void_retries: int = 2
    runs_kept: int = 5
    rollout_deadline_s: int = 1800
    job_ttl_grace_s: int = 120
    """How much longer the Job's deadline is than the pod's (it catches pods that never start)."""
    pending_deadline_s: int = 3600
    """How long a pod may stay unscheduled before the trial is Void."""


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
    status: InferenceDeploymentStatus = InferenceDeploymentStatus()


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizationRun:
    name: str
    uid: str
    resource_version: str
    created: str
    spec: RunSpec
    status: RunStatus = RunStatus()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """Another InferenceDeployment of the namespace with the same target."""

    name: str
    uid: str
    created: str


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
    nodes: tuple[Object, ...] = ()
    accelerators_used: dict[str, int] = field(default_factory=dict)
    """Requested accelerators of the resource by node name, over all pods that are not finished."""
    run: OptimizationRun | None = None
    """The run that status.runRef or the fingerprint names."""
    run_names: tuple[tuple[str, str, str], ...] = ()
    """(name, uid, created) of every run this resource owns, oldest first."""
    jobs: tuple[Object, ...] = ()
    """Our Jobs of the run, by label."""
    job_pods: tuple[Object, ...] = ()
    """Pods of those Jobs."""
    conflicts: tuple[str, ...] = ()
    """Managers that own fields the last dry run wanted; empty when none or not tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a reconcile decided: the run's new status, the resource's new status, side effects, and when to look again.

    Written in this order: run status (what was harvested is kept first), actions, resource status.
    """

    status: InferenceDeploymentStatus
    run_status: RunStatus | None = None
    actions: tuple[Action, ...] = ()
    wake_after_s: float = 300.0
