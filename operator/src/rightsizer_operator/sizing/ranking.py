"""Which measured candidate is best: fewest accelerators, then cost, then latency slack; the baseline wins ties.
``phases`` calls it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rightsizer_jobs.contract import Probe, Slo
from rightsizer_operator.sizing import gpus
from rightsizer_operator.sizing.gpus import Requirement
from rightsizer_operator.sizing.verdicts import AS_IS, Standing


@dataclass(frozen=True, slots=True)
class Plan:
    """A candidate at the size that carries the demand with its headroom, spare replicas included."""

    standing: Standing
    replicas: int
    gpus: int

    @property
    def candidate_id(self) -> str:
        return self.standing.candidate.id


def plan_of(standing: Standing, required: Requirement) -> Plan:
    """The size for the demand at the candidate's rate; the rate must be above zero."""
    replicas = gpus.replicas_for(required, standing.rate_rps)
    return Plan(standing, replicas, replicas * standing.gpus_per_replica)


def nearest_probe(standing: Standing) -> Probe | None:
    """The probe that tells most about the candidate at its rate: the certification, else the closest one not above
    it.
    """
    if standing.certification and standing.certification.probes:
        return max(standing.certification.probes, key=lambda probe: probe.requests)
    probes = standing.report.probes if standing.report else ()
    below = [probe for probe in probes if probe.rate_rps <= standing.rate_rps * 1.001 and not probe.aborted]
    if below:
        return max(below, key=lambda probe: probe.rate_rps)
    return min((probe for probe in probes if not probe.aborted), key=lambda probe: probe.rate_rps, default=None)


def latency_slack(standing: Standing, slo: Slo) -> float:
    """Distance to the nearest limit as a share of it; -1 where nothing was measured or requests failed."""
    probe = nearest_probe(standing)
    if probe is None:
        return -1.0
    values = [(probe.p_ms.get(metric, -1.0), limit) for metric, limit in slo.limits().items()]
    return min((1 - value / limit if value >= 0 else -1.0 for value, limit in values), default=-1.0)


def ranked(
    standings: Sequence[Standing], required: Requirement, slo: Slo, price: float | None = None
) -> tuple[Plan, ...]:
    """Every feasible candidate at its size, best first. ``price``: of one accelerator hour; None leaves cost out."""
    plans = [(index, plan_of(standing, required)) for index, standing in enumerate(standings) if standing.feasible]

    def key(entry: tuple[int, Plan]) -> tuple[int, float, bool, float, int]:
        index, plan = entry
        return (
            plan.gpus,
            plan.gpus * (price or 0.0),
            plan.candidate_id != AS_IS,
            -latency_slack(plan.standing, slo),
            index,
        )

    return tuple(plan for _, plan in sorted(plans, key=key))
