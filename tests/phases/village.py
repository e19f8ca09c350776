"""A cluster as a dict: keeps objects, performs Steps write by write (and can be killed between any two), plays Jobs
and roll-outs.

Job results come from a script: a function from the assignment to a report, or to the pod status that a failure would
leave.
"""

import copy
import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rightsizer_jobs.contract import CompressAssignment, TrialAssignment, dump_report
from rightsizer_operator.actions import Action, ApplyTarget, CreateJob, CreateRun, DeleteJob, DeleteRun, EmitEvent
from rightsizer_operator.phases import advance, observe
from rightsizer_operator.resource.run import RunSpec, RunStatus
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.resource.status import InferenceDeploymentStatus, PeakReading
from rightsizer_operator.settings import Settings
from rightsizer_operator.world import InferenceDeployment, OptimizationRun, Rival, Step, Unread, World
from tests.phases import builders
from tests.phases.builders import NOW, SLOT, Object

Assignment = TrialAssignment | CompressAssignment
Script = Callable[[Assignment], Any]
OURS = ("rightsizer-models", "rightsizer-engine-config")


class Killed(Exception):
    """The operator was killed before this write."""


def capacities(**by_candidate: float) -> Script:
    """Every engine works; candidates differ in capacity (underscores stand for dashes)."""
    known = {name.replace("_", "-"): rate for name, rate in by_candidate.items()}

    def play(assignment: Assignment) -> Any:
        if isinstance(assignment, CompressAssignment):
            return builders.a_compress_report(assignment)
        if assignment.purpose == "Verify":
            return builders.a_report(assignment, capacity=1000.0)
        return builders.a_report(assignment, capacity=known.get(assignment.candidate, 2.5))

    return play


@dataclass
class Village:
    spec: InferenceDeploymentSpec = field(default_factory=builders.a_spec)
    script: Script = field(default_factory=lambda: capacities(as_is=2.5, int8=4.0, int4=3.0))
    settings: Settings = field(default_factory=builders.some_settings)
    target: Object | None = field(default_factory=builders.a_target)
    nodes: list[Object] | None = field(default_factory=lambda: [builders.a_node()])
    claim: Object | None = field(default_factory=builders.a_claim)
    rivals: tuple[Rival, ...] = ()
    scalers: tuple[str, ...] = ()
    now: datetime.datetime = NOW
    peak: PeakReading | Unread | None = None
    job_s: int = 600
    """How long every Job runs."""

    def __post_init__(self) -> None:
        self.generation = 1
        self.revision = 0
        self.status = InferenceDeploymentStatus()
        self.runs: dict[str, OptimizationRun] = {}
        self.jobs: dict[str, Object] = {}
        self.pods: dict[str, Object] = {}
        self.replica_sets: list[Object] = []
        self.target_pods: list[Object] = []
        self.events: list[EmitEvent] = []
        self.writes: list[str] = []
        self.applied: list[Object] = []
        self.created_jobs: list[str] = []
        self.kill_before: int | None = None
        self.broken_image = ""
        self.conflicts: tuple[str, ...] = ()
        if self.target is not None:
            self.roll()

    # --- reading ---

    def world(self) -> World:
        ref = self.status.run_ref
        run = self.runs.get(ref.name) if ref else None
        mine = [job for job in self.jobs.values() if run and job["metadata"]["ownerReferences"][0]["uid"] == run.uid]
        uids = {job["metadata"]["uid"] for job in self.jobs.values()}
        return World(
            now=self.now,
            settings=self.settings,
            infdep=InferenceDeployment(
                namespace="ml",
                name="chat",
                uid="infdep-uid",
                resource_version="1",
                generation=self.generation,
                created="2026-03-01T11:00:00Z",
                annotations={},
                spec=self.spec,
                status=self.status,
            ),
            rivals=self.rivals,
            target=copy.deepcopy(self.target),
            target_pods=tuple(copy.deepcopy(self.target_pods)),
            replica_sets=tuple(copy.deepcopy(self.replica_sets)),
            scalers=self.scalers,
            claim=self.claim,
            nodes=None if self.nodes is None else tuple(self.nodes),
            accelerators_used={"node": self.used()},
            peak=self.peak,
            run=run,
            run_names=tuple((one.name, one.uid, one.created) for one in self.runs.values()),
            jobs=tuple(copy.deepcopy(mine)),
            job_pods=tuple(
                copy.deepcopy(pod) for pod in self.pods.values() if pod["metadata"]["ownerReferences"][0]["uid"] in uids
            ),
            conflicts=self.conflicts,
        )

    def used(self) -> int:
        alive = [pod for pod in self.pods.values() if not observe.is_finished(pod)]
        return sum(observe.accelerators_of(pod, SLOT) for pod in [*alive, *self.target_pods])

    @property
    def run(self) -> OptimizationRun:
        assert self.status.run_ref is not None
        return self.runs[self.status.run_ref.name]

    def condition(self, type_: str) -> tuple[str, str]:
        """Status and reason."""
        found = next(one for one in self.status.conditions if one.type == type_)
        return found.status, found.reason

    def message(self, type_: str) -> str:
        return next(one.message for one in self.status.conditions if one.type == type_)

    # --- writing, in the order that reconcile promises ---

    def perform(self, step: Step) -> None:
        if step.run_status is not None and self.status.run_ref is not None:
            name = self.status.run_ref.name
            if name in self.runs and self.runs[name].status != step.run_status:
                self._write(f"run status {name}")
                stored = RunStatus.model_validate(step.run_status.wire())
                self.runs[name] = replaced(self.runs[name], status=stored)
        for action in step.actions:
            self._act(action)
        if step.status != self.status:
            self._write("status")
            self.status = InferenceDeploymentStatus.model_validate(step.status.wire())

    def _write(self, what: str) -> None:
        if self.kill_before is not None and len(self.writes) == self.kill_before:
            self.kill_before = None
            raise Killed(what)
        self.writes.append(what)

    def _act(self, action: Action) -> None:
        if isinstance(action, EmitEvent):
            self.events.append(action)
        elif isinstance(action, CreateRun):
            self._create_run(action.manifest)
        elif isinstance(action, CreateJob):
            self._create_job(action.manifest)
        elif isinstance(action, DeleteJob):
            self._write(f"delete job {action.name}")
            job = self.jobs.pop(action.name, None)
            if job is not None:
                self.pods = {
                    name: pod for name, pod in self.pods.items()
                    if pod["metadata"]["ownerReferences"][0]["uid"] != job["metadata"]["uid"]
                }  # fmt: skip
        elif isinstance(action, DeleteRun):
            self._write(f"delete run {action.name}")
            self.runs.pop(action.name, None)
        elif isinstance(action, ApplyTarget):
            self._apply(action)

    def _create_run(self, manifest: Object) -> None:
        name = manifest["metadata"]["name"]
        if name in self.runs:
            return
        self._write(f"create run {name}")
        self.runs[name] = OptimizationRun(
            name=name,
            uid=f"run-{sum(write.startswith('create run') for write in self.writes)}",
            resource_version="1",
            created=stamp(self.now),
            spec=RunSpec.model_validate(manifest["spec"]),
        )

    def _create_job(self, manifest: Object) -> None:
        name = manifest["metadata"]["name"]
        if name in self.jobs:
            return
        self._write(f"create job {name}")
        assert name not in self.created_jobs, f"Job {name} was made twice"
        self.created_jobs.append(name)
        job = copy.deepcopy(manifest)
        job["metadata"] |= {"uid": f"job-{len(self.created_jobs)}", "creationTimestamp": stamp(self.now)}
        self.jobs[name] = job

    def _apply(self, action: ApplyTarget) -> None:
        assert self.target is not None
        after = copy.deepcopy(self.target)
        assert action.uid == self.target["metadata"]["uid"]
        apply_intent(after, action.patch)
        if self.target != after:
            self._write("apply target")
            self.target = after
            self.applied.append(action.patch)
            self.roll()

    # --- the rest of the cluster ---

    def roll(self) -> None:
        """The Deployment controller, at once: a ReplicaSet per template, ready pods of the newest one."""
        assert self.target is not None
        template = copy.deepcopy(self.target["spec"]["template"])
        known = [one for one in self.replica_sets if one["template"] == template]
        self.revision += 1
        revision = str(self.revision)
        if known:
            self.replica_sets.remove(known[0])
        name = known[0]["metadata"]["name"] if known else f"chat-{revision}"
        annotations = {"deployment.kubernetes.io/revision": revision}
        owner = [{"uid": self.target["metadata"]["uid"], "controller": True}]
        meta = {"name": name, "uid": name, "annotations": annotations, "ownerReferences": owner}
        self.replica_sets.append({"metadata": meta, "template": template})
        generation = self.target["metadata"]["generation"] + 1
        self.target["metadata"]["generation"] = generation
        self.target["metadata"].setdefault("annotations", {}).update(annotations)
        count = self.target["spec"]["replicas"]
        artefact_mounted = any(m.get("subPath") for m in template["spec"]["containers"][0].get("volumeMounts", []))
        healthy = not (self.broken_image and artefact_mounted)
        self.target["status"] = builders.settled_status(count, generation)
        if not healthy:
            self.target["status"] |= {"updatedReplicas": 1, "replicas": count + 1}
            self.target["status"]["conditions"] = [
                {
                    "type": "Progressing",
                    "status": "False",
                    "reason": "ProgressDeadlineExceeded",
                    "message": self.broken_image,
                }
            ]
        self.target_pods = [self._serving_pod(name, index, template["spec"]) for index in range(count)]

    def _serving_pod(self, replica_set: str, index: int, spec: Object) -> Object:
        return {
            "metadata": {
                "name": f"{replica_set}-{index}",
                "ownerReferences": [{"uid": replica_set}],
                "labels": {"app": "chat"},
            },
            "spec": {**copy.deepcopy(spec), "nodeName": "node"},
            "status": {
                "phase": "Running",
                "podIP": f"10.1.0.{index + 1}",
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }

    def play_jobs(self) -> None:
        """Every Job gets its pod, runs, and ends as the script says."""
        for name, job in list(self.jobs.items()):
            if name in self.pods:
                continue
            assignment = observe.assignment_of(job)
            assert assignment is not None
            result = self.script(assignment)
            start = self.now
            self.now += datetime.timedelta(seconds=self.job_s)
            self.pods[name] = a_job_pod(job, start, self.now, result)

    def tick(self) -> Step:
        """One reconcile."""
        world = self.world()
        step = advance(world)
        assert advance(world) == step
        self.perform(step)
        return step

    def settle(self, most: int = 200) -> None:
        """Reconcile and play until a look changes nothing."""
        for _ in range(most):
            before = len(self.writes)
            try:
                self.tick()
            except Killed:
                continue
            if len(self.writes) == before and not (set(self.jobs) - set(self.pods)):
                return
            self.play_jobs()
            self.now += datetime.timedelta(seconds=1)
        raise AssertionError(f"did not settle: {self.status.activity}; last writes {self.writes[-6:]}")

    def change(self, **changes: Any) -> None:
        """The user edits the spec."""
        self.spec = InferenceDeploymentSpec.model_validate(builders.merged(self.spec.wire(), changes))
        self.generation += 1

    def approve(self) -> None:
        assert self.status.proposal is not None
        self.change(updatePolicy={"approvedProposal": self.status.proposal.hash})


def a_job_pod(job: Object, start: datetime.datetime, end: datetime.datetime, result: Any) -> Object:
    """The finished pod of a Job: ``result`` is a report, or a dict merged over the pod's status."""
    spec = copy.deepcopy(job["spec"]["template"]["spec"])
    client = spec["containers"][0]["name"]
    message = dump_report(result) if not isinstance(result, dict) else ""
    ended = {"exitCode": 0, "startedAt": stamp(start), "finishedAt": stamp(end), "message": message}
    status: Object = {
        "phase": "Succeeded",
        "startTime": stamp(start),
        "containerStatuses": [{"name": client, "restartCount": 0, "state": {"terminated": ended}}],
        "initContainerStatuses": [
            {"name": "engine", "restartCount": 0, "state": {"terminated": {"exitCode": 0, "finishedAt": stamp(end)}}}
        ],
    }
    if isinstance(result, dict):
        status |= result
    name = job["metadata"]["name"]
    return {
        "metadata": {
            "name": f"{name}-x",
            "labels": job["metadata"]["labels"],
            "creationTimestamp": stamp(start),
            "ownerReferences": [{"uid": job["metadata"]["uid"], "controller": True}],
        },
        "spec": {**spec, "nodeName": "node"},
        "status": status,
    }


def apply_intent(deployment: Object, patch: Object) -> None:
    """Server-side apply by one manager: sets what the intent holds, removes what only an earlier intent held."""
    wanted = patch["spec"]["template"]["spec"]["containers"][0]
    container = next(
        one for one in deployment["spec"]["template"]["spec"]["containers"] if one["name"] == wanted["name"]
    )
    mounts = [one for one in container.get("volumeMounts", []) if one["mountPath"] != "/rightsizer/model"]
    container.update({key: value for key, value in wanted.items() if key not in ("volumeMounts", "resources")})
    container["volumeMounts"] = [*mounts, *wanted.get("volumeMounts", [])]
    for kind, values in wanted.get("resources", {}).items():
        container["resources"].setdefault(kind, {}).update(values)
    pod = deployment["spec"]["template"]["spec"]
    volumes = [one for one in pod.get("volumes", []) if one["name"] not in OURS]
    pod["volumes"] = [*volumes, *patch["spec"]["template"]["spec"].get("volumes", [])]
    annotations = deployment["metadata"].setdefault("annotations", {})
    for key in [
        key for key in annotations if key.startswith("rightsizer.dev/") and key != "rightsizer.dev/released-fields"
    ]:
        del annotations[key]
    annotations.update(patch["metadata"].get("annotations", {}))
    if "replicas" in patch["spec"]:
        deployment["spec"]["replicas"] = patch["spec"]["replicas"]


def replaced(run: OptimizationRun, status: RunStatus) -> OptimizationRun:
    return OptimizationRun(
        name=run.name,
        uid=run.uid,
        resource_version=run.resource_version,
        created=run.created,
        spec=run.spec,
        status=status,
    )


def stamp(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
