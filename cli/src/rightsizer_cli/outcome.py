"""Where a run stands, as one state and one sentence. Called by ``assemble``. Pure."""

from rightsizer_cli.result import Decision, Side, State
from rightsizer_operator.resource.run import RunStatus
from rightsizer_operator.resource.spec import InferenceDeploymentSpec

_ENDS: dict[str, State] = {
    "Complete": "NothingBetter",
    "Estimated": "Estimated",
    "Exhausted": "Exhausted",
    "Superseded": "Superseded",
    "Failed": "Failed",
}
"""State by the phase of a run that ended without a proposal that stands."""


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
    if status.proposal and status.phase != "Superseded":
        return "Proposed"
    return _ENDS.get(status.phase, "InProgress")


def _sentence(state: State, status: RunStatus, before: Side | None, after: Side | None) -> str:
    change = _change(before, after)
    endings = {
        "Proposed": f"{change}.",
        "Rewriting": f"{change}; the Deployment is being rewritten and verified.",
        "Applied": f"{change}; applied and verified on the new pods.",
        "RolledBack": f"{change}; put back to the baseline: {status.rollout.reason if status.rollout else ''}",
    }
    return endings.get(state) or status.activity or _WITHOUT_WORDS.get(state, "The run ended without a proposal.")


_WITHOUT_WORDS = {
    "InProgress": "The search has not finished.",
    "NothingBetter": "Nothing is cheaper inside the targets: the configuration stays as found.",
}


def _change(before: Side | None, after: Side | None) -> str:
    if after is None:
        return "A configuration was found"
    if before and before.gpus == after.gpus:
        return (
            f"{after.candidate} carries the demand inside every target on {after.gpus} accelerators, as many as before"
        )
    old = f"{before.gpus} → " if before else ""
    noun = "accelerator carries" if after.gpus == 1 and not before else "accelerators carry"
    return f"{old}{after.gpus} {noun} the demand inside every target"
