"""Plays the node of a control plane that has none: places pods, makes them serve, and ends Job pods with a report.

Only what a kubelet writes is written (bindings and pod status); Deployments, ReplicaSets and Jobs follow by their real
controllers. ``answer`` gets the assignment a Job carries and says how it ends: a report, ``Crash``, or None (not yet).
"""

import datetime
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from e2e.embedded.client import Client, Refused
from rightsizer_jobs import contract

Object = dict[str, Any]
Assignment = contract.TrialAssignment | contract.CompressAssignment
Report = contract.TrialReport | contract.CompressReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """The pod's client ends without a report; ``engine_restarts`` and ``engine_log`` as the kubelet would show them."""

    exit_code: int = 1
    message: str = ""
    engine_restarts: int = 0
    engine_log: str = ""


Answer = Report | Crash | None


@dataclass(slots=True, kw_only=True)
class JobPlayer:
    """One node with ``accelerators`` of one resource; call ``tick`` until what is waited for has happened."""

    api: Client
    namespace: str
    answer: Callable[[Assignment], Answer]
    accelerators: int = 5
    resource: str = "nvidia.com/gpu"
    node: str = ""
    ended: list[str] = field(default_factory=list)
    """Names of the Jobs whose pod was ended, in order."""

    def start(self) -> None:
        """Make the node; ``stop`` removes it."""
        self.node = self.node or f"node-{self.namespace}"
        self.api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.node}})
        amounts = {self.resource: str(self.accelerators), "cpu": "64", "memory": "512Gi", "pods": "200"}
        ready = {"type": "Ready", "status": "True", "reason": "Played", "lastHeartbeatTime": now()}
        status = {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}
        self.api.patch("v1", "Node", self.node, body={"status": status}, subresource="status")

    def stop(self) -> None:
        self.api.delete("v1", "Node", self.node)

    def tick(self) -> None:
        """One round: heartbeat, then every pod of the namespace one step further."""
        self._heartbeat()
        pods = self.api.list("v1", "Pod", self.namespace)
        for pod in pods:
            try:
                self._step(pod, pods)
            except Refused as refused:
                if refused.code not in (404, 409):  # gone, or changed by its controller: next round
                    raise

    def _step(self, pod: Object, pods: list[Object]) -> None:
        if pod["metadata"].get("deletionTimestamp"):
            self._remove(pod)
        elif not pod["spec"].get("nodeName"):
            self._place(pod, pods)
        elif pod["status"].get("phase") == "Pending":
            self._run(pod)
        elif pod["status"].get("phase") == "Running" and (assignment := assignment_of(pod)):
            self._end(pod, assignment)

    def _place(self, pod: Object, pods: list[Object]) -> None:
        used = Counter[str]()
        for other in pods:
            if other["spec"].get("nodeName") and other["status"].get("phase") in ("Pending", "Running"):
                used[self.resource] += wanted(other, self.resource)
        if used[self.resource] + wanted(pod, self.resource) > self.accelerators:
            return
        pod["spec"]["nodeName"] = self.node  # seen by the next pod of this round
        target = {"apiVersion": "v1", "kind": "Node", "name": self.node}
        metadata = {"name": pod["metadata"]["name"], "namespace": self.namespace}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}
        path = self.api.path("v1", "Pod", pod["metadata"]["name"], self.namespace, "binding")
        self.api.request(path, "POST", binding)

    def _run(self, pod: Object) -> None:
        running = {"running": {"startedAt": now()}}
        status = {
            "phase": "Running",
            "startTime": now(),
            "podIP": "127.0.0.1",
            "podIPs": [{"ip": "127.0.0.1"}],
            "conditions": [{"type": kind, "status": "True"} for kind in ("Initialized", "Ready", "ContainersReady")],
            "containerStatuses": statuses(pod["spec"]["containers"], running),
            "initContainerStatuses": statuses(pod["spec"].get("initContainers") or [], running),
        }
        self._write(pod, status)

    def _end(self, pod: Object, assignment: Assignment) -> None:
        answer = self.answer(assignment)
        if answer is None:
            return
        crashed = isinstance(answer, Crash)
        code = answer.exit_code if isinstance(answer, Crash) else 0
        message = answer.message if isinstance(answer, Crash) else contract.dump_report(answer)
        client = {"terminated": {"exitCode": code, "message": message, "startedAt": now(), "finishedAt": now()}}
        engine = {"terminated": {"exitCode": 0, "startedAt": now(), "finishedAt": now()}}
        engines = statuses(pod["spec"].get("initContainers") or [], engine, ready=False)
        for found in engines if isinstance(answer, Crash) else []:
            found["restartCount"] = answer.engine_restarts
            last = {"terminated": {"exitCode": 1, "message": answer.engine_log, "finishedAt": now()}}
            found |= {"lastState": last} if answer.engine_restarts else {}
        status = {
            "phase": "Failed" if crashed and code else "Succeeded",
            "conditions": [{"type": kind, "status": "False"} for kind in ("Ready", "ContainersReady")],
            "containerStatuses": statuses(pod["spec"]["containers"], client, ready=False),
            "initContainerStatuses": engines,
        }
        self._write(pod, status)
        self.ended.append(pod["metadata"]["labels"]["job-name"])

    def _remove(self, pod: Object) -> None:
        path = self.api.path("v1", "Pod", pod["metadata"]["name"], self.namespace)
        self.api.request(path, "DELETE", {"gracePeriodSeconds": 0})

    def _write(self, pod: Object, status: Object) -> None:
        name = pod["metadata"]["name"]
        self.api.patch(
            "v1", "Pod", name, self.namespace, body={"status": status}, how="strategic", subresource="status"
        )

    def _heartbeat(self) -> None:
        """Without it the node would be tainted, and its pods evicted, after 40 seconds."""
        spec = {"holderIdentity": self.node, "leaseDurationSeconds": 40, "renewTime": now(microseconds=True)}
        metadata = {"name": self.node, "namespace": "kube-node-lease"}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        self.api.apply(lease, manager="player", force=True)


def assignment_of(pod: Object) -> Assignment | None:
    """The assignment that a container of the pod carries; None for a pod that is not of a Job of ours."""
    for container in pod["spec"]["containers"]:
        for variable in container.get("env") or []:
            if variable["name"] == contract.ASSIGNMENT_VARIABLE:
                return contract.load_assignment(variable["value"])
    return None


def statuses(containers: list[Object], state: Object, *, ready: bool = True) -> list[Object]:
    return [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": f"played/{container['image']}",
            "restartCount": 0,
            "ready": ready,
            "started": ready,
            "state": json.loads(json.dumps(state)),
        }
        for container in containers
    ]


def wanted(pod: Object, resource: str) -> int:
    spec = pod["spec"]
    containers = [*spec["containers"], *(spec.get("initContainers") or [])]
    return sum(int((found.get("resources", {}).get("limits") or {}).get(resource, 0)) for found in containers)


def now(*, microseconds: bool = False) -> str:
    form = "%Y-%m-%dT%H:%M:%S.%fZ" if microseconds else "%Y-%m-%dT%H:%M:%SZ"
    return datetime.datetime.now(datetime.UTC).strftime(form)
