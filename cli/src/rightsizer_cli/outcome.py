"""Where a run stands, as one state and one sentence. Called by ``assemble``. Pure."""

from rightsizer_cli.result import Decision, Side, State
from rightsizer_operator.resource.run import RunStatus
from rightsizer_operator.resource.spec import InferenceDeploymentSpec

_DONE = ("Exhausted", "Superseded", "Failed")


def decided(spec: InferenceDeploymentSpec, status: RunStatus, before: Side | None, after: Side | None) -> Decision:
    """The decision of the run, and how far it got on the target."""
    state = state_of(status)
    proposal = status.proposal
    policy = spec.update_policy
    return Decision(
        state=state,
        sentence=_sentence(state, status, before, after),
        mode=policy.mode,
        candidate=proposal.candidate if proposal else "",
        hash=proposal.hash if proposal else "",
        approved=proposal is not None and (policy.mode == "Auto" or policy.approved_proposal == proposal.hash),
        verified=status.rollout.verified if status.rollout else "",
    )


def state_of(status: RunStatus) -> State:
    """One word for run and rewrite together."""
    if status.rollout:
        step = status.rollout.step
        if step == "Applied":
            return "Applied"
        return "RolledBack" if step.startswith(("RollBack", "RolledBack")) else "Rewriting"
    if status.proposal:
        return "Proposed"
    if status.phase == "Failed":
        return "Failed"
    return "NothingBetter" if status.phase in _DONE or status.finished_at else "InProgress"


def _sentence(state: State, status: RunStatus, before: Side | None, after: Side | None) -> str:
    if state == "InProgress":
        return status.activity or "The search has not finished."
    if state in ("NothingBetter", "Failed"):
        return status.activity or "No candidate is cheaper inside the targets: the configuration stays as found."
    change = _change(before, after)
    endings = {
        "Proposed": f"{change}.",
        "Rewriting": f"{change}; the Deployment is being rewritten and verified.",
        "Applied": f"{change}; applied and verified on the new pods.",
        "RolledBack": f"{change}; put back to the baseline: {status.rollout.reason if status.rollout else ''}",
    }
    return endings[state]


def _change(before: Side | None, after: Side | None) -> str:
    if after is None:
        return "A configuration was found"
    old = f"{before.gpus} → " if before else ""
    noun = "accelerator" if after.gpus == 1 and not before else "accelerators"
    return f"{old}{after.gpus} {noun} carry the demand inside every target"
