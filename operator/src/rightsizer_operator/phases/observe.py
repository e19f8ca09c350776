"""What a Job came to: its pods as the operator sees them overrule its report. Called by ``measure`` and ``rewrite``.

Returns records, changes nothing. Only measured outcomes are evidence about a candidate; everything else is Void or
Error and is repeated.
"""

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rightsizer_jobs.contract import (
    ASSIGNMENT_VARIABLE,
    REPORT_LIMIT_BYTES,
    CompressAssignment,
    CompressReport,
    TrialAssignment,
    TrialReport,
    load_assignment,
    load_report,
)
from rightsizer_operator.manifests import jobs
from rightsizer_operator.resource.base import count
from rightsizer_operator.resource.conditions import rfc3339
from rightsizer_operator.resource.run import TrialRecord
from rightsizer_operator.sizing import gpus
from rightsizer_operator.world import Object

CLIENTS, ENGINE = ("trial", "compress"), "engine"
BAD_IMAGE = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError")
IMAGE_PATIENCE_S = 300
"""How long an image may fail to be pulled before the trial is given up: registries have bad minutes."""
UNLIMITED = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the operator itself allows a Job. Seconds."""

    pending_s: float
    left_s: float = UNLIMITED
    """What the run's budget still allows, from now on."""
    accelerator_type: str = ""
    accelerator_resource: str = ""
    products: dict[str, str] | None = None
    """Accelerator product by node name, where nodes carry the label."""


@dataclass(frozen=True, slots=True)
class Finding:
    outcome: str
    reason: str
    report: str = ""
    log_tail: str = ""


def assignment_of(job: Object) -> TrialAssignment | CompressAssignment | None:
    """The assignment a Job was given; None where it cannot be read."""
    for container in _pod_spec(job).get("containers", []):
        for variable in container.get("env") or []:
            if variable.get("name") == ASSIGNMENT_VARIABLE:
                try:
                    return load_assignment(variable.get("value", ""))
                except ValueError:
                    return None
    return None


def pods_of(job: Object, pods: Sequence[Object]) -> list[Object]:
    """The Job's pods, by controller reference."""
    uid = job["metadata"].get("uid")
    return [
        pod for pod in pods
        if any(owner.get("uid") == uid for owner in pod.get("metadata", {}).get("ownerReferences") or [])
    ]  # fmt: skip


def record_of(job: Object, pods: Sequence[Object], limits: Limits, now: datetime.datetime) -> TrialRecord | None:
    """The finished Job as a record; None while it goes on."""
    own = pods_of(job, pods)
    finding = _finding(job, own, limits, now)
    if finding is None:
        return None
    assignment = assignment_of(job)
    if assignment is None:
        return None
    trial = assignment if isinstance(assignment, TrialAssignment) else None
    subject = trial.candidate if trial else getattr(assignment, "artefact", "")
    rate = (trial.rate_rps or trial.rate_to_beat_rps) if trial else None
    started = min((start for pod in own if (start := pod_start(pod))), default=None)
    return TrialRecord(
        job=job["metadata"]["name"],
        purpose=trial.purpose if trial else "Compress",
        subject=subject,
        attempt=assignment.attempt,
        outcome=finding.outcome,
        reason=finding.reason[:1024],
        report=finding.report,
        log_tail=finding.log_tail[-2048:],
        rate_rps=gpus.written(rate) if rate else None,
        gpu_seconds=gpu_seconds(own, limits.accelerator_resource, now),
        started_at=rfc3339(started) if started else "",
        finished_at=rfc3339(now),
    )


def gpu_seconds(pods: Sequence[Object], resource: str, now: datetime.datetime) -> int:
    """Accelerator seconds, from pod start to the end of its last container (or now)."""
    total = 0.0
    for pod in pods:
        start, end = pod_start(pod), _pod_end(pod) or now
        if start is not None:
            total += max(0.0, (end - start).total_seconds()) * accelerators_of(pod, resource)
    return round(total)


def accelerators_of(pod: Object, resource: str) -> int:
    """Accelerators a pod holds: its containers and its sidecars together."""
    spec = pod.get("spec", {})
    sidecars = [c for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"]
    return sum(_limit(container, resource) for container in [*(spec.get("containers") or []), *sidecars])


def pod_start(pod: Object) -> datetime.datetime | None:
    return moment(pod.get("status", {}).get("startTime"))


def moment(text: str | None) -> datetime.datetime | None:
    """A Kubernetes time; None where it is absent."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def is_finished(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def condition(thing: Object, type_: str) -> Object | None:
    """The condition of that type where it is True."""
    found = thing.get("status", {}).get("conditions") or []
    return next((c for c in found if c.get("type") == type_ and c.get("status") == "True"), None)


# --- the rules, in order ---


def _finding(job: Object, pods: Sequence[Object], limits: Limits, now: datetime.datetime) -> Finding | None:
    for pod in pods:
        found = _disrupted(pod) or _wrong_product(pod, limits) or _engine(pod) or _bad_image(pod, now)
        if found is not None:
            return found
    ended = next((pod for pod in reversed(pods) if _terminated(_client(pod)) is not None), None)
    if ended is not None:
        return _reported(job, ended)
    return _without_result(job, pods, limits, now)


def _disrupted(pod: Object) -> Finding | None:
    found = condition(pod, "DisruptionTarget")
    if found is None:
        return None
    return Finding("Void", f"the pod was disrupted: {found.get('reason', '')}: {found.get('message', '')}")


def _wrong_product(pod: Object, limits: Limits) -> Finding | None:
    node = pod.get("spec", {}).get("nodeName", "")
    product = (limits.products or {}).get(node, "")
    if not product or not limits.accelerator_type or product == limits.accelerator_type:
        return None
    if not accelerators_of(pod, limits.accelerator_resource):
        return None
    return Finding("Void", f"ran on node {node} with {product}, not on {limits.accelerator_type}")


def _engine(pod: Object) -> Finding | None:
    """A crash of the engine. After the client has ended the sidecar is stopped: that is no crash."""
    status = _status(pod, ENGINE)
    if status is None:
        return None
    crash = (status.get("lastState") or {}).get("terminated")
    if crash is None and _running_client(pod) and not pod["metadata"].get("deletionTimestamp"):
        crash = _terminated(status)
    if crash is None and status.get("restartCount", 0) > 0:
        crash = {}
    if crash is None:
        return None
    return Finding("EngineFailed", _crash_reason(crash), log_tail=crash.get("message", ""))


def _crash_reason(crash: Object) -> str:
    if crash.get("reason") == "OOMKilled":
        return "the engine ran out of memory (OOMKilled): raise the memory limit of the target, or let it use less"
    last_line = next((line for line in reversed((crash.get("message") or "").splitlines()) if line.strip()), "")
    code = crash.get("exitCode")
    exit_ = f" with exit code {code}" if code is not None else ""
    return f"the engine ended{exit_}{': ' + last_line.strip()[:300] if last_line else ''}"


def _bad_image(pod: Object, now: datetime.datetime) -> Finding | None:
    """An image that cannot be had, the engine's or the client's: no engine ran, so nothing is known of it."""
    if _age_s(pod, now) < IMAGE_PATIENCE_S:
        return None
    for status in (_status(pod, ENGINE), _client(pod)):
        waiting = ((status or {}).get("state") or {}).get("waiting") or {}
        if status is not None and waiting.get("reason") in BAD_IMAGE:
            told = f"container {status.get('name')}: {waiting['reason']}: {waiting.get('message', '')}"
            return Finding("Void", told[:1024])
    return None


def _reported(job: Object, pod: Object) -> Finding:
    """The client has ended: its report, or why there is none."""
    terminated = _terminated(_client(pod)) or {}
    text = terminated.get("message") or ""
    if not text:
        return Finding("Error", _no_report(pod, terminated))
    if len(text.encode()) > REPORT_LIMIT_BYTES:
        return Finding("Error", f"the report has {len(text.encode())} bytes, at most {REPORT_LIMIT_BYTES} are allowed")
    try:
        report = load_report(text)
    except ValueError as error:
        cut = " (cut at the kubelet's limit)" if len(text.encode()) >= REPORT_LIMIT_BYTES else ""
        return Finding("Error", f"the report is not valid{cut}: {_first_line(error)}")
    mismatch = _mismatch(assignment_of(job), report)
    if mismatch:
        return Finding("Error", mismatch)
    return Finding(report.outcome, report.reason, report=text)


def _no_report(pod: Object, terminated: Object) -> str:
    if terminated.get("reason") == "OOMKilled":
        return "the client ran out of memory (OOMKilled) and left no report"
    if pod.get("status", {}).get("reason") == "DeadlineExceeded":
        return "the pod reached its deadline before the client reported"
    return f"the client ended with exit code {terminated.get('exitCode')} and left no report"


def _mismatch(assignment: TrialAssignment | CompressAssignment | None, report: TrialReport | CompressReport) -> str:
    """A report has to answer the assignment that was given."""
    if assignment is None:
        return "the Job's assignment cannot be read"
    if isinstance(assignment, TrialAssignment) and isinstance(report, TrialReport):
        asked: tuple[object, ...] = (assignment.purpose, assignment.candidate, assignment.attempt, assignment.seed)
        told: tuple[object, ...] = (report.purpose, report.candidate, report.attempt, report.seed)
        empty = report.outcome == "Succeeded" and sum(probe.requests for probe in report.probes) == 0
        if empty:
            return "the report says Succeeded but holds no sample"
    elif isinstance(assignment, CompressAssignment) and isinstance(report, CompressReport):
        asked, told = (assignment.artefact, assignment.attempt), (report.artefact, report.attempt)
    else:
        return f"a {report.kind} report answers a {assignment.kind} assignment"
    return "" if asked == told else f"the report answers another assignment: {told}, asked was {asked}"


def _without_result(job: Object, pods: Sequence[Object], limits: Limits, now: datetime.datetime) -> Finding | None:
    failed = condition(job, "Failed")
    if failed is not None and jobs.disrupted(job):
        return Finding("Void", f"the pod was disrupted: {failed.get('message', '')}")
    if failed is not None:
        ran = any(pod_start(pod) for pod in pods)
        told = f"{failed.get('reason', '')}: {failed.get('message', '')}"
        return Finding("Error" if ran else "Void", f"the Job failed without a report: {told}")
    if condition(job, "Complete") is not None:
        return Finding("Error", "the Job completed but its pod is gone, and the report with it")
    if job.get("spec", {}).get("suspend"):
        return None
    started = any(_running(_client(pod)) or _running(_status(pod, ENGINE)) for pod in pods)
    if not started and _age_s(job, now) > limits.pending_s:
        return Finding("Void", f"no container started within {limits.pending_s:.0f} s: {_pending_reason(pods)}")
    if limits.left_s <= 0 and any(pod_start(pod) for pod in pods):
        return Finding("Void", "the run's budget ended during this trial")
    return None


def unscheduled(pod: Object) -> str:
    """Why the scheduler finds no node for the pod; empty where it did, or has not looked yet."""
    for found in pod.get("status", {}).get("conditions") or []:
        if found.get("type") == "PodScheduled" and found.get("status") == "False":
            return f"{found.get('reason', '')}: {found.get('message', '')}"
    return ""


def _pending_reason(pods: Sequence[Object]) -> str:
    if not pods:
        return "the Job has no pod (quota or admission: see the events of the Job)"
    waits = next((text for pod in pods if (text := unscheduled(pod))), "")
    return waits or "its volumes or sandbox could not be prepared (see the events of the pod)"


# --- reading pods ---


def _status(pod: Object, container: str) -> Object | None:
    status = pod.get("status", {})
    everything: list[Object] = [
        *(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or []),
    ]  # fmt: skip
    return next((found for found in everything if found.get("name") == container), None)


def _client(pod: Object) -> Object | None:
    return next((found for name in CLIENTS if (found := _status(pod, name)) is not None), None)


def _terminated(status: Object | None) -> Object | None:
    return ((status or {}).get("state") or {}).get("terminated")


def _running(status: Object | None) -> bool:
    return bool(((status or {}).get("state") or {}).get("running"))


def _running_client(pod: Object) -> bool:
    return _terminated(_client(pod)) is None


def _pod_end(pod: Object) -> datetime.datetime | None:
    if not is_finished(pod):
        return None
    status = pod["status"]
    everything = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    ends = [moment((_terminated(found) or {}).get("finishedAt")) for found in everything]
    return max((end for end in ends if end is not None), default=None)


def _age_s(thing: Object, now: datetime.datetime) -> float:
    created = moment(thing.get("metadata", {}).get("creationTimestamp"))
    return (now - created).total_seconds() if created else 0.0


def _pod_spec(job: Object) -> Object:
    template: Object = job.get("spec", {}).get("template", {}).get("spec", {})
    return template


def _limit(container: Object, resource: str) -> int:
    resources = container.get("resources") or {}
    value: Any = (resources.get("limits") or {}).get(resource) or (resources.get("requests") or {}).get(resource) or 0
    return count(value)


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
