"""Fourth step: the winner. The best candidate is certified on a fresh start; a miss steps its rate down, then the
next best is tried.

Called by ``advance`` when nothing is left to be explored. Only a certified candidate is proposed.
"""

from collections.abc import Sequence

from rightsizer_operator.phases import allowance, assignments, measure
from rightsizer_operator.phases.moves import Conclude, Move, Propose, Start
from rightsizer_operator.phases.view import View
from rightsizer_operator.resource import reasons
from rightsizer_operator.resource.run import Alternative, RunProposal
from rightsizer_operator.sizing import figures, fingerprint, gpus, proof
from rightsizer_operator.sizing.ranking import Plan
from rightsizer_operator.sizing.verdicts import Standing


def next_choice(view: View) -> Move:
    """Certify, propose, or end without a proposal."""
    if not view.plans:
        return _nothing_feasible(view)
    best = view.plans[0]
    if not view.changes(best):
        if left := [one for one in view.queue if view.to_explore(one)]:
            return _untried(view, f"{_stays(view, best)}, but", left)
        owned = view.run.spec.baseline.replicas_managed_by
        text = _stays(view, best) + ("" if owned else ", and no candidate needs fewer")
        return Conclude(phase="Complete", reason=reasons.NOTHING_BETTER, message=text, good=True)
    if best.standing.certified:
        return Propose(best)
    refused = allowance.refusal(view, best.standing, exploring=False, reserve=False)
    if refused:
        return _best_certified(view, refused)
    waiting = measure.without_room(
        view, best.standing.gpus_per_replica, "Certifying", f"certifying {best.candidate_id}"
    )
    return waiting or _certify(view, best)


def proposal(view: View, plan: Plan) -> RunProposal:
    """The decision, with its identity."""
    serving = plan.standing.candidate.serving
    assert serving is not None
    return RunProposal(
        hash=fingerprint.proposal_hash(view.run.spec.fingerprint, plan.candidate_id, serving, plan.replicas),
        candidate=plan.candidate_id,
        replicas=plan.replicas,
        gpus=plan.gpus,
        serving=serving,
        certified_rps=gpus.written(plan.standing.rate_rps),
    )


def proof_of(view: View, accelerators: int) -> tuple[Alternative, ...]:
    """What rules out every plan with fewer accelerators."""
    return proof.proof(
        allowance.settled(view),
        proof.Claim(
            required=view.basis.required,
            gpus=accelerators,
            slo=view.basis.slo,
            per_replica=view.run.spec.baseline.serving.accelerators,
            allowed=_allowed(view),
        ),
    )


def _allowed(view: View) -> str:
    """What the search was allowed to try, as the fields that say so."""
    search = view.run.spec.accepted.search
    return (
        f"engines {', '.join(search.engines)}; precisions {', '.join(search.precisions)}; KV cache "
        f"{', '.join(search.kv_cache)}; at most {figures.counted(search.max_gpus_per_replica, 'accelerator')} a replica"
    )


def _certify(view: View, plan: Plan) -> Start:
    standing = plan.standing
    assert standing.candidate.serving is not None
    share = view.share_of_demand(plan.replicas)
    apart = share is not None and abs(share / standing.rate_rps - 1) > figures.NEAR
    assignment = assignments.certify(
        view.run,
        standing.candidate,
        standing.certify_attempts + 1,
        standing.rate_rps,
        demand_share_rps=share if apart else None,
    )
    return Start(
        job=measure.trial_manifest(view, standing.candidate.serving, assignment),
        phase="Certifying",
        reason=reasons.CERTIFYING,
        activity=f"{measure.certify_words(view, plan.candidate_id, standing.rate_rps)}; its Job is being started",
    )


def _best_certified(view: View, refused: str) -> Move:
    """The budget ended before the best could be certified: the best that was, if it saves anything."""
    baseline = view.run.spec.baseline
    found = baseline.replicas * baseline.serving.accelerators
    for plan in view.plans:
        if plan.standing.certified and view.changes(plan) and plan.gpus < found:
            return Propose(plan)
    text = f"{view.plans[0].candidate_id} leads with {view.plans[0].gpus} accelerators but was not certified: {refused}"
    return Conclude(phase="Exhausted", reason=reasons.BUDGET_EXHAUSTED, message=text)


def _nothing_feasible(view: View) -> Conclude:
    if waiting := [one for one in view.queue if view.to_explore(one)]:
        return _untried(view, "nothing measured so far meets the targets,", waiting)
    causes = "; ".join(
        f"{one.candidate.id}: {one.lost or one.outcome}{': ' + one.reason if one.reason and not one.lost else ''}"
        for one in view.standings if one.outcome != "Unsupported"
    )  # fmt: skip
    return Conclude(phase="Exhausted", reason=reasons.BASELINE_MISSES_SLO, message=causes[:1800])


def _untried(view: View, found: str, waiting: Sequence[Standing]) -> Conclude:
    """The budget ended the search before every candidate had its turn."""
    refused = allowance.refusal(view, waiting[0])
    return Conclude(
        phase="Exhausted",
        reason=reasons.BUDGET_EXHAUSTED,
        message=f"{found} {figures.counted(len(waiting), 'candidate')} not tried: {refused}",
    )


def _stays(view: View, best: Plan) -> str:
    baseline = view.run.spec.baseline
    if baseline.replicas_managed_by:
        return f"the baseline stays; its replicas belong to {baseline.replicas_managed_by}"
    return (
        f"the baseline stays: {best.gpus} accelerators carry {figures.load_words(view.basis.required)} at "
        f"{best.standing.rate_rps:g} a replica"
    )
