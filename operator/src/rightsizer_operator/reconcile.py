"""The shell around the pure phases: observe → advance → run status → actions → resource status. One key, one pass,
nothing kept.

Called by the workers that ``__main__`` starts. It knows Kubernetes only through the cluster port and decides nothing
about a search.
"""

import datetime
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rightsizer_operator.actions import Action, ApplyTarget, CreateJob, EmitEvent
from rightsizer_operator.cluster import statuses
from rightsizer_operator.cluster.accelerators import CapacityReader
from rightsizer_operator.cluster.gpu_reader import GpuReader
from rightsizer_operator.cluster.observe import observe
from rightsizer_operator.cluster.perform import perform
from rightsizer_operator.cluster.port import ApplyConflict, Cluster, ClusterError, Refused
from rightsizer_operator.cluster.prometheus import DemandReader
from rightsizer_operator.lease import LeadershipLost
from rightsizer_operator.recorder import Recorder
from rightsizer_operator.resource import reasons
from rightsizer_operator.resource.conditions import Condition, find, merged
from rightsizer_operator.resource.status import InferenceDeploymentStatus
from rightsizer_operator.settings import Settings
from rightsizer_operator.telemetry import Telemetry
from rightsizer_operator.transitions import transitions
from rightsizer_operator.work_queue import Key, Retry
from rightsizer_operator.world import Step, World

log = logging.getLogger(__name__)

Advance = Callable[[World], Step]
SOONEST_S, LATEST_S = 1.0, 600.0
PATIENT_FROM_S, PATIENT_TO_S = 60.0, 300.0
"""Waits of at least the first are doubled, up to the second, while passes change nothing: watches wake us anyway."""
SHARE_S = 2.5
"""The second grows to this times the number of resources: a thousand idle ones cost 0.4 passes a second, not 3."""
MESSAGE_LIMIT = 2048


@dataclass(slots=True, kw_only=True)
class Reconciler:
    """``clock`` gives the time of day, with zone."""

    cluster: Cluster
    capacity: CapacityReader
    demand: DemandReader
    gpus: GpuReader
    settings: Settings
    advance: Advance
    recorder: Recorder
    telemetry: Telemetry
    clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC)
    _failing: dict[Key, str] = field(default_factory=dict)
    """Last error by key, so that the log speaks when it changes and not at every attempt. Nothing is decided by it."""
    _quiet: dict[Key, int] = field(default_factory=dict)
    """How many passes in a row changed nothing. Only the pace depends on it."""

    async def handle(self, key: Key) -> float | None:
        """One pass; seconds until the next look, None where the resource is gone. Errors become ``Retry``, but for
        LeadershipLost, which ends the process.
        """
        started = time.monotonic()
        try:
            again_after = await self.reconcile(key)
        except ClusterError as error:
            self._log_failure(key, f"{type(error).__name__}: {error.message}")
            raise Retry from error
        except LeadershipLost:
            raise
        except Exception as error:  # a bug must stop neither this key for ever nor the others at all
            self._log_failure(key, f"{type(error).__name__}: {error}", error)
            raise Retry from error
        finally:
            self.telemetry.duration.observe(time.monotonic() - started)
        self._log_success(key)
        return again_after

    async def reconcile(self, key: Key) -> float | None:
        """One pass; raises ClusterError, and whatever a phase raises."""
        world = await observe(
            self.cluster, self.capacity, self.demand, self.gpus, self.settings, key.namespace, key.name, self.clock()
        )
        if world is None:
            self.telemetry.gone(key)
            self._quiet.pop(key, None)
            return None
        try:
            step = self.advance(world)
        except Exception as error:
            await self._write_resource(world, with_internal_error(world, error))
            raise
        step = await self._carry_out(world, step)
        self.telemetry.advanced(world, step)
        self._quiet[key] = self._quiet.get(key, -1) + 1 if changes_nothing(world, step) else 0
        return paced(step.wake_after_s, self._quiet[key], len(self._quiet))

    async def _carry_out(self, world: World, step: Step) -> Step:
        """Run status, actions, resource status. A conflict of ownership goes back to the phases, once, as part of
        the world.
        """
        try:
            world = await self._write_run(world, step)
            try:
                await self._perform_all(world, step.actions)
            except ApplyConflict as conflict:
                world = replace(world, conflicts=conflict.managers)
                step = self.advance(world)
                world = await self._write_run(world, step)
                await self._perform_all(world, step.actions)
        except (Refused, ApplyConflict) as error:
            await self._write_resource(world, with_refusal(world, step, error))
            raise
        await self._write_resource(world, step.status)
        return step

    async def _write_run(self, world: World, step: Step) -> World:
        """The world with the run as it is stored now."""
        if world.run is None or step.run_status is None:
            return world
        version = await statuses.write_run(self.cluster, world.infdep.namespace, world.run, step.run_status)
        if version == world.run.resource_version:
            return world
        self.telemetry.run_written(world.run.status, step.run_status)
        return replace(world, run=replace(world.run, resource_version=version, status=step.run_status))

    async def _perform_all(self, world: World, actions: tuple[Action, ...]) -> None:
        for action in actions:
            await self._perform(world, action)

    async def _perform(self, world: World, action: Action) -> None:
        if isinstance(action, EmitEvent):
            await self.recorder.record(world.infdep, action, world.now)
            return
        try:
            await perform(self.cluster, world.infdep.namespace, action)
        except ClusterError as error:
            if isinstance(action, ApplyTarget):
                self.telemetry.applied(type(error).__name__)
            if isinstance(error, Refused) and isinstance(action, CreateJob):
                raise JobRefused(error.message, error.code) from error
            raise
        if isinstance(action, ApplyTarget):
            self.telemetry.applied("Written")
        self.capacity.stale()
        log.info("performed", extra={"key": str(_key(world)), "action": type(action).__name__, "object": _name(action)})

    async def _write_resource(self, world: World, status: InferenceDeploymentStatus) -> None:
        if await statuses.write_resource(self.cluster, world.infdep, status):
            for line in transitions(world.infdep.status.conditions, status.conditions):
                log.info("condition", extra={"key": str(_key(world)), **line})

    def _log_failure(self, key: Key, text: str, error: Exception | None = None) -> None:
        self.telemetry.reconciles.labels("error").inc()
        level = logging.DEBUG if self._failing.get(key) == text else logging.WARNING
        self._failing[key] = text
        log.log(level, "reconcile failed", extra={"key": str(key), "error": text}, exc_info=error)

    def _log_success(self, key: Key) -> None:
        self.telemetry.reconciles.labels("success").inc()
        if self._failing.pop(key, None):
            log.info("reconcile recovered", extra={"key": str(key)})


def changes_nothing(world: World, step: Step) -> bool:
    same_run = step.run_status is None or world.run is None or step.run_status == world.run.status
    return same_run and not step.actions and step.status == world.infdep.status


def paced(wake_after_s: float, quiet: int, resources: int) -> float:
    """Seconds until the next look at one of so many resources, after so many passes in a row without a change."""
    wanted = min(max(wake_after_s, SOONEST_S), LATEST_S)
    if wanted < PATIENT_FROM_S:
        return wanted
    longest = max(PATIENT_TO_S, SHARE_S * resources)
    return max(wanted, min(longest, wanted * 2.0 ** min(quiet, 8)))


class JobRefused(Refused):
    """The API server refused a Job."""


def with_refusal(world: World, step: Step, error: ClusterError) -> InferenceDeploymentStatus:
    """What is known to be true, and what stands in the way: the new status rests on a write that did not happen."""
    reason = reasons.JOB_REFUSED if isinstance(error, JobRefused) else reasons.WRITE_REFUSED
    return _stalled(
        world, reason, f"{error.message} ({reasons.REASONS[reason].remedy})", step.status.observed_generation
    )


def with_internal_error(world: World, error: Exception) -> InferenceDeploymentStatus:
    text = (
        f"{type(error).__name__}: {error}. This is a fault of the operator; its log has the details. It is tried again."
    )
    return _stalled(world, reasons.INTERNAL_ERROR, text, world.infdep.generation)


def _stalled(world: World, reason: str, message: str, generation: int) -> InferenceDeploymentStatus:
    old = world.infdep.status
    new = [
        Condition(
            type="Stalled",
            status="True",
            reason=reason,
            message=message[:MESSAGE_LIMIT],
            observed_generation=generation,
        )
    ]
    if find(old.conditions, "Ready") is None:  # kstatus takes an object without Ready for a finished one
        new.append(Condition(type="Ready", status="Unknown", reason=reason, observed_generation=generation))
    return old.model_copy(
        update={"observed_generation": generation, "conditions": merged(old.conditions, tuple(new), world.now)}
    )


def _key(world: World) -> Key:
    return Key(world.infdep.namespace, world.infdep.name)


def _name(action: Action) -> str:
    manifest = getattr(action, "manifest", None)
    return str(manifest["metadata"]["name"] if manifest else getattr(action, "name", ""))
