"""Third step: harvest finished Jobs, then start the next one: baseline first, weights before trials, one Job at a time.

Called by ``advance``. A Job is deleted only after its result stands in the run's status as read.
"""

from dataclasses import replace

from rightsizer_jobs.contract import TrialAssignment
from rightsizer_operator.actions import Action, DeleteJob, Manifest
from rightsizer_operator.manifests import baseline as baselines
from rightsizer_operator.manifests import jobs, template
from rightsizer_operator.phases import allowance, assignments, batching, observe, plan, room
from rightsizer_operator.phases.accept import PRODUCT_LABEL, Accepted
from rightsizer_operator.phases.moves import Conclude, Move, Start, Wait
from rightsizer_operator.phases.view import View
from rightsizer_operator.resource import reasons
from rightsizer_operator.resource.base import count
from rightsizer_operator.resource.run import Artefact, Candidate, RunStatus, Serving, TrialRecord
from rightsizer_operator.sizing import budget, figures, verdicts
from rightsizer_operator.sizing.verdicts import AS_IS, Standing
from rightsizer_operator.world import Object, OptimizationRun, World

FULL = 94
"""Records from which on nothing new is started: the status holds 96."""
UNREADABLE = {
    "question set ": (reasons.QUESTION_SET_UNREADABLE, "spec.quality.questionSet"),
    "trace ": (reasons.TRACE_UNREADABLE, "spec.workload.trace"),
    "model_path": (reasons.MODEL_UNREADABLE, "spec.model.path"),
}
"""How a trial's reason begins when an input on the volume cannot be read, and its field: repeating would not help."""


def harvest(world: World, run: OptimizationRun) -> RunStatus:
    """The run's status with every newly finished Job recorded."""
    known = {record.job for record in run.status.trials}
    fresh = [
        record
        for job in sorted(world.jobs, key=lambda job: str(job["metadata"]["name"]))
        if job["metadata"]["name"] not in known and (record := _record(world, run, job)) is not None
    ]
    if not fresh:
        return run.status
    return run.status.model_copy(update={"trials": (*run.status.trials, *fresh)})


def tidy(world: World, run: OptimizationRun) -> tuple[Action, ...]:
    """Deletions of Jobs whose result has been stored."""
    stored = {record.job for record in run.status.trials}
    return tuple(
        DeleteJob(name=job["metadata"]["name"], uid=job["metadata"]["uid"])
        for job in world.jobs
        if job["metadata"]["name"] in stored and not job["metadata"].get("deletionTimestamp")
    )


def stop_all(world: World) -> tuple[Action, ...]:
    """Deletions of every Job of a run that is no longer wanted."""
    return tuple(
        DeleteJob(name=job["metadata"]["name"], uid=job["metadata"]["uid"])
        for job in world.jobs
        if not job["metadata"].get("deletionTimestamp")
    )


def busy(world: World) -> bool:
    """Whether a Job of the run, or a pod of one, is still there: the next one waits for it."""
    return bool(world.jobs) or any(not observe.is_finished(pod) for pod in world.job_pods)


def activity(view: View) -> tuple[str, str]:
    """Phase and sentence while a Job is there."""
    for job in view.world.jobs:
        assignment = observe.assignment_of(job)
        if assignment is None:
            continue
        pods = observe.pods_of(job, view.world.job_pods)
        when = _when(pods)
        if not isinstance(assignment, TrialAssignment):
            return "Compressing", f"{_artefact_words(view, assignment.artefact)}: compressing weights, {when}"
        if assignment.purpose == "Explore":
            return "Measuring", f"{explore_words(view, assignment.candidate)}, {when}"
        if assignment.purpose == "Certify":
            return "Certifying", f"{certify_words(view, assignment.candidate, assignment.rate_rps or 0.0)}, {when}"
        return "Verifying", f"the new pods are being verified at {assignment.rate_rps or 0:g} requests/s, {when}"
    return "Measuring", "waiting for the pods of the last Job to end"


def starved(view: View) -> bool:
    """Whether the scheduler finds no free accelerator for the Job's pod."""
    resource = view.run.spec.baseline.accelerator_resource or view.run.spec.accepted.accelerator.resource
    return any(f"Insufficient {resource}" in observe.unscheduled(pod) for pod in view.world.job_pods)


def next_trial(view: View) -> Move | None:
    """The next compress or trial Job; None when nothing is left to be explored or the budget says so."""
    for first in (view.as_is, view.reference):
        if first.outcome == "Pending":
            return _unreadable(view) or _explore(view, first, None)
    problem = _baseline_problem(view)
    if problem is not None:
        return problem
    for standing in view.queue:
        if not view.to_explore(standing) or allowance.refusal(view, standing):
            continue  # a smaller one behind it may still fit what is left
        artefact = _missing_artefact(view, standing.candidate)
        if artefact is not None:
            return _compress(view, artefact)
        return _explore(view, standing, view.bar(standing))
    return None


def derived(view: View) -> tuple[Candidate, ...]:
    """Candidates derived from the leader so far: first every batch limit that the spec names, then one setting at a
    time, each once everything before it has been explored.
    """
    known, search = view.status.derived, view.run.spec.accepted.search
    if not view.plans or view.as_is.outcome == "Pending" or view.status.proposal is not None:
        return known
    if any(view.to_explore(standing) for standing in view.queue):
        return known
    if search.max_num_seqs and not known:
        chosen, frozen = view.plans[0].standing.candidate, _frozen(view)
        return tuple(plan.derive(chosen, limit, frozen, view.world.settings) for limit in search.max_num_seqs)
    if any(record.purpose == "Certify" for record in view.status.trials):
        return known
    moved = batching.next_setting(view, _frozen(view)) if search.batching else None
    return known if moved is None else (*known, moved)


def trial_manifest(view: View, serving: Serving, assignment: TrialAssignment) -> Manifest:
    """A trial Job of the run."""
    return jobs.trial_job(
        run_name=view.run.name,
        run_uid=view.run.uid,
        infdep_name=view.world.infdep.name,
        namespace=view.world.infdep.namespace,
        target=view.target,
        container=view.run.spec.baseline.container,
        serving=serving,
        assignment=assignment,
        settings=view.world.settings,
        spec=view.run.spec.accepted,
    )


def without_room(view: View, accelerators: int, phase: str, what: str) -> Wait | None:
    """A wait where no accelerator is free for a Job; None where there is room."""
    resource = view.run.spec.baseline.accelerator_resource or view.run.spec.accepted.accelerator.resource
    free = room.free_by_node(view.world, resource, room.pod_spec_of(view.target))
    if room.fits(free, accelerators):
        return None
    text = f"{what} waits: {room.shortage(free, accelerators, resource)}; trials never displace serving pods"
    return Wait(phase=phase, reason=reasons.ACCELERATORS_UNAVAILABLE, activity=text)


def explore_words(view: View, candidate: str) -> str:
    """``trial 2 of 5: int8 (INT8)``: which one, and of how many that may be tried."""
    tried = [one for one in view.queue if one.outcome != "Unsupported" and not view.behind(one)]
    index = next((number for number, one in enumerate(tried, 1) if one.candidate.id == candidate), 0)
    standing = view.standing(candidate)
    if standing is None:
        return f"trial of {candidate}"
    return (
        f"trial {index} of {len(tried)}: {candidate} ({standing.candidate.engine} {standing.candidate.precision}) on "
        f"{figures.counted(standing.gpus_per_replica, 'accelerator')} is measured for quality and capacity"
    )


def certify_words(view: View, candidate: str, rate_rps: float) -> str:
    seconds = view.run.spec.accepted.search.measurement.certification_seconds
    return f"{candidate} is certified on a fresh start: {rate_rps:g} requests/s for {seconds} s"


def _record(world: World, run: OptimizationRun, job: Object) -> TrialRecord | None:
    spec = run.spec.accepted
    resource = run.spec.baseline.accelerator_resource or spec.accelerator.resource
    pods = observe.pods_of(job, world.job_pods)
    limits = observe.Limits(
        pending_s=world.settings.pending_deadline_s,
        left_s=_left_s(world, run, job, pods, resource),
        accelerator_type=run.spec.accelerator_type,
        accelerator_resource=resource,
        products={
            node["metadata"]["name"]: node["metadata"].get("labels", {}).get(PRODUCT_LABEL, "")
            for node in world.nodes or ()
        },
    )
    record = observe.record_of(job, world.job_pods, limits, world.now)
    readings = world.gpu_readings.get(job["metadata"]["name"], ())
    return record.model_copy(update={"gpu_readings": readings}) if record is not None and readings else record


def _left_s(world: World, run: OptimizationRun, job: Object, pods: list[Object], resource: str) -> float:
    """Seconds that the budget leaves a running trial; verifications are not part of the search. A challenger leaves
    room for the certification, without which nothing can be proposed.
    """
    assignment = observe.assignment_of(job)
    if isinstance(assignment, TrialAssignment) and assignment.purpose == "Verify":
        return observe.UNLIMITED
    live = world.infdep.spec or run.spec.accepted
    used = budget.spent(budget.searching(run.status.trials))
    running = replace(used, gpu_seconds=used.gpu_seconds + observe.gpu_seconds(pods, resource, world.now))
    accelerators = sum(observe.accelerators_of(pod, resource) for pod in pods)
    started = observe.moment(run.created) or world.now
    left = budget.seconds_left(
        live.search.budget, running, accelerators, started=started, now=world.now, gpu_hourly=run.spec.gpu_hourly
    )
    challenges = (
        isinstance(assignment, TrialAssignment)
        and assignment.purpose == "Explore"
        and assignment.candidate not in (AS_IS, verdicts.ORIGINAL)
    )
    return left - budget.certification_s(run.status.trials, live.search.measurement) if challenges else left


def _explore(view: View, standing: Standing, bar: float | None) -> Move | None:
    candidate = standing.candidate
    assert candidate.serving is not None
    if candidate.id in (AS_IS, view.reference.candidate.id):
        text = allowance.refusal(view, standing, reserve=False)
        if text:
            return Conclude(phase="Exhausted", reason=reasons.BUDGET_EXHAUSTED, message=text)
    waiting = without_room(view, standing.gpus_per_replica, "Measuring", f"the trial of {candidate.id}")
    if waiting is not None:
        return waiting
    everything = (*view.run.spec.candidates, *view.status.derived)
    answers = verdicts.answers_by_key(everything, view.status.trials)
    base = answers.get(verdicts.quality_key(view.reference.candidate))
    assignment = assignments.explore(
        view.run,
        candidate,
        standing.attempts + 1,
        bar_rps=bar,
        questions=verdicts.quality_key(candidate) not in answers,
        baseline_answers=base,
        describe_model=candidate.id == AS_IS,
        demand_share_rps=view.share_of_demand(view.run.spec.baseline.replicas) if candidate.id == AS_IS else None,
    )
    return Start(
        job=trial_manifest(view, candidate.serving, assignment),
        phase="Measuring",
        reason=reasons.MEASURING,
        activity=f"{explore_words(view, candidate.id)}, its Job is being started",
    )


def _compress(view: View, artefact: Artefact) -> Move:
    profile = view.world.settings.compress.resources
    resource = view.run.spec.accepted.accelerator.resource
    accelerators = count((profile.get("limits") or {}).get(resource, 0))
    waiting = without_room(view, accelerators, "Compressing", f"compressing {artefact.name}")
    if waiting is not None:
        return waiting
    records, _ = verdicts.deciding(view.status.trials, "Compress", artefact.name)
    job = jobs.compress_job(
        run_name=view.run.name,
        run_uid=view.run.uid,
        infdep_name=view.world.infdep.name,
        namespace=view.world.infdep.namespace,
        target=view.target,
        assignment=assignments.compress(
            view.run,
            artefact,
            len(records) + 1,
            deadline_s=view.world.settings.compress_deadline_s,
            user=view.world.infdep.uid,
            keep=_needed_artefacts(view),
        ),
        settings=view.world.settings,
        spec=view.run.spec.accepted,
    )
    text = f"{_artefact_words(view, artefact.name)}: its compress Job is being started"
    return Start(job=job, phase="Compressing", reason=reasons.COMPRESSING, activity=text)


def _needed_artefacts(view: View) -> set[str]:
    """Names of the artefacts that serve now, served before, or belong to a candidate; an empty one may be there."""
    recorded = baselines.recorded(view.target)
    served = [known.serving.artefact for known in (view.run.spec.baseline, recorded) if known is not None]
    live = [template.mounted_artefact(one) for one in template.pod_spec(view.target).get("containers", ())]
    return {*served, *live, *(one.name for one in view.artefacts)}


def _missing_artefact(view: View, candidate: Candidate) -> Artefact | None:
    name = candidate.serving.artefact if candidate.serving else ""
    return next((one for one in view.artefacts if one.name == name and one.state == "Pending"), None)


def _unreadable(view: View) -> Conclude | None:
    """An input that the first trial could not read: said at once, not after the retries."""
    records, _ = verdicts.deciding(view.status.trials, "Explore", AS_IS)
    for beginning, (reason, field) in UNREADABLE.items():
        if records and records[-1].reason.startswith(beginning):
            text = f"{field}: {records[-1].reason}. Correct the field; or the file, and set a new spec.search.rerun"
            return Conclude(phase="Failed", reason=reason, message=text)
    return None


def _baseline_problem(view: View) -> Conclude | None:
    """Without the baseline's answers nothing can be compared with it."""
    for needed in (view.as_is, view.reference):
        if needed.outcome in ("EngineFailed", "EngineHung", "Void", "Unsupported"):
            text = f"the baseline ({needed.candidate.id}) could not be measured: {needed.outcome}: {needed.reason}"
            return Conclude(phase="Failed", reason=reasons.BASELINE_FAILED, message=text)
    if not view.basis.workload.known:
        text = "the baseline's trial reported nothing of the trace: the trial image is older than the operator"
        return Conclude(phase="Failed", reason=reasons.BASELINE_FAILED, message=text)
    standing = view.reference
    if standing.report is not None and standing.report.answers is not None:
        return None
    if standing.outcome == "MissedSLO":
        return Conclude(
            phase="Exhausted",
            reason=reasons.SLO_UNREACHABLE,
            message=f"spec.slo: the idle baseline misses the limits before any question could be asked: "
            f"{standing.reason}. Raise the limit above what one request alone takes, or serve on faster accelerators",
        )
    return Conclude(phase="Failed", reason=reasons.BASELINE_FAILED, message="the baseline's trial reported no answers")


def _frozen(view: View) -> Accepted:
    """The run's own inputs."""
    spec = view.run.spec
    return Accepted(
        spec=spec.accepted,
        target=view.target,
        baseline=spec.baseline,
        accelerator_type=spec.accelerator_type,
        gpu_hourly=spec.gpu_hourly,
    )


def _artefact_words(view: View, name: str) -> str:
    recipe = next((one.recipe for one in view.artefacts if one.name == name), name)
    return f"weights {recipe}"


def _when(pods: list[Object]) -> str:
    """Absolute, so that the sentence does not change while nothing happens."""
    starts = [pod["status"]["startTime"] for pod in pods if pod.get("status", {}).get("startTime")]
    if starts:
        return f"since {min(starts)}"
    waits = next((text for pod in pods if (text := observe.unscheduled(pod))), "")
    return f"its pod waits for a node: {waits}" if waits else "its pod has not started yet"
