"""What the budget still allows, and the word for every candidate that gets no trial. Called by ``measure``, ``choose``
and ``summary``.
"""

import datetime
from dataclasses import replace

from rightsizer_operator.phases.observe import moment
from rightsizer_operator.phases.view import View
from rightsizer_operator.sizing import budget, race
from rightsizer_operator.sizing.verdicts import Standing

MOST_RECORDS = 84
"""Records that fit the run's status, less what a rewrite needs for its verifications."""


def refusal(
    view: View,
    standing: Standing,
    *,
    exploring: bool = True,
    reserve: bool = True,
    at: datetime.datetime | None = None,
) -> str:
    """Why the budget allows no trial of this candidate, now or ``at`` another time; empty: it does.

    ``reserve``: room for a certification is held back. Not ``exploring``: it is the certification.
    """
    if len(view.status.trials) >= MOST_RECORDS:
        return f"the run holds {len(view.status.trials)} trials, as many as fit"
    spec, trials = view.accepted.spec.search, view.status.trials
    holding = budget.certification_s(trials, spec.measurement)
    best = [plan.standing.gpus_per_replica for plan in view.plans[:1] if view.changes(plan)]
    most = max([standing.gpus_per_replica, *best])
    kept = budget.Kept(trials=1, seconds=holding, gpu_seconds=holding * most) if reserve else budget.NOTHING_KEPT
    return budget.refusal(
        spec.budget,
        budget.spent(budget.searching(trials)),
        next_s=budget.expected_trial_s(trials, spec.measurement) if exploring else holding,
        gpus=standing.gpus_per_replica,
        started=view.started,
        now=at or view.now,
        gpu_hourly=view.basis.gpu_hourly,
        kept=kept,
    )


def settled(view: View) -> tuple[Standing, ...]:
    """Standings with what never needs a trial said, and, once the decision has fallen, what had none for want of
    budget.
    """
    return tuple(_settled(view, standing) for standing in view.standings)


def _settled(view: View, standing: Standing) -> Standing:
    if reason := view.hopeless(standing):
        return replace(standing, outcome="CannotBeat", reason=reason)
    if reason := view.behind(standing):
        return race.not_tried(standing, reason)
    finished = moment(view.status.finished_at)
    if standing.outcome == "Pending" and finished is not None:
        why = refusal(view, standing, at=finished) or "the search ended before its turn"
        return replace(standing, reason=f"{'not measured' if standing.attempts else 'not tried'}: {why}")
    return standing
