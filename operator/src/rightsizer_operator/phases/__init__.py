"""One reconcile as a pure function: ``advance(world) -> Step``. Called by ``reconcile``; reads no clock and does no
I/O.

Order: accept -> plan -> measure -> choose -> rewrite, with watch deciding whether the run still fits; a run of strategy
Rapid ends after plan, in rapid. Each file holds one step.
Level-triggered: the same world gives the same Step, whatever happened before.
"""

from dataclasses import replace

from rightsizer_operator.actions import Action, CreateJob
from rightsizer_operator.manifests import labels
from rightsizer_operator.phases import (
    accept,
    choose,
    forecast,
    gate,
    learning,
    measure,
    plan,
    rapid,
    rewrite,
    summary,
    watch,
)
from rightsizer_operator.phases.accept import Accepted, Problem
from rightsizer_operator.phases.gate import Hold
from rightsizer_operator.phases.moves import Conclude, Propose, Start, Wait
from rightsizer_operator.phases.summary import Told, condition
from rightsizer_operator.phases.view import View, view_of
from rightsizer_operator.resource import reasons
from rightsizer_operator.resource.conditions import Condition, rfc3339
from rightsizer_operator.resource.run import RunStatus
from rightsizer_operator.sizing import figures
from rightsizer_operator.world import OptimizationRun, Step, World

SEARCH_PHASES = ("Compressing", "Measuring", "Certifying")
NOT_APPLIED = Hold("False", reasons.NOT_APPLIED, "")


def advance(world: World) -> Step:
    """What to store, do and say after one look at the world."""
    run = world.run
    outcome = accept.accept(world)
    if isinstance(outcome, Problem):
        outcome = accept.while_rewriting(world, outcome) or outcome
    if isinstance(outcome, Problem):
        return _refused(world, outcome)
    if run is not None:
        run = watch.with_live_scaler(world, run)
        why = watch.outdated(world, run, outcome)
        if why is None:
            return _current(world, outcome, run)
        if measure.busy(world) or run.status.phase != "Superseded":
            return _supersede(world, outcome, run, *why)
    return _plan(world, outcome)


def _refused(world: World, problem: Problem) -> Step:
    """Nothing is started; what runs is harvested, so that its result is not lost."""
    run, old = world.run, world.infdep.status
    paused = world.infdep.spec.paused if world.infdep.spec else False
    conditions = (
        condition("Ready", "False", problem.reason, problem.message),
        condition("Stalled", "True", problem.reason, problem.message),
        summary.reconciling(False, ""),
        condition("Optimized", "Unknown", problem.reason, problem.message),
        condition("ProposalReady", "False", problem.reason, problem.message),
        condition("Applied", "Unknown", problem.reason, problem.message),
        condition("SLOMet", "Unknown", problem.reason, problem.message),
        summary.paused_condition(world, paused),
    )
    told = Told(
        phase="Stalled",
        activity=problem.message,
        conditions=conditions,
        demand=old.demand,
        current=old.current,
        proposal=old.proposal,
        run=old.run_ref.name if old.run_ref else "",
        applied_run=old.applied_run_ref.name if old.applied_run_ref else "",
        actions=measure.tidy(world, run) if run else (),
        run_status=measure.harvest(world, run) if run else None,
        wake_after_s=60.0,
    )
    return summary.step(world, told)


def _plan(world: World, accepted: Accepted) -> Step:
    """A run for these inputs: made, or found again where it was made before."""
    create = plan.create_run(world.infdep, accepted, world.settings, world.run)
    name = create.manifest["metadata"]["name"]
    exists = any(known == name for known, _, _ in world.run_names)
    actions: tuple[Action, ...] = () if exists else (create,)
    count = sum(1 for one in create.manifest["spec"]["candidates"] if not one.get("excluded"))
    text = f"the search is being planned: {count} candidates may be tried"
    if accepted.spec.paused:
        old = world.infdep.status.run_ref
        actions, text, name = (), "paused: no search is started", old.name if old else ""
    conditions = (
        *summary.accepted_conditions(world, accepted),
        summary.reconciling(not accepted.spec.paused, text),
        condition("Optimized", "Unknown", reasons.PLANNING, text),
        condition("ProposalReady", "False", reasons.NO_PROPOSAL, "no search has finished yet"),
        condition("SLOMet", "Unknown", reasons.NOT_MEASURED, "nothing has been measured yet"),
        *summary.applied_conditions(NOT_APPLIED),
    )
    told = Told(
        phase="Paused" if accepted.spec.paused else "Planning",
        activity=text,
        conditions=conditions,
        run=name,
        applied_run=_applied_run(world),
        actions=(*actions, *summary.note_events(world, accepted)),
        wake_after_s=300.0 if accepted.spec.paused else 0.5,
    )
    return summary.step(world, told)


def _supersede(world: World, accepted: Accepted, run: OptimizationRun, reason: str, why: str) -> Step:
    """The old run's Jobs end before a new run starts."""
    status = measure.harvest(world, run)
    text = f"run {run.name} is superseded: {why}; its Jobs end before a new search starts"
    finished = status.finished_at or rfc3339(world.now)
    # A roll-out that was not brought to an end is void with its run: should the run come back, it starts anew.
    rollout = status.rollout if watch.rolled(status.rollout) else None
    status = status.model_copy(
        update={"phase": "Superseded", "activity": text, "finished_at": finished, "rollout": rollout}
    )
    conditions = (
        *summary.accepted_conditions(world, accepted),
        summary.reconciling(True, text),
        condition("Optimized", "Unknown", reason, text),
        condition("ProposalReady", "False", reason, "the proposal of the superseded run is void"),
        *summary.applied_conditions(NOT_APPLIED),
    )
    told = Told(
        phase="Superseded",
        activity=text,
        conditions=conditions,
        run=run.name,
        applied_run=_applied_run(world),
        actions=(*measure.stop_all(world), *summary.note_events(world, accepted)),
        run_status=status,
        wake_after_s=2.0,
    )
    return summary.step(world, told)


def _current(world: World, accepted: Accepted, run: OptimizationRun) -> Step:
    """The run goes on: its search, or the rewrite to its proposal; a run of strategy Rapid is estimated and ends."""
    if run.spec.accepted.search.strategy == "Rapid":
        return _estimated(view_of(world, accepted, run, run.status))
    harvested = measure.harvest(world, run)
    taught = learning.taught(run, harvested, world.settings)
    view = view_of(world, accepted, run, harvested.model_copy(update={"efficiencies": taught}))
    if not view.status.order and view.as_is.outcome != "Pending":
        order, found = forecast.forecasts(view)
        view = view_of(world, accepted, run, view.status.model_copy(update={"order": order, "forecast": found}))
    derived = measure.derived(view)
    if derived != view.status.derived:
        view = view_of(world, accepted, run, view.status.model_copy(update={"derived": derived}))
    if view.status.proposal is not None:
        return _rewrite(view)
    return _search(view)


def _estimated(view: View) -> Step:
    found = rapid.estimated(view)
    conditions = (
        condition("Optimized", "Unknown", found.reason, f"{found.text}. {rapid.ONLY}"),
        condition("ProposalReady", "False", reasons.ESTIMATES_ONLY, rapid.ONLY),
        *summary.applied_conditions(NOT_APPLIED),
    )
    return _told(view, found.status, rapid.PHASE, f"{found.text}. {rapid.ONLY}", conditions, (), 300.0)


def _search(view: View) -> Step:
    if measure.busy(view.world):
        phase, text = measure.activity(view)
        reason = {"Compressing": reasons.COMPRESSING, "Certifying": reasons.CERTIFYING}.get(phase, reasons.MEASURING)
        reason = reasons.ACCELERATORS_UNAVAILABLE if measure.starved(view) else reason
        return _searching(view, Wait(phase=phase, reason=reason, activity=text, wake_after_s=15.0))
    move = measure.next_trial(view) or choose.next_choice(view)
    if isinstance(move, Propose):
        return _proposed(view, move)
    if isinstance(move, Conclude):
        return _concluded(view, move)
    if view.stopped:
        return _searching(
            view, Wait(phase=move.phase, reason=reasons.PAUSED, activity="paused: no further Job is started")
        )
    return _searching(view, move)


def _searching(view: View, move: Start | Wait) -> Step:
    start = isinstance(move, Start)
    actions: tuple[Action, ...] = (CreateJob(manifest=move.job),) if isinstance(move, Start) else ()
    status = view.status.model_copy(update={"phase": move.phase, "activity": move.activity[:1024], "finished_at": ""})
    wake = _after_tidy(view, 5.0 if start else move.wake_after_s if isinstance(move, Wait) else 5.0)
    optimized = condition("Optimized", "Unknown", move.reason, move.activity)
    none_yet = condition("ProposalReady", "False", reasons.NO_PROPOSAL, "the search goes on")
    return _told(
        view,
        status,
        move.phase,
        move.activity,
        (optimized, none_yet, *summary.applied_conditions(NOT_APPLIED)),
        actions,
        wake,
    )


def _proposed(view: View, move: Propose) -> Step:
    """The decision is stored; the rewrite starts at the next look."""
    decided = choose.proposal(view, move.plan)
    status = view.status.model_copy(
        update={"proposal": decided, "finished_at": rfc3339(view.now), "phase": "Proposed", "rollout": None}
    )
    return _rewrite(replace(view, status=status), decided_now=True)


def _concluded(view: View, move: Conclude) -> Step:
    finished = view.status.finished_at or rfc3339(view.now)
    status = view.status.model_copy(
        update={"phase": move.phase, "activity": move.message[:1024], "finished_at": finished}
    )
    view = replace(view, status=status)
    optimized = condition("Optimized", "True" if move.good else "False", move.reason, move.message)
    none = condition("ProposalReady", "False", move.reason, move.message)
    conditions = (optimized, none, *summary.applied_conditions(NOT_APPLIED))
    return _told(view, status, move.phase, move.message, conditions, (), 300.0, _found_gpus(view))


def _rewrite(view: View, *, decided_now: bool = False) -> Step:
    decided = view.status.proposal
    assert decided is not None
    conditions: list[Condition] = []
    if decided_now:
        hold = gate.permission(view, decided) or NOT_APPLIED
        found = rewrite.Rewrite(rollout=None, hold=hold, phase="ProposalReady", wake_after_s=0.5)
    else:
        found = rewrite.rewrite(view)
    text = _proposal_words(view)
    conditions.append(condition("Optimized", "True", reasons.PROPOSAL_READY, text))
    conditions.append(condition("ProposalReady", "True", reasons.PROPOSAL_READY, text))
    conditions.extend(summary.applied_conditions(found.hold))
    activity = text if decided_now else found.hold.message or text
    status = view.status.model_copy(update={"phase": "Proposed", "activity": activity[:1024], "rollout": found.rollout})
    view = replace(view, status=status)
    wake = _after_tidy(view, found.wake_after_s)
    return _told(view, status, found.phase, activity, tuple(conditions), found.actions, wake, decided.gpus)


def _told(
    view: View,
    status: RunStatus,
    phase: str,
    activity: str,
    conditions: tuple[Condition, ...],
    actions: tuple[Action, ...],
    wake_after_s: float,
    decided_gpus: int | None = None,
) -> Step:
    """The end of every step of a current run: figures, conditions, housekeeping."""
    applied = view.run.name if _serves_proposal(view) else _applied_run(view.world)
    rewriting = watch.under_way(status.rollout)
    everything = (
        *summary.accepted_conditions(view.world, view.accepted),
        summary.reconciling(rewriting, activity),
        summary.slo_condition(view),
        *conditions,
    )
    status = summary.run_figures(view, status, decided_gpus, keep=status.phase == rapid.PHASE)
    told = Told(
        phase="Paused" if view.stopped and phase in SEARCH_PHASES else phase,
        activity=activity,
        conditions=everything,
        demand=figures.demand(view.basis.workload),
        current=summary.current(view),
        proposal=summary.proposal(view),
        run=view.run.name,
        applied_run=applied,
        actions=(
            *measure.tidy(view.world, view.run),
            *actions,
            *watch.surplus(view.world, view.run.name, applied),
            *summary.note_events(view.world, view.accepted),
        ),
        run_status=status,
        wake_after_s=wake_after_s,
    )
    return summary.step(view.world, told)


def _after_tidy(view: View, wake_after_s: float) -> float:
    """Soon again where a result has just been recorded or a Job deleted: the next step waits for it."""
    stored = {record.job for record in view.status.trials}
    done = any(job["metadata"]["name"] in stored for job in view.world.jobs)
    return min(wake_after_s, 1.0) if done else wake_after_s


def _serves_proposal(view: View) -> bool:
    rollout = view.status.rollout
    return rollout is not None and rollout.step == "Applied"


def _applied_run(world: World) -> str:
    old = world.infdep.status.applied_run_ref
    annotations = (world.target or {}).get("metadata", {}).get("annotations") or {}
    if old is None or labels.BASELINE not in annotations:
        return ""
    return old.name


def _found_gpus(view: View) -> int | None:
    return view.plans[0].gpus if view.plans else None


def _proposal_words(view: View) -> str:
    told = summary.proposal(view)
    if told is None:
        return ""
    cost = (
        f", {view.accepted.spec.cost.currency} {told.cost_per_million_tokens} per million output tokens"
        if told.cost_per_million_tokens
        else ""
    )
    return (
        f"{told.candidate}: {told.gpus} accelerators{f' ({told.sizing})' if told.sizing else ''}{cost}, "
        f"quality drop {told.quality_drop_points} points; proposal {told.hash}"
    )
