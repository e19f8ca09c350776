"""Everything one reconcile needs, read live: called by ``reconcile``, decides nothing, writes nothing.

Independent reads run side by side, in three rounds: the resource; what it names; what belongs to that.
"""

import asyncio
import datetime
from dataclasses import dataclass, replace

from rightsizer_operator.cluster import parse
from rightsizer_operator.cluster.accelerators import Capacity, CapacityReader
from rightsizer_operator.cluster.gpu_reader import GpuReader
from rightsizer_operator.cluster.port import (
    AUTOSCALERS,
    CLAIMS,
    DEPLOYMENTS,
    INFERENCE_DEPLOYMENTS,
    JOBS,
    OPTIMIZATION_RUNS,
    PODS,
    REPLICA_SETS,
    SCALED_OBJECTS,
    Cluster,
    Kind,
    NotFound,
    Object,
    Refused,
    listed,
)
from rightsizer_operator.cluster.prometheus import DemandReader
from rightsizer_operator.manifests import labels
from rightsizer_operator.resource.status import GpuReading, PeakReading
from rightsizer_operator.settings import Settings
from rightsizer_operator.sizing.demand import usable
from rightsizer_operator.world import InferenceDeployment, OptimizationRun, Rival, Unread, World


@dataclass(frozen=True, slots=True)
class Runs:
    names: tuple[tuple[str, str, str], ...] = ()
    """(name, uid, created), oldest first."""
    current: OptimizationRun | None = None
    error: str = ""


async def observe(
    cluster: Cluster,
    capacity: CapacityReader,
    demand: DemandReader,
    gpus: GpuReader,
    settings: Settings,
    namespace: str,
    name: str,
    now: datetime.datetime,
) -> World | None:
    """The world of one InferenceDeployment, or None where it is gone (or going). Raises ClusterError."""
    stored = await cluster.read(INFERENCE_DEPLOYMENTS, namespace, name)
    if stored is None or stored["metadata"].get("deletionTimestamp"):
        return None
    infdep = parse.inference_deployment(stored)
    if infdep.spec is None:
        return World(now=now, settings=settings, infdep=infdep)
    try:
        world = await _around(cluster, capacity, World(now=now, settings=settings, infdep=infdep))
        return replace(world, peak=await _peak(demand, world), gpu_readings=await _gpu_readings(gpus, world))
    except ExceptionGroup as group:  # reads ran side by side; the first failure speaks for all
        raise group.exceptions[0] from group


async def _around(cluster: Cluster, capacity: CapacityReader, world: World) -> World:
    infdep = world.infdep
    assert infdep.spec is not None
    namespace, target_name = infdep.namespace, infdep.spec.target_ref.name
    async with asyncio.TaskGroup() as group:
        rivals = group.create_task(_rivals(cluster, infdep, target_name))
        target = group.create_task(cluster.read(DEPLOYMENTS, namespace, target_name))
        claim = group.create_task(cluster.read(CLAIMS, namespace, infdep.spec.model_cache.claim_name))
        scalers = group.create_task(_scalers(cluster, namespace, target_name))
        runs = group.create_task(_runs(cluster, infdep))
        room = group.create_task(capacity.read(world.now.timestamp()))
    found, holds = runs.result(), room.result()
    world = replace(
        world,
        infdep=replace(infdep, spec=None, spec_error=found.error) if found.error else infdep,
        rivals=rivals.result(),
        target=target.result(),
        claim=claim.result(),
        scalers=scalers.result(),
        run=found.current,
        run_names=found.names,
        nodes=holds.nodes,
        accelerators_used=_used(holds, infdep),
    )
    return await _within(cluster, world)


async def _within(cluster: Cluster, world: World) -> World:
    """Pods and ReplicaSets of the target, Jobs and pods of the run."""
    namespace = world.infdep.namespace
    async with asyncio.TaskGroup() as group:
        pods = group.create_task(_of_target(cluster, PODS, world))
        sets = group.create_task(_of_target(cluster, REPLICA_SETS, world))
        jobs = group.create_task(_of_run(cluster, JOBS, namespace, world.run))
    uid = world.target["metadata"]["uid"] if world.target else ""
    run_uid = world.run.uid if world.run else ""
    own_jobs = tuple(job for job in jobs.result() if parse.owned_by(job, run_uid))
    job_pods = await _of_run(cluster, PODS, namespace, world.run) if own_jobs else []
    return replace(
        world,
        target_pods=tuple(pods.result()),
        replica_sets=tuple(item for item in sets.result() if parse.owned_by(item, uid)),
        jobs=own_jobs,
        job_pods=tuple(pod for pod in job_pods if _owned_by_any(pod, own_jobs)),
    )


async def _peak(demand: DemandReader, world: World) -> PeakReading | Unread | None:
    """Asked where a search is to be planned, and of a finished one, which a drift of the demand overtakes."""
    spec, run = world.infdep.spec, world.run
    if spec is None or spec.workload.prometheus is None or world.target is None:
        return None
    asked = spec.workload.prometheus
    going_on = run is not None and run.status.phase != "Superseded" and not run.status.finished_at
    if going_on and run is not None and usable(run.spec.peak, asked) is not None:
        return None
    question = demand.question(world.infdep.namespace, spec.target_ref.name, asked.window_hours, asked.average_minutes)
    return await demand.read(question, world.now)


async def _gpu_readings(gpus: GpuReader, world: World) -> dict[str, tuple[GpuReading, ...]]:
    """By name of a Job that has finished and is not recorded yet; those without a reading are left out."""
    if world.run is None or world.infdep.spec is None:
        return {}
    recorded = {record.job for record in world.run.status.trials}
    resource = world.run.spec.baseline.accelerator_resource or world.infdep.spec.accelerator.resource
    found = {}
    for job in world.jobs:
        name, uid = str(job["metadata"]["name"]), job["metadata"]["uid"]
        if name not in recorded:
            pods = [pod for pod in world.job_pods if parse.owned_by(pod, uid)]
            found[name] = await gpus.read(job, pods, world.target_pods, resource)
    return {name: readings for name, readings in found.items() if readings}


async def _rivals(cluster: Cluster, infdep: InferenceDeployment, target_name: str) -> tuple[Rival, ...]:
    fields = f"spec.targetRef.name={target_name}"
    items = await listed(cluster, INFERENCE_DEPLOYMENTS, infdep.namespace, fields=fields, metadata_only=True)
    others = [item for item in items if item["metadata"]["uid"] != infdep.uid]
    return tuple(parse.rival(item) for item in others if not item["metadata"].get("deletionTimestamp"))


async def _scalers(cluster: Cluster, namespace: str, target_name: str) -> tuple[str, ...]:
    found = []
    for kind in (AUTOSCALERS, SCALED_OBJECTS):
        items = await _optional(cluster, kind, namespace)
        found += [f"{kind.kind}/{item['metadata']['name']}" for item in items if scales(item, target_name)]
    return tuple(found)


async def _optional(cluster: Cluster, kind: Kind, namespace: str) -> list[Object]:
    """KEDA may not be installed; then there are none of its objects, whatever our rights."""
    try:
        return await listed(cluster, kind, namespace)
    except NotFound:
        return []
    except Refused:
        if kind is SCALED_OBJECTS:
            return []
        raise


def scales(scaler: Object, target_name: str) -> bool:
    reference = (scaler.get("spec") or {}).get("scaleTargetRef") or {}
    return reference.get("name") == target_name and reference.get("kind", "Deployment") == "Deployment"


async def _runs(cluster: Cluster, infdep: InferenceDeployment) -> Runs:
    """The run that status.runRef names; without one (a crash between creating a run and saying so) the newest."""
    selector = f"{labels.INFERENCE_DEPLOYMENT}={labels.label_value(infdep.name)}"
    items = await listed(cluster, OPTIMIZATION_RUNS, infdep.namespace, labels=selector, metadata_only=True)
    metadata = [item["metadata"] for item in items if parse.owned_by(item, infdep.uid)]
    names = tuple(
        sorted(((m["name"], m["uid"], m["creationTimestamp"]) for m in metadata), key=lambda run: (run[2], run[0]))
    )
    reference = infdep.status.run_ref
    name = reference.name if reference else (names[-1][0] if names else "")
    stored = await cluster.read(OPTIMIZATION_RUNS, infdep.namespace, name) if name else None
    if stored is None or not parse.owned_by(stored, infdep.uid):
        return Runs(names)
    try:
        return Runs(names, parse.optimization_run(stored))
    except parse.Unreadable as error:
        return Runs(names, error=str(error))


async def _of_target(cluster: Cluster, kind: Kind, world: World) -> list[Object]:
    selector = selector_text(((world.target or {}).get("spec") or {}).get("selector") or {})
    return await listed(cluster, kind, world.infdep.namespace, labels=selector) if selector else []


async def _of_run(cluster: Cluster, kind: Kind, namespace: str, run: OptimizationRun | None) -> list[Object]:
    return await listed(cluster, kind, namespace, labels=labels.selector(run=run.name)) if run else []


def _used(capacity: Capacity, infdep: InferenceDeployment) -> dict[str, int]:
    return capacity.used(infdep.spec.accelerator.resource) if infdep.spec else {}


def _owned_by_any(pod: Object, jobs: tuple[Object, ...]) -> bool:
    return any(parse.owned_by(pod, job["metadata"]["uid"]) for job in jobs)


def selector_text(selector: Object) -> str:
    """A LabelSelector in the form of a query parameter; empty for one that selects nothing in particular."""
    equal = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    return ",".join(equal + [_requirement(rule) for rule in selector.get("matchExpressions") or []])


def _requirement(rule: Object) -> str:
    key, values = rule["key"], ",".join(rule.get("values") or [])
    texts: dict[str, str] = {
        "In": f"{key} in ({values})",
        "NotIn": f"{key} notin ({values})",
        "Exists": key,
        "DoesNotExist": f"!{key}",
    }
    return texts[str(rule["operator"])]
