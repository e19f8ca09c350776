"""Side effects as values. Phases return them, ``reconcile`` performs them through ``cluster``, in order.

Each one is safe to repeat.
"""

from dataclasses import dataclass
from typing import Any, Literal

Manifest = dict[str, Any]
"""A Kubernetes object as a plain dict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRun:
    """Create the OptimizationRun; AlreadyExists is success when its owner is ours."""

    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRun:
    """Delete an OptimizationRun beyond the history limit (background propagation)."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateJob:
    """Create a Job; AlreadyExists is success when the owner reference is ours, else an ownership error."""

    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteJob:
    """Delete a Job with background propagation; NotFound is success. The uid is a precondition."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyTarget:
    """Server-side apply of the closed field list to the target, dry run first. ``force``: after the ownership check."""

    name: str
    uid: str
    patch: Manifest
    force: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EmitEvent:
    """An Event on the InferenceDeployment; repeats are counted by the recorder."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


Action = CreateRun | DeleteRun | CreateJob | DeleteJob | ApplyTarget | EmitEvent
