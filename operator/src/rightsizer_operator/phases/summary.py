"""What is said: conditions, activity, figures of both kinds, and the Events of transitions. Called by ``advance`` at
the end of every step.

Nothing here counts seconds: while nothing happens the same status is written, that is, none.
"""

from dataclasses import dataclass, field
from typing import Literal

from rightsizer_operator.actions import Action, EmitEvent
from rightsizer_operator.phases import demand, gate
from rightsizer_operator.phases.accept import Accepted
from rightsizer_operator.phases.allowance import settled
from rightsizer_operator.phases.choose import proof_of
from rightsizer_operator.phases.gate import Hold, TargetState
from rightsizer_operator.phases.view import View
from rightsizer_operator.resource import reasons
from rightsizer_operator.resource.base import number, quantity
from rightsizer_operator.resource.conditions import Condition, ConditionType, find, merged
from rightsizer_operator.resource.run import CandidateStatus, RunStatus, TrialRecord
from rightsizer_operator.resource.status import Configuration, Demand, InferenceDeploymentStatus, Proposal, RunRef
from rightsizer_operator.sizing import budget, cost, figures, verdicts
from rightsizer_operator.sizing.verdicts import Standing
from rightsizer_operator.world import Step, World

Truth = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one reconcile wants said."""

    phase: str
    activity: str
    conditions: tuple[Condition, ...]
    current: Configuration | None = None
    proposal: Proposal | None = None
    demand: Demand | None = None
    run: str = ""
    applied_run: str = ""
    actions: tuple[Action, ...] = ()
    run_status: RunStatus | None = field(default=None, repr=False)
    wake_after_s: float = 300.0


def step(world: World, told: Told) -> Step:
    """The Step, with Events for whatever changed."""
    conditions = tuple(
        one.model_copy(update={"observed_generation": world.infdep.generation, "message": one.message[:2048]})
        for one in told.conditions
    )
    status = InferenceDeploymentStatus(
        observed_generation=world.infdep.generation,
        phase=told.phase,
        activity=told.activity[:1024],
        conditions=merged(world.infdep.status.conditions, conditions, world.now),
        demand=told.demand,
        peak=demand.known(world),
        current=told.current,
        proposal=told.proposal,
        run_ref=RunRef(name=told.run) if told.run else None,
        applied_run_ref=RunRef(name=told.applied_run) if told.applied_run else None,
    )
    events = (*transitions(world.infdep.status.conditions, status.conditions), *_finished(world, told.run_status))
    return Step(
        status=status,
        run_status=told.run_status,
        actions=(*told.actions, *events),
        wake_after_s=told.wake_after_s,
    )


def condition(type_: ConditionType, status: Truth, reason: str, message: str = "") -> Condition:
    return Condition(type=type_, status=status, reason=reason, message=message)


def accepted_conditions(world: World, accepted: Accepted) -> tuple[Condition, ...]:
    """Ready, Stalled and Paused of a resource that can be worked on; notes stand in Ready's message."""
    notes = accepted.notes
    baseline = accepted.baseline
    text = (
        f"{baseline.replicas} replicas of {baseline.engine} with {baseline.serving.accelerators} "
        f"{accepted.spec.accelerator.resource} each were accepted as the target"
    )
    read = [demand.words(accepted.peak)] if accepted.peak is not None else []
    message = ". ".join([text, *read, *(note.message for note in notes)])
    return (
        condition("Ready", "True", reasons.ACCEPTED, message),
        condition("Stalled", "False", reasons.NOT_STALLED),
        paused_condition(world, accepted.spec.paused),
    )


def note_events(world: World, accepted: Accepted) -> tuple[EmitEvent, ...]:
    """A warning for each note that Ready's message did not hold before."""
    before = find(world.infdep.status.conditions, "Ready")
    said = before.message if before is not None else ""
    return tuple(
        EmitEvent(type="Warning", reason=note.reason, message=note.message[:1000])
        for note in accepted.notes if note.message not in said
    )  # fmt: skip


def paused_condition(world: World, paused: bool) -> Condition:
    if paused:
        return condition("Paused", "True", reasons.PAUSED, "spec.paused is true: no new Job, no new write")
    if world.settings.read_only:
        return condition("Paused", "True", reasons.READ_ONLY, "the operator runs read-only: targets are not written")
    return condition("Paused", "False", reasons.NOT_PAUSED)


def reconciling(active: bool, message: str) -> Condition:
    if active:
        return condition("Reconciling", "True", reasons.RECONCILING, message)
    return condition("Reconciling", "False", reasons.SETTLED)


def applied_conditions(hold: Hold) -> tuple[Condition, ...]:
    """Applied and OwnershipConflict."""
    conflict = (
        condition("OwnershipConflict", "True", hold.reason, hold.message)
        if hold.conflict
        else condition("OwnershipConflict", "False", reasons.NO_CONFLICT)
    )
    return condition("Applied", hold.status, hold.reason, hold.message), conflict


def slo_condition(view: View) -> Condition:
    """From the pods that serve where they were verified, else from the measured baseline at its size."""
    rollout = view.status.rollout
    if rollout is not None and rollout.step == "Applied" and rollout.verified == "Pass" and _live(view).applied:
        seen = rollout.observed.evidence if rollout.observed is not None and rollout.observed.evidence else "Observed"
        return condition("SLOMet", "True", reasons.MET, f"{seen.lower()} on the new pods: {rollout.reason}")
    standing, baseline = view.as_is, view.run.spec.baseline
    if standing.report is None or standing.outcome not in ("Succeeded", "MissedSLO"):
        return condition("SLOMet", "Unknown", reasons.NOT_MEASURED, "nothing has been measured yet")
    if not view.basis.workload.known:
        return condition("SLOMet", "Unknown", reasons.NOT_MEASURED, "the demand is not known")
    carried = standing.rate_rps * baseline.replicas
    demand = view.basis.demand_rps
    text = (
        f"the baseline's {baseline.replicas} replicas carry {carried:.3g} requests/s within the limits, "
        f"the demand is {demand:g} ({figures.evidence_of(standing.report).lower()})"
    )
    if carried >= demand:
        return condition("SLOMet", "True", reasons.MET, text)
    return condition("SLOMet", "False", reasons.MISSED, text)


def current(view: View) -> Configuration:
    """What serves now: the applied proposal, else the baseline at its size, with what was measured of it."""
    rollout, proposal, live = view.status.rollout, view.status.proposal, _live(view)
    moving = rollout is not None and rollout.step != "Applied"
    if moving or proposal is None or not live.serving_is_proposal:
        return baseline_configuration(view)
    if rollout is not None and rollout.observed is not None and rollout.observed.replicas == live.replicas:
        return rollout.observed
    standing = view.standing(proposal.candidate)
    if standing is None:
        return baseline_configuration(view)
    return figures.configuration(standing, view.basis, engine="", replicas=live.replicas)


def _live(view: View) -> TargetState:
    return gate.target_state(view.run, view.target)


def baseline_configuration(view: View) -> Configuration:
    baseline = view.run.spec.baseline
    return figures.configuration(view.as_is, view.basis, engine=baseline.engine, replicas=baseline.replicas)


def proposal(view: View) -> Proposal | None:
    """The proposal for people: before and after."""
    decided = view.status.proposal
    standing = view.standing(decided.candidate) if decided else None
    if decided is None or standing is None:
        return None
    before = baseline_configuration(view)
    after = figures.configuration(standing, view.basis, engine="", replicas=decided.replicas)
    costs = (before.cost_per_million_tokens, after.cost_per_million_tokens)
    scaled = bool(view.run.spec.baseline.replicas_managed_by)
    return Proposal(
        hash=decided.hash,
        candidate=decided.candidate,
        gpus=f"{before.gpus} -> {after.gpus}",
        cost_per_million_tokens=f"{costs[0]} -> {costs[1]}" if all(costs) else "",
        configuration=after,
        quality_drop_points=_drop(standing),
        sizing="" if scaled else figures.size_words(view.basis.required, standing.rate_rps, decided.replicas),
    )


def run_figures(view: View, status: RunStatus, decided_gpus: int | None, *, keep: bool = False) -> RunStatus:
    """Everything of a run's status that is computed from its trials; ``keep``: its candidates were estimated."""
    answers = view.as_is.report.answers if view.as_is.report else None
    digest = answers.sha256 if answers else ""
    running = _running(view)
    spent = view.spent
    price = view.basis.gpu_hourly
    money = None if price is None else spent.gpu_seconds / 3600 * number(price)
    now = baseline_configuration(view)
    return status.model_copy(
        update={
            "started_at": view.run.created,
            "candidates": status.candidates
            if keep
            else tuple(_entry(view, one, digest, running) for one in settled(view)),
            "artefacts": tuple(
                one.model_copy(update={"state": "Running"}) if one.name in running and one.state == "Pending" else one
                for one in view.artefacts
            ),
            "trials_used": spent.trials,
            "gpu_seconds": spent.gpu_seconds,
            "money": figures.amount(money, 4),
            "remaining": budget.remaining(
                view.accepted.spec.search.budget,
                budget.spent(budget.searching(status.trials)),
                view.started,
                price,
            ),
            "payback_hours": _payback(view, money),
            "current": now,
            "proof": proof_of(view, decided_gpus) if decided_gpus is not None else (),
        }
    )


def transitions(before: tuple[Condition, ...], after: tuple[Condition, ...]) -> tuple[EmitEvent, ...]:
    """One Event for each reason that came up and is worth telling."""
    events: dict[str, EmitEvent] = {}
    for type_, bad in _TOLD:
        old, new = find(before, type_), find(after, type_)
        if new is None or (old is not None and (old.status, old.reason) == (new.status, new.reason)):
            continue
        if new.reason in _SILENT:
            continue
        kind: Literal["Normal", "Warning"] = "Warning" if new.status == bad or new.reason in _BAD else "Normal"
        events.setdefault(new.reason, EmitEvent(type=kind, reason=new.reason, message=new.message[:1000] or new.reason))
    return tuple(events.values())


_TOLD: tuple[tuple[ConditionType, Truth], ...] = (
    ("Stalled", "True"),
    ("Optimized", "False"),
    ("Applied", "Unknown"),
    ("OwnershipConflict", "True"),
    ("Paused", "Unknown"),
)
"""Conditions whose changes are told as Events, and the status that makes them a warning."""
_SILENT = (
    reasons.NOT_STALLED, reasons.NO_CONFLICT, reasons.NOT_PAUSED, reasons.NOT_APPLIED, reasons.AWAITING_APPROVAL,
    reasons.PLANNING,
    reasons.APPROVED, reasons.MODE_OFF,
)  # fmt: skip
_BAD = (
    reasons.ROLLED_BACK,
    reasons.ROLLING_BACK,
    reasons.REVERTED,
    reasons.ACCELERATORS_UNAVAILABLE,
    reasons.NO_SPARE_ACCELERATORS,
)


def _finished(world: World, status: RunStatus | None) -> tuple[EmitEvent, ...]:
    """One Event for each Job whose result was recorded in this step."""
    if status is None or world.run is None:
        return ()
    known = {record.job for record in world.run.status.trials}
    return tuple(_finished_event(record) for record in status.trials if record.job not in known)


def _finished_event(record: TrialRecord) -> EmitEvent:
    text = f"{record.purpose.lower()} {record.subject}, attempt {record.attempt}: {record.outcome}"
    message = f"{text}: {record.reason}" if record.reason else text
    if record.outcome in verdicts.NO_EVIDENCE:
        return EmitEvent(type="Warning", reason=reasons.TRIAL_VOID, message=message[:1000])
    if record.outcome == "Succeeded":
        return EmitEvent(type="Normal", reason=reasons.TRIAL_SUCCEEDED, message=message[:1000])
    if record.purpose != "Compress":
        return EmitEvent(type="Normal", reason=reasons.TRIAL_FAILED, message=message[:1000])
    reason = reasons.VOLUME_FULL if record.outcome == "VolumeFull" else reasons.COMPRESSION_FAILED
    return EmitEvent(type="Warning", reason=reason, message=message[:1000])


def _running(view: View) -> set[str]:
    return {str(job["metadata"].get("labels", {}).get("rightsizer.dev/subject", "")) for job in view.world.jobs}


def _entry(view: View, standing: Standing, digest: str, running: set[str]) -> CandidateStatus:
    sentence = figures.verdict_sentence(standing, view.basis)
    if sentence and standing.feasible and view.status.finished_at:
        sentence = f"{_place(view, standing)}{sentence}"
    entry = figures.candidate_status(standing, view.basis, set_sha256=digest, verdict=sentence)
    if standing.outcome == "Pending" and standing.candidate.id in running:
        return entry.model_copy(update={"outcome": "Running"})
    return entry


def _place(view: View, standing: Standing) -> str:
    """Won, or lost to whom, once the decision has fallen."""
    decided = view.status.proposal
    winner = decided.candidate if decided else (view.plans[0].candidate_id if view.plans else "")
    if winner == standing.candidate.id:
        return "won: " if decided else "stays: "
    return f"lost to {winner}: " if winner else ""


def _payback(view: View, money: float | None) -> str | None:
    decided = view.status.proposal
    if decided is None:
        return None
    baseline = view.run.spec.baseline
    before = cost.per_hour(baseline.replicas * baseline.serving.accelerators, view.basis.gpu_hourly)
    hours = cost.payback_hours(money, before, cost.per_hour(decided.gpus, view.basis.gpu_hourly))
    return None if hours is None else quantity(hours, 2)


def _drop(standing: Standing) -> str:
    verdict = standing.quality
    if verdict is None:
        return "0 (same weights, image and KV type)"
    return f"{verdict.drop_points:.2f} ({verdict.lower_points:.2f} to {verdict.upper_points:.2f})"
