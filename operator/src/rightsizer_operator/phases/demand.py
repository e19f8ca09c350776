"""Part of the first step: which peak demand counts where the workload asks Prometheus for it. Called by ``accept``.

A run keeps the reading that it was made for, whatever Prometheus says meanwhile; once it has finished, a peak that has
drifted from it overtakes it. From here on the workload is a static one.
"""

from dataclasses import dataclass

from rightsizer_operator.resource import reasons
from rightsizer_operator.resource.base import number
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.resource.status import PeakReading
from rightsizer_operator.sizing import demand, workload
from rightsizer_operator.world import OptimizationRun, Unread, World


@dataclass(frozen=True, slots=True)
class Settled:
    """The spec with its demand stated, and the reading that it comes from, if any."""

    spec: InferenceDeploymentSpec
    peak: PeakReading | None = None


def settled(world: World, spec: InferenceDeploymentSpec) -> Settled | Unread:
    """The demand to work with, or why there is none."""
    asked = spec.workload.prometheus
    if asked is None:
        return Settled(spec)
    kept = demand.usable(world.run.spec.peak, asked) if _current(world.run) and world.run else None
    now = world.peak
    if kept is not None and not _overtaken(world, kept, asked.drift_percent):
        return _stated(spec, kept)
    if isinstance(now, Unread):
        return now
    if now is None:
        return Unread(reasons.PROMETHEUS_UNREACHABLE, "spec.workload.prometheus: the peak demand has not been read yet")
    if number(now.rate_rps) <= 0:
        return Unread(
            reasons.DEMAND_ZERO,
            f"spec.workload.prometheus: the target finished no request in the last {now.window_hours} h; widen "
            f"windowHours, or state the demand in spec.workload.static.requestRate. Query: {now.query}",
        )
    return _stated(spec, now)


def known(world: World) -> PeakReading | None:
    """The reading that the status speaks of: the current run's, else the one that a run is about to be made for."""
    spec, run = world.infdep.spec, world.run
    if spec is None or spec.workload.prometheus is None:
        return None
    if run is not None and _current(run):
        return run.spec.peak
    return world.peak if isinstance(world.peak, PeakReading) else world.infdep.status.peak


def as_in(run: OptimizationRun, spec: InferenceDeploymentSpec) -> InferenceDeploymentSpec:
    """The spec with the demand that the run was made for, where it asks Prometheus."""
    if spec.workload.prometheus is None:
        return spec
    return spec.model_copy(update={"workload": run.spec.accepted.workload})


def source(peak: PeakReading) -> str:
    """Where a demand comes from, in a few words."""
    return f"peak of {peak.window_hours} h, read from Prometheus {peak.read_at}"


def words(peak: PeakReading) -> str:
    """The reading in one sentence."""
    covered = "" if peak.coverage_percent in (None, "100") else f", with data for {peak.coverage_percent} % of them"
    return (
        f"the peak demand is {peak.rate_rps} requests/s: the highest mean over {peak.average_minutes} minutes in the "
        f"{peak.window_hours} h before {peak.read_at}{covered} (Prometheus)"
    )


def _current(run: OptimizationRun | None) -> bool:
    return run is not None and run.status.phase != "Superseded"


def _overtaken(world: World, kept: PeakReading, tolerance_percent: float) -> bool:
    run, now = world.run, world.peak
    if run is None or not run.status.finished_at or not isinstance(now, PeakReading):
        return False
    known, rate = number(kept.rate_rps), number(now.rate_rps)
    return rate > 0 and demand.drifted(known, rate, tolerance_percent)


def _stated(spec: InferenceDeploymentSpec, peak: PeakReading) -> Settled:
    assert spec.workload.prometheus is not None
    stated = workload.stated_at(spec.workload, peak.rate_rps)
    return Settled(spec.model_copy(update={"workload": stated}), peak)
