"""Fifth step: the approved proposal onto the target in two writes, each verified; back to the recorded baseline where
that fails.

Called by ``advance`` once a run has a proposal. Every step is stored before it acts and is safe to repeat: a restart
goes on from it.
A needed way back is taken even while paused, read-only or Off; nothing else is.
"""

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field

from rightsizer_operator.actions import Action, ApplyTarget, CreateJob, Manifest
from rightsizer_operator.manifests import labels, ownership, target
from rightsizer_operator.manifests.target import RolloutState
from rightsizer_operator.phases import allowance, gate, observe, verify
from rightsizer_operator.phases.gate import Hold, TargetState
from rightsizer_operator.phases.view import View
from rightsizer_operator.resource import reasons
from rightsizer_operator.resource.conditions import rfc3339
from rightsizer_operator.resource.run import Rollout, RunProposal, Step
from rightsizer_operator.sizing.verdicts import ORIGINAL

REASSERTS_AN_HOUR = 2
FORWARD: tuple[Step, ...] = ("Template", "VerifyTemplate", "Replicas", "VerifyReplicas")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """What this reconcile does about the rewrite, and what is said about it."""

    rollout: Rollout | None
    hold: Hold
    phase: str
    actions: tuple[Action, ...] = ()
    wake_after_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One look at a roll-out."""

    view: View
    proposal: RunProposal
    rollout: Rollout
    state: TargetState
    progress: RolloutState = field(repr=False)

    def at(self, step: Step, **changes: object) -> Rollout:
        """The roll-out at another step, from now on."""
        return self.rollout.model_copy(update={"step": step, "since": rfc3339(self.view.now), **changes})

    @property
    def overdue(self) -> bool:
        """Neither begun nor moved on for the deadline: large models replaced one by one take their time."""
        progressing = observe.condition(self.view.target, "Progressing") or {}
        known = (observe.moment(self.rollout.since), observe.moment(progressing.get("lastUpdateTime")))
        since = max((at for at in known if at is not None), default=self.view.now)
        return self.view.now > since + datetime.timedelta(seconds=self.view.world.settings.rollout_deadline_s)


def rewrite(view: View) -> Rewrite:
    """One step of the rewrite, or why there is none."""
    proposal = view.status.proposal
    assert proposal is not None
    state = gate.target_state(view.run, view.target)
    rollout = view.status.rollout
    if rollout is None:
        return _begin(view, proposal, state)
    progress = target.rollout_state(view.target, view.world.replica_sets, view.world.target_pods)
    now = Moment(view=view, proposal=proposal, rollout=rollout, state=state, progress=progress)
    if rollout.step in FORWARD:
        return _forward(now)
    return STEPS[rollout.step](now)


def _begin(view: View, proposal: RunProposal, state: TargetState) -> Rewrite:
    if state.applied:
        text = "the target runs the proposal, written by somebody else and not verified by Rightsizer"
        return Rewrite(rollout=None, hold=Hold("True", reasons.APPLIED, text), phase="Applied")
    hold = gate.permission(view, proposal) or gate.readiness(view, proposal)
    if hold is not None:
        return Rewrite(rollout=None, hold=hold, phase="ProposalReady", wake_after_s=hold.wake_after_s)
    first: Step = "Template" if proposal.serving != view.run.spec.baseline.serving else "Replicas"
    rollout = Rollout(proposal=proposal.hash, step=first, since=rfc3339(view.now))
    patch = _patch(view, proposal, first)
    return _writing(view, rollout, patch, f"the {first.lower()} is being written")


def _forward(now: Moment) -> Rewrite:
    """A step towards the proposal: first whether it has to turn back, then whether it may go on."""
    turn = _must_turn(now)
    if turn:
        return _go_back(now, turn)
    held = gate.permission(now.view, now.proposal)
    if held is not None and held.reason in (reasons.AWAITING_APPROVAL, reasons.APPROVAL_STALE):
        return _go_back(now, "the approval was withdrawn", verified=now.rollout.verified)
    if held is not None:
        return Rewrite(rollout=now.rollout, hold=held, phase="RollingOut", wake_after_s=30.0)
    return STEPS[now.rollout.step](now)


def _must_turn(now: Moment) -> str:
    """Why the roll-out failed; empty while it may succeed."""
    # Until its write stands nothing can be late: a pause or another manager may hold it up for hours.
    waited_for = {"Template": now.state.serving_is_proposal, "Replicas": now.state.applied}
    if now.state.serving_is_proposal and now.progress.failed:
        return f"the roll-out failed: {now.progress.message}"
    if waited_for.get(now.rollout.step) and now.overdue:
        seconds = now.view.world.settings.rollout_deadline_s
        return f"no new pod became ready within {seconds} s: {now.progress.message}"
    return ""


def _template(now: Moment) -> Rewrite:
    if not now.state.serving_is_proposal:
        return _write_again(now, "Template")
    if not now.progress.complete:
        return _waiting(now, reasons.ROLLING_OUT, f"new template: {now.progress.message}")
    return _next(now, "VerifyTemplate", "the new pods serve and are to be verified")


def _verify_template(now: Moment) -> Rewrite:
    return _verified(now, "template", "Replicas" if _writes_replicas(now) else "Applied")


def _replicas(now: Moment) -> Rewrite:
    if not now.state.applied:
        return _write_again(now, "Replicas")
    if not now.progress.complete:
        return _waiting(now, reasons.ROLLING_OUT, f"{now.proposal.replicas} replicas: {now.progress.message}")
    return _next(now, "VerifyReplicas", "the new size serves and is to be verified")


def _verify_replicas(now: Moment) -> Rewrite:
    return _verified(now, "replicas", "Applied")


def _verified(now: Moment, part: verify.Part, following: Step) -> Rewrite:
    """Pass goes on, fail goes back, no verdict holds and says so."""
    if not now.state.serving_is_proposal:
        return _write_again(now, "Template")
    found = verify.check(now.view, now.rollout, now.proposal, part, now.progress.new_pods)
    if found.result == "Fail":
        return _go_back(now, f"verification on the new pods failed: {found.reason}")
    if found.deserted and now.overdue:
        return _go_back(now, f"no new pod was ready to be verified: {now.progress.message}")
    if found.result == "Inconclusive":
        text = (
            f"{found.reason}; the new pods stay, nothing further is written. Withdraw the approval to put the baseline "
            "back; approve again to verify again."
        )
        rollout = now.rollout.model_copy(update={"verified": "Inconclusive", "reason": found.reason[:1024]})
        hold = Hold("Unknown", reasons.VERIFICATION_INCONCLUSIVE, text)
        return Rewrite(rollout=rollout, hold=hold, phase="Verifying", wake_after_s=120.0)
    if found.result == "Pass":
        replicas = now.state.replicas
        seen = verify.observed(now.view, now.proposal, found.record, replicas) if found.record else None
        return _next(now, following, found.reason, verified="Pass", reason=found.reason[:1024], observed=seen)
    actions: tuple[Action, ...] = (CreateJob(manifest=found.job),) if found.job else ()
    hold = Hold("Unknown", reasons.VERIFYING, found.reason)
    return Rewrite(rollout=now.rollout, hold=hold, phase="Verifying", actions=actions, wake_after_s=10.0)


def _applied(now: Moment) -> Rewrite:
    """Steady. Somebody who puts the baseline back is answered twice an hour at most."""
    if now.state.applied:
        text = f"proposal {now.proposal.hash} serves and is verified: {now.rollout.reason}"
        return Rewrite(rollout=now.rollout, hold=Hold("True", reasons.APPLIED, text), phase="Applied")
    if now.state.serving_is_proposal:
        # Whoever scales up again may have a reason that cannot wait for an argument.
        text = (
            f"proposal {now.proposal.hash} serves, but somebody set the replicas back to {now.state.replicas}; they "
            f"are left alone; scale the Deployment to {now.proposal.replicas} for the proposal's size"
        )
        return Rewrite(rollout=now.rollout, hold=Hold("False", reasons.REVERTED, text), phase="ProposalReady")
    held = gate.permission(now.view, now.proposal)
    if held is not None:
        text = f"the baseline was put back by somebody else; {held.message}"
        return _left(now, Hold("False", held.reason, text), "ProposalReady")
    return _write_again(now, "Template")


def _left(now: Moment, hold: Hold, phase: str) -> Rewrite:
    """The baseline's template stays as somebody put it; it must not be left with the smaller size of the proposal."""
    baseline = now.view.run.spec.baseline
    if now.state.replicas < baseline.replicas and not baseline.replicas_managed_by:
        return _writing(now.view, now.rollout, _restored(now.view), f"back to {baseline.replicas} replicas", back=True)
    return Rewrite(rollout=now.rollout, hold=hold, phase=phase, wake_after_s=600.0)


def _roll_back_replicas(now: Moment) -> Rewrite:
    """Capacity first: the old replica count, still with the new template."""
    baseline = now.view.run.spec.baseline
    if now.state.replicas < baseline.replicas and not baseline.replicas_managed_by:
        patch = _sized(now.view, now.proposal, baseline.replicas)
        return _writing(now.view, now.rollout, patch, f"back to {baseline.replicas} replicas", back=True)
    if now.progress.complete or now.progress.failed or now.overdue:
        return _next(now, "RollBackTemplate", "the old replica count serves")
    return _waiting(now, reasons.ROLLING_BACK, f"back to {baseline.replicas} replicas: {now.progress.message}")


def _roll_back_template(now: Moment) -> Rewrite:
    if not now.state.is_baseline:
        return _writing(now.view, now.rollout, _restored(now.view), "the baseline is being put back", back=True)
    if not now.progress.complete:
        return _waiting(now, reasons.ROLLING_BACK, f"the baseline is being put back: {now.progress.message}")
    if now.rollout.verified != "Fail":
        # Withdrawn, not failed: the proposal may be approved again.
        hold = Hold("False", reasons.NOT_APPLIED, f"the baseline serves again: {now.rollout.reason}")
        return Rewrite(rollout=None, hold=hold, phase="ProposalReady", wake_after_s=5.0)
    return _next(now, "RolledBack", now.rollout.reason)


def _rolled_back(now: Moment) -> Rewrite:
    text = f"{now.rollout.reason}; the recorded baseline serves again. Set a new spec.search.rerun to search again."
    return Rewrite(rollout=now.rollout, hold=Hold("False", reasons.ROLLED_BACK, text), phase="RolledBack")


STEPS: dict[Step, Callable[[Moment], Rewrite]] = {
    "Template": _template,
    "VerifyTemplate": _verify_template,
    "Replicas": _replicas,
    "VerifyReplicas": _verify_replicas,
    "Applied": _applied,
    "RollBackReplicas": _roll_back_replicas,
    "RollBackTemplate": _roll_back_template,
    "RolledBack": _rolled_back,
}
"""In order: forward, then the way back."""


def _go_back(now: Moment, why: str, verified: str = "Fail") -> Rewrite:
    """Replicas first; where they were not cut, the template at once."""
    baseline = now.view.run.spec.baseline
    cut = now.state.replicas < baseline.replicas and not baseline.replicas_managed_by
    step: Step = "RollBackReplicas" if cut else "RollBackTemplate"
    rollout = now.at(step, reason=why[:1024], verified=verified)
    moved = Moment(view=now.view, proposal=now.proposal, rollout=rollout, state=now.state, progress=now.progress)
    return STEPS[step](moved)


def _write_again(now: Moment, step: Step) -> Rewrite:
    """The write has not been made, or somebody undid it. The mark goes with a replaced manifest, the step does not."""
    made = now.rollout.step != "Template" or gate.mark(now.view.target) == now.proposal.hash
    undone = made and now.state.serving_is_baseline and not now.state.serving_is_proposal
    if not undone:
        since = now.rollout.model_copy(update={"since": rfc3339(now.view.now)})
        return _writing(now.view, since, _patch(now.view, now.proposal, step), f"the {step.lower()} is being written")
    recent = tuple(at for at in now.rollout.reasserted_at if _within_hour(at, now.view.now))
    if len(recent) >= REASSERTS_AN_HOUR or len(now.view.status.trials) >= allowance.MOST_RECORDS:
        text = (
            f"the baseline was put back {len(recent) + 1} times within an hour; Rightsizer does not fight. Release the "
            "fields in the source that writes them, or take the proposal's values over there."
        )
        return _left(now, Hold("False", reasons.REVERTED, text, conflict=True), "OwnershipConflict")
    ready = gate.readiness(now.view, now.proposal)
    if ready is not None:
        return Rewrite(rollout=now.rollout, hold=ready, phase="RollingOut", wake_after_s=30.0)
    rollout = now.at("Template", verified="", reasserted_at=(*recent, rfc3339(now.view.now)))
    return _writing(
        now.view,
        rollout,
        _patch(now.view, now.proposal, "Template"),
        "somebody put the baseline back; the proposal is written again",
    )


def _within_hour(at: str, now: datetime.datetime) -> bool:
    moment = observe.moment(at)
    return moment is not None and now - moment < datetime.timedelta(hours=1)


def _writes_replicas(now: Moment) -> bool:
    baseline = now.view.run.spec.baseline
    return not baseline.replicas_managed_by and now.state.replicas != now.proposal.replicas


def _patch(view: View, proposal: RunProposal, step: Step) -> Manifest:
    if step == "Template":
        baseline = view.run.spec.baseline
        patch = target.template_patch(view.target, baseline.container, proposal.serving, baseline, proposal.hash)
        return _remembering(view, patch)
    return _sized(view, proposal, proposal.replicas)


def _sized(view: View, proposal: RunProposal, replicas: int) -> Manifest:
    baseline = view.run.spec.baseline
    patch = target.replicas_patch(view.target, baseline.container, proposal.serving, replicas, baseline, proposal.hash)
    return _remembering(view, patch)


def _restored(view: View) -> Manifest:
    return _remembering(view, target.restore_patch(view.target, view.run.spec.baseline))


def _remembering(view: View, patch: Manifest) -> Manifest:
    """While the baseline is itself an earlier proposal, the annotation keeps what served before the first rewrite."""
    annotations = view.target["metadata"].get("annotations") or {}
    if view.standing(ORIGINAL) is None or labels.BASELINE not in annotations:
        return patch
    metadata = patch["metadata"]
    kept = {**metadata.get("annotations", {}), labels.BASELINE: annotations[labels.BASELINE]}
    return {**patch, "metadata": {**metadata, "annotations": kept}}


def _writing(view: View, rollout: Rollout, patch: Manifest, text: str, *, back: bool = False) -> Rewrite:
    """A write, forced only where the ownership check allows it; a conflict of its dry run is said instead.

    The way back is tried whatever has been withdrawn since: unforced it only touches what is ours or equal already.
    """
    phase = "RollingBack" if back else "RollingOut"
    owned = ownership.check(
        view.target,
        view.run.spec.baseline.container,
        replicas="replicas" in patch["spec"],
        take_ownership=view.accepted.spec.target_ref.take_ownership,
    )
    lost = ", ".join(view.world.conflicts)
    conflict = owned.message or lost if lost or not (owned.allowed or back) else ""
    if conflict:
        hold = Hold("False", reasons.OWNERSHIP_CONFLICT, conflict, conflict=True)
        stays = view.status.rollout
        return Rewrite(rollout=stays, hold=hold, phase="OwnershipConflict", wake_after_s=60.0)
    action = ApplyTarget(
        name=view.target["metadata"]["name"], uid=view.target["metadata"]["uid"], patch=patch, force=owned.force
    )
    reason = reasons.ROLLING_BACK if back else reasons.ROLLING_OUT
    hold = Hold("False" if back else "Unknown", reason, text)
    return Rewrite(rollout=rollout, hold=hold, phase=phase, actions=(action,), wake_after_s=3.0)


def _waiting(now: Moment, reason: str, text: str) -> Rewrite:
    back = reason == reasons.ROLLING_BACK
    hold = Hold("False" if back else "Unknown", reason, text)
    phase = "RollingBack" if back else "RollingOut"
    return Rewrite(rollout=now.rollout, hold=hold, phase=phase, wake_after_s=10.0)


def _next(now: Moment, step: Step, text: str, **changes: object) -> Rewrite:
    """The next step is stored first; its own work is done at the next look."""
    reason = reasons.ROLLING_BACK if step in ("RollBackTemplate", "RolledBack") else reasons.ROLLING_OUT
    hold = Hold("False" if reason == reasons.ROLLING_BACK else "Unknown", reason, text)
    return Rewrite(rollout=now.at(step, **changes), hold=hold, phase="RollingOut", wake_after_s=0.5)
