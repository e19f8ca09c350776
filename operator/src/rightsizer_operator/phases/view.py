"""A run as the phases see it: frozen inputs, trials so far, and the standings computed from them. Made by
``advance``, read by all.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rightsizer_jobs.contract import CompressReport
from rightsizer_operator.manifests import artefacts
from rightsizer_operator.manifests.serving import batch_limit
from rightsizer_operator.phases import demand
from rightsizer_operator.phases.accept import Accepted
from rightsizer_operator.phases.observe import moment
from rightsizer_operator.resource.run import Artefact, Candidate, RunStatus, TrialRecord
from rightsizer_operator.sizing import budget, figures, gpus, race, ranking, verdicts, workload
from rightsizer_operator.sizing.figures import Basis
from rightsizer_operator.sizing.race import Best, Race
from rightsizer_operator.sizing.ranking import Plan
from rightsizer_operator.sizing.verdicts import AS_IS, ORIGINAL, Standing
from rightsizer_operator.world import Object, OptimizationRun, World


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    world: World
    accepted: Accepted
    """Live spec and target; the run's own frozen inputs are in ``run.spec``."""
    run: OptimizationRun
    status: RunStatus
    """With everything harvested."""
    artefacts: tuple[Artefact, ...]
    standings: tuple[Standing, ...]
    plans: tuple[Plan, ...]
    """Feasible candidates at their size, best first."""
    basis: Basis
    race: Race
    best: Best | None
    """Whom candidates without a trial are held against."""

    @property
    def target(self) -> Object:
        return self.accepted.target

    @property
    def now(self) -> datetime.datetime:
        return self.world.now

    @property
    def stopped(self) -> bool:
        """No new Job and no new write."""
        return self.accepted.spec.paused

    @property
    def started(self) -> datetime.datetime:
        return moment(self.run.created) or self.now

    def changes(self, plan: Plan) -> bool:
        """Whether a plan differs from what serves. The baseline at its own size does not; nor does a size that a scaler
        decides.
        """
        baseline = self.run.spec.baseline
        kept = bool(baseline.replicas_managed_by) or plan.replicas == baseline.replicas
        return plan.candidate_id != AS_IS or not kept

    def standing(self, candidate: str) -> Standing | None:
        return next((one for one in self.standings if one.candidate.id == candidate), None)

    @property
    def as_is(self) -> Standing:
        found = self.standing(AS_IS)
        assert found is not None
        return found

    @property
    def reference(self) -> Standing:
        """Whose answers quality is held against."""
        candidates = [one.candidate for one in self.standings]
        found = self.standing(verdicts.reference(candidates).id)
        assert found is not None
        return found

    @property
    def spent(self) -> budget.Spent:
        return budget.spent(self.status.trials)

    def share_of_demand(self, replicas: int) -> float | None:
        """What one of so many replicas carries of the demand; None where the demand is not known yet."""
        return self.basis.demand_rps / replicas if replicas and self.basis.workload.known else None

    def bar(self, standing: Standing) -> float | None:
        """The rate to beat; None where there is no incumbent yet."""
        incumbent = self.incumbent(standing)
        return None if incumbent is None else self.needed(standing, incumbent.gpus)

    def needed(self, standing: Standing, accelerators: int) -> float | None:
        """The smallest rate of one replica that needs fewer accelerators; None where no rate does.

        All candidates of a run are on accelerators of one product and price: as many never cost less.
        """
        rate = gpus.rate_to_beat(self.basis.required, standing.gpus_per_replica, accelerators)
        return None if rate is None else gpus.bar(rate)

    def incumbent(self, standing: Standing) -> Plan | None:
        """The best plan of the others."""
        return next((plan for plan in self.plans if plan.candidate_id != standing.candidate.id), None)

    @property
    def queue(self) -> tuple[Standing, ...]:
        """Every candidate in order of trial."""
        return self.race.queue(self.standings)

    def behind(self, standing: Standing) -> str:
        """Why a candidate is too far behind by its estimate to be tried; empty where it is not."""
        return self.race.behind(standing, self.best)

    def to_explore(self, standing: Standing) -> bool:
        """Whether a candidate still needs a trial."""
        if standing.outcome == "Pending":
            return not self.hopeless(standing) and not self.behind(standing)
        if standing.outcome != "CannotBeat" or standing.bar_rps is None or standing.exhausted:
            return False
        # Stopped against a bar that has fallen since, because a better candidate could not be certified.
        bar = self.bar(standing)
        return self.incumbent(standing) is None or (bar is not None and bar < standing.bar_rps * 0.999)

    def hopeless(self, standing: Standing) -> str:
        """Why a candidate need not be tried: one replica is already as large as the best plan. Empty where it may
        win.
        """
        incumbent = self.incumbent(standing)
        if incumbent is None or standing.candidate.id in (AS_IS, ORIGINAL) or standing.outcome != "Pending":
            return ""
        if gpus.rate_to_beat(self.basis.required, standing.gpus_per_replica, incumbent.gpus) is not None:
            return ""
        spare = self.basis.required.spare_replicas
        least = f"one replica{f' and {spare} spare' if spare else ''}"
        size = figures.counted((1 + spare) * standing.gpus_per_replica, "accelerator")
        return (
            f"not tried: {least} {'have' if spare else 'has'} {size}, and "
            f"{incumbent.candidate_id} already serves the demand with {incumbent.gpus}"
        )


def view_of(world: World, accepted: Accepted, run: OptimizationRun, status: RunStatus) -> View:
    """Everything derived from a run's trials, once."""
    found = artefacts_of(world, run, status)
    failed = {one.name: one.reason for one in found if one.state == "Failed"}
    load = workload.resolved(accepted.spec.workload, verdicts.trace_facts(status.trials))
    if accepted.peak is not None:
        load = replace(load, source=demand.source(accepted.peak))
    basis = Basis(accepted.spec, accepted.gpu_hourly, load, _slots((*run.spec.candidates, *status.derived)))
    standings = verdicts.standings(
        run.spec, status.derived, status.trials, void_retries=world.settings.void_retries, failed_artefacts=failed
    )
    field = race.race(status.forecast, basis.required)
    price = None if basis.gpu_hourly is None else float(basis.gpu_hourly)
    return View(
        world=world,
        accepted=accepted,
        run=run,
        status=status,
        artefacts=found,
        standings=standings,
        plans=ranking.ranked(standings, basis.required, basis.slo, price) if load.known else (),
        basis=basis,
        race=field,
        best=field.best(standings),
    )


def _slots(candidates: Sequence[Candidate]) -> dict[str, int]:
    """The batch limit that a candidate's command line states, by candidate."""
    return {one.id: limit for one in candidates if one.serving is not None and (limit := batch_limit(one.serving))}


def artefacts_of(world: World, run: OptimizationRun, status: RunStatus) -> tuple[Artefact, ...]:
    """The artefacts that the candidates need, in order of first use, each with where it stands."""
    needed: dict[str, Candidate] = {}
    for candidate in (*run.spec.candidates, *status.derived):
        name = candidate.serving.artefact if candidate.serving else ""
        if name and name != run.spec.baseline.serving.artefact:
            needed.setdefault(name, candidate)
    return tuple(
        _artefact(name, candidate, status.trials, world.settings.void_retries) for name, candidate in needed.items()
    )


def _artefact(name: str, candidate: Candidate, trials: Sequence[TrialRecord], void_retries: int) -> Artefact:
    pending = Artefact(
        name=name,
        recipe=artefacts.recipe_for(candidate.precision) or "",
        path=f"{artefacts.FOLDER}/{name}",
        state="Pending",
    )
    records, last = verdicts.deciding(trials, "Compress", name)
    if last is None:
        if len(records) <= void_retries:
            return pending
        reason = f"void {len(records)} times, last: {records[-1].reason}"
        return pending.model_copy(update={"state": "Failed", "reason": reason[:1024]})
    if last.outcome != "Succeeded":
        return pending.model_copy(update={"state": "Failed", "reason": f"{last.outcome}: {last.reason}"[:1024]})
    report = verdicts.parsed_report(last.report)
    if not isinstance(report, CompressReport):
        return pending.model_copy(update={"state": "Failed", "reason": "its report cannot be read"})
    return pending.model_copy(update={"state": "Ready", "sha256": report.sha256 or "", "size_bytes": report.size_bytes})
