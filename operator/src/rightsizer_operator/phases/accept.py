"""First step: can this resource be worked on? Every bad input becomes a problem with reason and remedy before
anything is started.

Called by ``advance``. The checks run in order and the first problem is told; notes are told beside an acceptance.
"""

import datetime
from collections.abc import Callable
from dataclasses import dataclass, replace

from rightsizer_jobs import stats
from rightsizer_operator.manifests import baseline as baselines
from rightsizer_operator.phases import demand, estimates
from rightsizer_operator.resource import reasons
from rightsizer_operator.resource.base import number
from rightsizer_operator.resource.run import Baseline
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.resource.status import PeakReading
from rightsizer_operator.sizing import budget, cost, workload
from rightsizer_operator.world import Object, Unread, World

PRODUCT_LABEL = "nvidia.com/gpu.product"
FASTEST_TOKEN_MS = 0.1
"""No engine streams one sequence faster than 10,000 tokens a second: an end-to-end limit below that can never be met.
"""
INPUT_PROBLEMS = (
    reasons.CLAIM_NOT_FOUND, reasons.CLAIM_UNUSABLE, reasons.BUDGET_TOO_SMALL, reasons.SLO_UNREACHABLE,
    reasons.DEMAND_ZERO, reasons.CONTAINER_AMBIGUOUS, reasons.MODEL_ARCHITECTURE_UNKNOWN,
    reasons.ACCELERATOR_NOT_ESTIMABLE, reasons.ACCELERATOR_TYPE_UNKNOWN,
    reasons.PROMETHEUS_NOT_CONFIGURED,
    reasons.PROMETHEUS_UNREACHABLE, reasons.DEMAND_UNKNOWN,
)  # fmt: skip
"""Problems of a search that are none of a rewrite which has begun: its run knows its container, too."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What stands in the way, with its remedy."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A spec that can be worked on, the target as it is now, and what has to be said about it."""

    spec: InferenceDeploymentSpec
    target: Object
    baseline: Baseline
    accelerator_type: str
    gpu_hourly: str | None
    peak: PeakReading | None = None
    """Where the demand was read; None where it was stated."""
    notes: tuple[Problem, ...] = ()


def accept(world: World) -> Accepted | Problem:
    """The accepted inputs, or the first problem."""
    for check in TARGET_CHECKS:
        problem = check(world)
        if problem is not None:
            return problem
    found = demand.settled(world, _spec(world))
    if isinstance(found, Unread):
        return Problem(found.reason, found.message)
    world = replace(world, infdep=replace(world.infdep, spec=found.spec))
    for check in INPUT_CHECKS:
        if check in NEEDED_TO_MEASURE and _rapid(found.spec):
            continue
        problem = check(world)
        if problem is not None:
            return problem
    spec, target = found.spec, world.target
    assert target is not None
    try:
        snapshot = baselines.snapshot(target, spec, world.scalers)
    except baselines.Refused as refused:
        return Problem(refused.reason, refused.message)
    type_, type_note = _accelerator_type(world, spec)
    price = cost.price_of(spec, type_, world.settings.prices)
    problem = _estimable(world, spec, type_) if _rapid(spec) else _budget(spec, snapshot, price)
    if problem is not None:
        return problem
    notes = (_nodes_note(world), _price_note(spec, type_, price), type_note, _margin_note(spec))
    return Accepted(
        spec=spec, target=target, baseline=snapshot, accelerator_type=type_, gpu_hourly=price,
        peak=found.peak, notes=tuple(note for note in notes if note is not None),
    )  # fmt: skip


def while_rewriting(world: World, problem: Problem) -> Accepted | None:
    """What to go on with when an input fails in the middle of a rewrite: it is brought to an end, or back, all the
    same.
    """
    run, spec, target = world.run, world.infdep.spec, world.target
    if run is None or spec is None or target is None or run.status.rollout is None:
        return None
    if problem.reason not in INPUT_PROBLEMS or run.status.rollout.step in ("Applied", "RolledBack"):
        return None
    price = cost.price_of(spec, run.spec.accelerator_type, world.settings.prices)
    return Accepted(
        spec=demand.as_in(run, spec), target=target, baseline=run.spec.baseline,
        accelerator_type=run.spec.accelerator_type, gpu_hourly=price, peak=run.spec.peak, notes=(problem,),
    )  # fmt: skip


def _spec_parsed(world: World) -> Problem | None:
    if world.infdep.spec is None:
        return Problem(reasons.INVALID_SPEC, world.infdep.spec_error)
    return None


def _target_exists(world: World) -> Problem | None:
    if world.target is not None:
        return None
    name = _spec(world).target_ref.name
    return Problem(
        reasons.TARGET_NOT_FOUND,
        f"spec.targetRef.name: there is no Deployment {name} in namespace {world.infdep.namespace}; create it. "
        "targetRef is immutable: for another Deployment create another InferenceDeployment.",
    )


def _target_unclaimed(world: World) -> Problem | None:
    """The older InferenceDeployment holds the target; of two of one second the smaller UID."""
    mine = (_moment(world.infdep.created), world.infdep.uid)
    older = [rival for rival in world.rivals if (_moment(rival.created), rival.uid) < mine]
    if not older:
        return None
    holder = min(older, key=lambda rival: (_moment(rival.created), rival.uid))
    return Problem(
        reasons.TARGET_CLAIMED,
        f"spec.targetRef.name: InferenceDeployment {holder.name}, created {holder.created}, already holds Deployment "
        f"{_spec(world).target_ref.name}; delete one of the two.",
    )


def _target_unowned(world: World) -> Problem | None:
    owners = (world.target or {}).get("metadata", {}).get("ownerReferences") or []
    owner = next((owner for owner in owners if owner.get("controller")), None)
    if owner is None:
        return None
    return Problem(
        reasons.TARGET_OWNED,
        f"spec.targetRef.name: the Deployment is owned by {owner.get('kind')} {owner.get('name')}, which would undo a "
        f"rewrite; configure that {owner.get('kind')}, or name a Deployment of your own.",
    )


def _demand(world: World) -> Problem | None:
    field, stated = workload.stated_demand(_spec(world).workload)
    if stated > 0:
        return None
    return Problem(
        reasons.DEMAND_ZERO, f"{field} is 0: any size would do; set it to the peak demand in requests a second."
    )


def _slo(world: World) -> Problem | None:
    spec = _spec(world)
    limit, tokens = spec.slo.e2e_ms, workload.resolved(spec.workload).least_output(spec.slo.percentile)
    least = tokens * FASTEST_TOKEN_MS
    if limit is None or limit >= least:
        return None
    return Problem(
        reasons.SLO_UNREACHABLE,
        f"spec.slo.e2eMs: {limit} ms for {tokens:g} output tokens is faster than any engine streams "
        f"({FASTEST_TOKEN_MS} ms a token); raise it to at least {least:.0f} ms, or lower the output tokens of "
        "workload.static.",
    )


def _claim(world: World) -> Problem | None:
    name = _spec(world).model_cache.claim_name
    if world.claim is None:
        return Problem(
            reasons.CLAIM_NOT_FOUND,
            f"spec.modelCache.claimName: there is no PersistentVolumeClaim {name} in namespace "
            f"{world.infdep.namespace}; create it with the weights on it, or correct the name.",
        )
    if world.claim.get("status", {}).get("phase") == "Lost":
        return Problem(reasons.CLAIM_UNUSABLE, f"spec.modelCache.claimName: {name} lost its volume; bind it again.")
    modes = world.claim.get("spec", {}).get("accessModes") or []
    if modes and not {"ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"} & set(modes):
        return Problem(
            reasons.CLAIM_UNUSABLE,
            f"spec.modelCache.claimName: {name} is {', '.join(modes)}, but artefacts have to be written; use a "
            "ReadWriteMany claim, or ReadWriteOnce where every pod runs on one node.",
        )
    if modes == ["ReadWriteOncePod"]:
        return Problem(
            reasons.CLAIM_UNUSABLE,
            f"spec.modelCache.claimName: {name} is ReadWriteOncePod, but serving pods and trials share it; "
            "use ReadWriteMany.",
        )
    return None


def _available(world: World) -> Problem | None:
    """Something known has to serve before a search starts; later the rewrite watches its own pods."""
    assert world.target is not None
    name = _spec(world).target_ref.name
    if world.target["spec"].get("replicas") == 0:
        return Problem(
            reasons.TARGET_UNAVAILABLE,
            f"spec.targetRef.name: Deployment {name} is scaled to 0, so nothing serves; scale it up, and it goes on.",
        )
    if world.run is not None and world.run.status.phase != "Superseded":
        return None
    if world.target.get("status", {}).get("readyReplicas"):
        return None
    return Problem(
        reasons.TARGET_UNAVAILABLE,
        f"spec.targetRef.name: Deployment {name} has no ready replica, so there is no working configuration to compare "
        "with; repair it.",
    )


Check = Callable[[World], Problem | None]
TARGET_CHECKS: tuple[Check, ...] = (_spec_parsed, _target_exists, _target_unclaimed, _target_unowned)
INPUT_CHECKS: tuple[Check, ...] = (_demand, _slo, _claim, _available)
"""In order: what cannot be read, then what cannot be worked on, then, with the demand known, what may heal."""
NEEDED_TO_MEASURE = (_claim, _available)
"""Strategy Rapid starts nothing, so it needs neither the volume nor a replica that serves."""


def _rapid(spec: InferenceDeploymentSpec) -> bool:
    return spec.search.strategy == "Rapid"


def _estimable(world: World, spec: InferenceDeploymentSpec, type_: str) -> Problem | None:
    """What an estimate needs and nothing tells."""
    if spec.workload.trace is not None:
        return Problem(
            reasons.TRACE_NOT_ESTIMABLE,
            "spec.workload.trace: its lengths and rate are on the model volume, which only a trial can read; state "
            "them as spec.workload.static, or set spec.search.strategy to Thorough.",
        )
    if not type_:
        return Problem(
            reasons.ACCELERATOR_TYPE_UNKNOWN,
            "spec.accelerator.type: strategy Rapid estimates for a product, and neither this field nor the label "
            f"{PRODUCT_LABEL} of the target's nodes names one; set it, e.g. NVIDIA-H100-80GB-HBM3.",
        )
    if estimates.gpu_of(type_, world.settings) is None:
        return Problem(
            reasons.ACCELERATOR_NOT_ESTIMABLE,
            f"spec.accelerator.type: no facts of {type_} are known, so it can be measured, not estimated; set "
            "spec.search.strategy to Thorough, or have its memory, bandwidth and TFLOPS added to the operator's "
            "configuration (gpus; docs/settings.md).",
        )
    if estimates.model_of(spec) is None:
        return Problem(
            reasons.MODEL_ARCHITECTURE_UNKNOWN,
            f"spec.model.architecture: {spec.model.name} is not in the table of published models, and the operator "
            "cannot read the model volume; state it (rightsizer plan --model-config config.json --print-architecture "
            "writes it), or set spec.search.strategy to Thorough.",
        )
    return None


def _budget(spec: InferenceDeploymentSpec, snapshot: Baseline, price: str | None) -> Problem | None:
    shortest = budget.shortest_trial_s(spec.search.measurement)
    accelerators = max(1, snapshot.serving.accelerators)
    limits = spec.search.budget
    need_hours = shortest * accelerators / 3600
    if limits.gpu_hours is not None and number(limits.gpu_hours) < need_hours:
        return Problem(
            reasons.BUDGET_TOO_SMALL,
            f"spec.search.budget.gpuHours: {limits.gpu_hours} does not cover one trial of the baseline ({accelerators} "
            f"accelerators for {shortest} s); raise it to at least {need_hours:.3f}, or shorten "
            "spec.search.measurement.",
        )
    if limits.money is not None:
        if price is None:
            return Problem(
                reasons.PRICE_MISSING,
                "spec.search.budget.money: no price is known for the accelerator, so money cannot be counted; set "
                "spec.cost.gpuHourly, have it added to the operator's price list, or limit gpuHours instead.",
            )
        if number(limits.money) < need_hours * number(price):
            return Problem(
                reasons.BUDGET_TOO_SMALL,
                f"spec.search.budget.money: {limits.money} does not cover one trial of the baseline ({accelerators} "
                f"accelerators for {shortest} s at {price} an hour); raise it to at least "
                f"{need_hours * number(price):.2f}, or shorten spec.search.measurement.",
            )
    if limits.deadline_minutes * 60 < shortest:
        return Problem(
            reasons.BUDGET_TOO_SMALL,
            f"spec.search.budget.deadlineMinutes: {limits.deadline_minutes} is shorter than one trial ({shortest} s); "
            f"raise it to at least {-(-shortest // 60)}, or shorten spec.search.measurement.",
        )
    return None


def _accelerator_type(world: World, spec: InferenceDeploymentSpec) -> tuple[str, Problem | None]:
    """Stated, else the label of the nodes that the target's pods run on."""
    if spec.accelerator.type:
        return spec.accelerator.type, None
    used = {pod.get("spec", {}).get("nodeName") for pod in world.target_pods}
    nodes = [node for node in world.nodes or () if node.get("metadata", {}).get("name") in used]
    products = sorted({node["metadata"].get("labels", {}).get(PRODUCT_LABEL, "") for node in nodes} - {""})
    if len(products) == 1:
        return products[0], None
    if not spec.accelerator.resource.startswith("nvidia.com/"):
        return "", None
    found = f"the target's nodes differ: {', '.join(products)}" if products else "the target's nodes carry no label"
    return "", Problem(
        reasons.ACCELERATOR_TYPE_UNKNOWN,
        f"the accelerator product is unknown ({found} {PRODUCT_LABEL}); set spec.accelerator.type.",
    )


def _nodes_note(world: World) -> Problem | None:
    if world.nodes is not None:
        return None
    return Problem(
        reasons.NODES_UNREADABLE,
        "the operator may not list nodes: whether accelerators are free is left to the scheduler, and a trial's pod "
        "waits for them; have the ServiceAccount allowed to list nodes (rbac.clusterScoped of the chart).",
    )


def _price_note(spec: InferenceDeploymentSpec, type_: str, price: str | None) -> Problem | None:
    if price is not None:
        return None
    return Problem(
        reasons.PRICE_MISSING,
        f"no price is known for {type_ or spec.accelerator.resource}: cost is left out; set spec.cost.gpuHourly, or "
        "have it added to the operator's price list.",
    )


def _margin_note(spec: InferenceDeploymentSpec) -> Problem | None:
    quality = spec.quality
    margin = number(quality.max_drop_points)
    if margin <= 0:
        return Problem(
            reasons.MARGIN_UNRESOLVABLE,
            "spec.quality.maxDropPoints is 0: no number of questions can prove a drop of exactly 0, so no change of "
            "weights, image or KV type will pass; allow a larger drop.",
        )
    asked = quality.question_set.questions
    if asked is None:
        return None
    needed = stats.questions_needed(margin, quality.confidence_percent)
    if asked >= needed:
        return None
    return Problem(
        reasons.MARGIN_UNRESOLVABLE,
        f"spec.quality.questionSet.questions: {asked} questions can hardly resolve a drop of "
        f"{quality.max_drop_points} points at {quality.confidence_percent} %; about {needed} are needed, or a larger "
        "maxDropPoints.",
    )


def _moment(created: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(created.replace("Z", "+00:00"))


def _spec(world: World) -> InferenceDeploymentSpec:
    assert world.infdep.spec is not None
    return world.infdep.spec
