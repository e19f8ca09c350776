"""Last step, and the first question of every reconcile: is the run still the one that the inputs and the target ask
for?

Called by ``advance``. Also keeps the history of runs short.
"""

from dataclasses import replace

from rightsizer_operator.actions import Action, DeleteRun
from rightsizer_operator.manifests import baseline as baselines
from rightsizer_operator.phases import gate
from rightsizer_operator.phases.accept import Accepted
from rightsizer_operator.phases.gate import TargetState
from rightsizer_operator.resource import reasons
from rightsizer_operator.resource.run import Rollout
from rightsizer_operator.sizing import fingerprint
from rightsizer_operator.world import OptimizationRun, World


def outdated(world: World, run: OptimizationRun, accepted: Accepted) -> tuple[str, str] | None:
    """Why a run is no longer current: reason and sentence; None while it is.

    A roll-out under way is brought to an end first, whatever the spec says now; only new intent on the target stops it.
    """
    state = gate.target_state(run, accepted.target)
    if accepted.target["metadata"]["uid"] != run.spec.baseline.target_uid:
        return reasons.TARGET_CHANGED, "the target was deleted and made again"
    if not state.known:
        return reasons.TARGET_CHANGED, "the target was changed by somebody else: that is new intent"
    if under_way(run.status.rollout) and not _unwritten(run, state):
        return None
    if bool(run.spec.baseline.replicas_managed_by) != bool(world.scalers):
        now_by = world.scalers[0] if world.scalers else "nobody"
        return reasons.TARGET_CHANGED, f"the target's replicas are now scaled by {now_by}"
    if not rolled(run.status.rollout) and not state.serving_is_proposal and _template_changed(run, accepted):
        return reasons.TARGET_CHANGED, "the target's pod template was changed by somebody else"
    now = fingerprint.inputs_fingerprint(accepted.spec, run.spec.baseline, run.spec.accelerator_type)
    if now != run.spec.fingerprint and _drifted(run, accepted):
        return reasons.DEMAND_DRIFTED, _drift_words(run, accepted)
    if now != run.spec.fingerprint:
        return reasons.SUPERSEDED, "the inputs changed"
    return None


def _drifted(run: OptimizationRun, accepted: Accepted) -> bool:
    known, now = run.spec.peak, accepted.peak
    return known is not None and now is not None and known.rate_rps != now.rate_rps


def _drift_words(run: OptimizationRun, accepted: Accepted) -> str:
    known, now = run.spec.peak, accepted.peak
    assert known is not None
    assert now is not None
    return f"the peak demand is {now.rate_rps} requests/s now, the search was made for {known.rate_rps}"


def with_live_scaler(world: World, run: OptimizationRun) -> OptimizationRun:
    """The run as a roll-out under way has to see it: a scaler that came meanwhile owns the replicas from now on."""
    if not world.scalers or run.spec.baseline.replicas_managed_by or not under_way(run.status.rollout):
        return run
    baseline = run.spec.baseline.model_copy(update={"replicas_managed_by": world.scalers[0]})
    return replace(run, spec=run.spec.model_copy(update={"baseline": baseline}))


def under_way(rollout: Rollout | None) -> bool:
    """Whether the target is between two known states."""
    return rollout is not None and not rolled(rollout)


def rolled(rollout: Rollout | None) -> bool:
    """Whether a roll-out has come to an end."""
    return rollout is not None and rollout.step in ("Applied", "RolledBack")


def _unwritten(run: OptimizationRun, state: TargetState) -> bool:
    """Begun, but its first write does not stand, as where another manager keeps the fields: nothing is half-way."""
    rollout = run.status.rollout
    return rollout is not None and rollout.step in ("Template", "Replicas") and state.is_baseline and not state.applied


def surplus(world: World, current: str, applied: str) -> tuple[Action, ...]:
    """Deletions of the oldest runs beyond the limit; the current one, and the one the applied state rests on, stay."""
    kept = {current, applied}
    free = [(name, uid) for name, uid, _ in world.run_names if name not in kept]
    room_for = max(0, world.settings.runs_kept - len({name for name, _, _ in world.run_names} & kept))
    excess = len(free) - room_for
    return tuple(DeleteRun(name=name, uid=uid) for name, uid in free[: max(0, excess)])


def _template_changed(run: OptimizationRun, accepted: Accepted) -> bool:
    return baselines.template_hash(accepted.target) != run.spec.baseline.template_hash
