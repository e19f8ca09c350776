"""May the target be written, and what runs on it now? The conditions of a rewrite, in order. Called by ``rewrite``
and ``watch``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rightsizer_operator.manifests import baseline as baselines
from rightsizer_operator.manifests import labels, ownership, target
from rightsizer_operator.phases import measure, room
from rightsizer_operator.phases.view import View
from rightsizer_operator.resource import reasons
from rightsizer_operator.resource.run import RunProposal, Serving
from rightsizer_operator.world import Object, OptimizationRun

PROGRESS_DEADLINE_S = 600
"""Kubernetes' default of a Deployment's progressDeadlineSeconds."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The condition Applied, and whether OwnershipConflict stands beside it."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str
    conflict: bool = False
    wake_after_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """The target against the run: whose serving it has, at how many replicas."""

    replicas: int
    serving_is_baseline: bool
    serving_is_proposal: bool
    replicas_are_baseline: bool
    replicas_are_proposal: bool

    @property
    def is_baseline(self) -> bool:
        return self.serving_is_baseline and self.replicas_are_baseline

    @property
    def applied(self) -> bool:
        return self.serving_is_proposal and self.replicas_are_proposal

    @property
    def known(self) -> bool:
        """Baseline, proposal, or the one between the two writes; anything else is somebody's new intent."""
        return (self.serving_is_baseline or self.serving_is_proposal) and (
            self.replicas_are_baseline or self.replicas_are_proposal
        )


def target_state(run: OptimizationRun, deployment: Object) -> TargetState:
    """What runs now, compared with the run's baseline and proposal. A scaler's replicas are nobody's intent."""
    baseline, proposal = run.spec.baseline, run.status.proposal
    now = _serving_now(run, deployment)
    replicas = int(deployment["spec"].get("replicas", 1))
    scaled = bool(baseline.replicas_managed_by)
    return TargetState(
        replicas=replicas,
        serving_is_baseline=now == baseline.serving,
        serving_is_proposal=proposal is not None and now == proposal.serving,
        replicas_are_baseline=scaled or replicas == baseline.replicas,
        replicas_are_proposal=scaled or (proposal is not None and replicas == proposal.replicas),
    )


def mark(deployment: Object) -> str:
    """The proposal that the target says it runs."""
    return str((deployment["metadata"].get("annotations") or {}).get(labels.APPLIED_PROPOSAL, ""))


def permission(view: View, proposal: RunProposal) -> Hold | None:
    """Whether anybody wants the proposal applied: mode, pause, approval."""
    spec, policy = view.accepted.spec, view.accepted.spec.update_policy
    if policy.mode == "Off":
        return Hold("False", reasons.MODE_OFF, "spec.updatePolicy.mode is Off: nothing is written")
    if spec.paused:
        return Hold("False", reasons.PAUSED, "spec.paused is true: nothing is written")
    if view.world.settings.read_only:
        return Hold("False", reasons.READ_ONLY, "the operator runs read-only: nothing is written")
    if policy.mode == "Auto" or policy.approved_proposal == proposal.hash:
        return None
    if policy.approved_proposal:
        return Hold(
            "False",
            reasons.APPROVAL_STALE,
            f"spec.updatePolicy.approvedProposal is {policy.approved_proposal}, the proposal is {proposal.hash}",
        )
    return Hold(
        "False", reasons.AWAITING_APPROVAL, f"set spec.updatePolicy.approvedProposal to {proposal.hash} to apply it"
    )


def readiness(view: View, proposal: RunProposal) -> Hold | None:
    """Whether the target can take the rewrite now."""
    for check in (_jobs_gone, _owned, _steady, _patient, _surge, _growth):
        hold = check(view, proposal)
        if hold is not None:
            return hold
    return None


Check = Callable[[View, RunProposal], Hold | None]


def _jobs_gone(view: View, _: RunProposal) -> Hold | None:
    if not measure.busy(view.world):
        return None
    return Hold("False", reasons.APPROVED, "approved; waiting for the last trial's pods to end", wake_after_s=5.0)


def _owned(view: View, proposal: RunProposal) -> Hold | None:
    baseline = view.run.spec.baseline
    replicas = not baseline.replicas_managed_by and proposal.replicas != baseline.replicas
    found = ownership.check(
        view.target, baseline.container, replicas=replicas, take_ownership=view.accepted.spec.target_ref.take_ownership
    )
    if found.allowed:
        return None
    return Hold("False", reasons.OWNERSHIP_CONFLICT, found.message[:2000], conflict=True)


def _steady(view: View, _: RunProposal) -> Hold | None:
    state = target.rollout_state(view.target, view.world.replica_sets, view.world.target_pods)
    if state.complete:
        return None
    text = f"approved; the target must be steady before it is rewritten: {state.message}"
    return Hold("False", reasons.APPROVED, text, wake_after_s=15.0)


def _patient(view: View, proposal: RunProposal) -> Hold | None:
    """The Deployment has to wait for its pods as long as the engine took to be ready in its trials."""
    if proposal.serving == view.run.spec.baseline.serving:
        return None
    standing = view.standing(proposal.candidate)
    reports = (standing.report, standing.certification) if standing is not None else ()
    needed = max((report.ready_s or 0.0 for report in reports if report is not None), default=0.0)
    patience = int(view.target["spec"].get("progressDeadlineSeconds", PROGRESS_DEADLINE_S))
    if needed < patience:
        return None
    return Hold(
        "False",
        reasons.PROGRESS_DEADLINE_TOO_SHORT,
        f"the engine took {needed:.0f} s to become ready in its trial, the Deployment waits {patience} s "
        "(spec.progressDeadlineSeconds): the roll-out would fail; raise it well above",
    )


def _surge(view: View, proposal: RunProposal) -> Hold | None:
    """New pods have to fit beside the old ones, unless downtime is allowed and the strategy lets old ones go first."""
    if proposal.serving == view.run.spec.baseline.serving:
        return None
    free, resource = _free(view)
    strategy = view.target["spec"].get("strategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    replicas = int(view.target["spec"].get("replicas", 1))
    recreates = strategy.get("type") == "Recreate"
    surge = 0 if recreates else _share(rolling.get("maxSurge", "25%"), replicas, math.ceil)
    # Where both come to nothing, the Deployment controller lets one pod be missing.
    gives_way = recreates or surge == 0 or _share(rolling.get("maxUnavailable", "25%"), replicas, math.floor) > 0
    if surge > 0 and room.fits(free, proposal.serving.accelerators):
        return None
    if view.accepted.spec.update_policy.allow_downtime:
        if gives_way:
            return None
        return Hold(
            "False",
            reasons.NO_SPARE_ACCELERATORS,
            "downtime is allowed, but the Deployment's strategy keeps every old pod until a new one is ready "
            "(maxUnavailable 0) and none fits; set spec.strategy.rollingUpdate.maxUnavailable of the Deployment to 1",
        )
    if surge == 0:
        lacking = "the Deployment's strategy starts no new pod before an old one has gone"
    else:
        lacking = room.shortage(free, proposal.serving.accelerators, resource)
    return Hold(
        "False",
        reasons.NO_SPARE_ACCELERATORS,
        f"a new pod does not fit beside the old ones: {lacking}. Free accelerators, or set "
        "spec.updatePolicy.allowDowntime",
        wake_after_s=15.0,  # most often a trial's pod that is still ending
    )


def _growth(view: View, proposal: RunProposal) -> Hold | None:
    """A proposal with more replicas needs their accelerators, too."""
    more = proposal.replicas - view.run.spec.baseline.replicas
    if more <= 0 or view.run.spec.baseline.replicas_managed_by:
        return None
    free, resource = _free(view)
    if room.fits(free, proposal.serving.accelerators, more):
        return None
    lacking = room.shortage(free, proposal.serving.accelerators, resource, more)
    return Hold("False", reasons.NO_SPARE_ACCELERATORS, f"{more} more replicas are needed: {lacking}")


def _free(view: View) -> tuple[room.Free, str]:
    resource = view.run.spec.accepted.accelerator.resource
    return room.free_by_node(view.world, resource, room.pod_spec_of(view.target)), resource


def _share(value: object, replicas: int, rounded: Callable[[float], int]) -> int:
    """An absolute number or a percentage of the replicas, as the Deployment controller reads it."""
    if isinstance(value, str) and value.endswith("%"):
        return rounded(replicas * int(value[:-1]) / 100)
    return int(str(value))


def _serving_now(run: OptimizationRun, deployment: Object) -> Serving | None:
    baseline = run.spec.baseline
    resource = baseline.accelerator_resource or run.spec.accepted.accelerator.resource
    try:
        return baselines.serving_of(deployment, baseline.container, resource)
    except baselines.Refused:
        return None
