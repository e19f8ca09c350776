"""Sees what happens while scenarios run: each Job and pod ever, each state of the target, each answer it gave.

Two threads that only read, and ask for one token a second. The tests look at what was seen, not at what is left at the
end.
"""

import contextlib
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPException

from e2e.embedded.client import Client, Object, Refused
from e2e.stage import objects
from rightsizer_operator.manifests import labels

LOOK_EVERY_S = 1.0
PATIENCE_S = 20.0
"""For an answer. Far below the longest silence that the tests allow: a request that nobody answers is no silence of the
service.
"""
JOIN_S = 60.0


@dataclass(frozen=True, slots=True)
class TargetState:
    """The target from ``at`` on (monotonic seconds), until the next one."""

    at: float
    generation: int
    template: str
    """The pod template as canonical JSON."""
    replicas: int
    ready: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a user got: when it was there (monotonic seconds), and the problem; empty: a token."""

    at: float
    problem: str


@dataclass
class Witness:
    """Started by the session's fixture, stopped with it."""

    api: Client
    jobs: dict[str, Object] = field(default_factory=dict)
    """Each Job ever, by uid, as last seen."""
    pods: dict[str, Object] = field(default_factory=dict)
    """Each pod of a Job of ours ever, by uid, as last seen."""
    runs: dict[str, str] = field(default_factory=dict)
    """Name of each OptimizationRun ever, by uid."""
    target: list[TargetState] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def watching(self) -> Iterator["Witness"]:
        threads = [threading.Thread(target=loop, daemon=True) for loop in (self._look, self._ask)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(JOIN_S)

    def named(self, job: str) -> list[Object]:
        """Every Job that ever had this name."""
        return [one for one in self.jobs.values() if one["metadata"]["name"] == job]

    def states(self, since: float) -> list[TargetState]:
        """States of the target after ``since``, with the one it was in then."""
        earlier = [one for one in self.target if one.at <= since]
        return [*earlier[-1:], *(one for one in self.target if one.at > since)]

    def _look(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            with contextlib.suppress(OSError, Refused, LookupError):  # a busy machine; the next look comes soon
                self._note()

    def _note(self) -> None:
        for pod in self.api.list("v1", "Pod", objects.NAMESPACE, labels.selector()):
            self.pods[pod["metadata"]["uid"]] = pod
        for job in self.api.list("batch/v1", "Job", objects.NAMESPACE, labels.selector()):
            self.jobs[job["metadata"]["uid"]] = job
        for run in self.api.list("rightsizer.dev/v1alpha1", "OptimizationRun", objects.NAMESPACE):
            self.runs[run["metadata"]["uid"]] = run["metadata"]["name"]
        found = self.api.find("apps/v1", "Deployment", objects.TARGET, objects.NAMESPACE)
        if found is not None:
            self._note_target(found)

    def _note_target(self, found: Object) -> None:
        state = TargetState(
            at=time.monotonic(),
            generation=found["metadata"]["generation"],
            template=json.dumps(found["spec"]["template"], sort_keys=True),
            replicas=found["spec"]["replicas"],
            ready=found.get("status", {}).get("readyReplicas", 0),
        )
        if not self.target or (self.target[-1].generation, self.target[-1].ready) != (state.generation, state.ready):
            self.target.append(state)

    def _ask(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            with contextlib.suppress(OSError, Refused, LookupError):
                service = self.api.find("v1", "Service", objects.TARGET, objects.NAMESPACE)
                if service is not None:
                    problem = one_token(f"http://{service['spec']['clusterIP']}/v1/completions")
                    self.answers.append(Answer(time.monotonic(), problem))


def one_token(url: str) -> str:
    """Ask the service for one token under the name that its users know; the problem, empty where it came."""
    body = json.dumps({"model": objects.TARGET, "prompt": list(range(5, 21)), "max_tokens": 1}).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=PATIENCE_S) as answer:
            found = json.load(answer)["usage"]["completion_tokens"]
    except (OSError, HTTPException, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return "" if found == 1 else f"{found} tokens"
