"""Where the scenarios play: node, chart, target and the InferenceDeployment they apply, with ways to look at them.

The target is badly set on purpose: ``--max-num-seqs 1`` serves one request at a time. So a batch limit carries several
times the rate on one replica, on any machine, and the way from search to rewrite does not hang on a machine's speed.
"""

import copy
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from e2e.demo import narration
from e2e.images import build, store
from e2e.model import questions
from e2e.scenarios import garbage
from e2e.scenarios.witness import Witness
from e2e.stage import objects, setting, traffic
from e2e.stage.kubectl import Kubectl, Object, condition, wait_for
from rightsizer_operator.manifests import labels
from rightsizer_operator.resource.run import RunSpec, RunStatus

FOLDER = store.REPOSITORY / "build" / "scenarios"
SIZE = "26M"
SLOTS = 3
REPLICAS = 2
BATCH = 16
"""The batch limit that is tried beside the one the target has."""
QUESTIONS = 300
MAX_DROP_POINTS = "4.0"
FIRST_TOKEN_S = 25
OPERATOR = "app.kubernetes.io/name=rightsizer"
SATURATION_S = 10
DEMAND_OF_SATURATION = 2.0
"""Demand as a multiple of what one replica as found can do: more than one carries with lighter weights, so that nothing
is left untried, and far less than one carries with batching.
"""
START_LIMIT_S = 400
SEARCH_LIMIT_S = 1800
REWRITE_LIMIT_S = 1200


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One node with the chart; made once for all scenarios."""

    kubectl: Kubectl
    place: setting.Place
    witness: Witness
    say: Callable[[str], None]

    # --- looking

    @property
    def infdep(self) -> Object:
        return self.kubectl.get("infdep", objects.TARGET, objects.NAMESPACE) or {}

    @property
    def target(self) -> Object:
        return self.kubectl.get("deployment", objects.TARGET, objects.NAMESPACE) or {}

    @property
    def run(self) -> Object | None:
        """The run that the InferenceDeployment's status rests on."""
        name = self.infdep.get("status", {}).get("runRef", {}).get("name")
        return self.kubectl.get("optrun", name, objects.NAMESPACE) if name else None

    def jobs(self) -> list[Object]:
        return self.kubectl.list("jobs", objects.NAMESPACE, labels.selector())

    def job_pods(self) -> list[Object]:
        return self.kubectl.list("pods", objects.NAMESPACE, labels.selector())

    def running_trial(self) -> Object | None:
        """The Job whose client runs now."""
        for pod in self.job_pods():
            states = [one["state"] for one in pod["status"].get("containerStatuses", ())]
            if any("running" in state for state in states):
                return self.kubectl.get("job", pod["metadata"]["labels"]["job-name"], objects.NAMESPACE)
        return None

    def leader(self) -> str:
        """Name of the operator's pod that holds the Lease."""
        lease = self.kubectl.get("lease", "rightsizer", objects.SYSTEM_NAMESPACE) or {}
        return str(lease.get("spec", {}).get("holderIdentity", ""))

    def operators(self) -> list[Object]:
        return self.kubectl.list("pods", objects.SYSTEM_NAMESPACE, OPERATOR)

    # --- acting

    def cli(self, *arguments: str) -> str:
        """The project's command line, as a user with this kubeconfig runs it."""
        program = str(Path(sys.executable).with_name("kubectl-rightsizer"))
        return self.kubectl.run(*arguments, "-n", objects.NAMESPACE, program=program)

    def serve(self) -> None:
        """The target as a team would have applied it, Ready. What an earlier session left is removed first."""
        for kind in ("infdep", "deployment"):
            self.kubectl.run("delete", kind, objects.TARGET, "-n", objects.NAMESPACE, "--ignore-not-found")
        wait_for(lambda: not self.kubectl.list("pods", objects.NAMESPACE), "an empty namespace", 90)
        for rest in (self.place.models / "artefacts").iterdir():
            shutil.rmtree(rest)
        self.kubectl.apply(target())
        what = f"{REPLICAS} replicas of the target are Ready"
        wait_for(lambda: setting.ready_replicas(self.kubectl) == REPLICAS, what, START_LIMIT_S)

    def demand(self) -> float:
        """Requests a second: the stated multiple of a short saturation of one replica."""
        pod = self.kubectl.list("pods", objects.NAMESPACE, f"app={objects.TARGET}")[0]
        address = f"http://{pod['status']['podIP']}:{objects.ENGINE_PORT}"
        found = traffic.saturate(self.kubectl, address, SATURATION_S)
        self.say(f"one replica as found saturates at {found.rps:.2f} requests/s")
        return found.rps * DEMAND_OF_SATURATION

    def follow(self, done: Callable[[Object], bool], what: str, limit_s: float) -> Object:
        """Tell what changes until ``done`` with a look at {"infdep", "optrun"}; returns that look."""
        last: Object = {}

        def look() -> Object | None:
            nonlocal last
            now: Object = {"infdep": self.infdep, "optrun": self.run}
            for line in narration.lines(last, now):
                self.say(line)
            last = now
            return now if done(now) else None

        found: Object = wait_for(look, what, limit_s, pause_s=3.0)
        return found


def target() -> list[Object]:
    """The demo's Deployment with its Service, smaller, one request at a time, with the scenarios' fault."""
    deployment, service = copy.deepcopy(objects.target(build.reference("engine-cpu"), REPLICAS))
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["args"] += ["--max-num-seqs", "1"]
    container["env"].append({"name": "PYTHONPATH", "value": f"/models/{garbage.PLUGINS}"})
    return [deployment, service]


def inference_deployment(demand_rps: float) -> Object:
    """Every weight format, one batch limit; short steps with the wider error they bring; nothing taken over yet."""
    wanted = objects.Intent(
        request_rate=f"{demand_rps:.2f}", precisions=("AsIs", "INT8", "INT4", "FP8", "INT8W8A16"), kv_cache=("Auto",),
        questions=QUESTIONS, ttft_ms=5000, itl_ms=1000, max_num_seqs=(BATCH,),
    )  # fmt: skip
    found = objects.inference_deployment(wanted)
    spec = found["spec"]
    spec["targetRef"]["takeOwnership"] = False
    spec["quality"]["maxDropPoints"] = MAX_DROP_POINTS
    spec["quality"]["questionSet"]["path"] = "questions/short.jsonl"
    spec["search"]["budget"] = {"gpuHours": "1", "deadlineMinutes": 40, "maxTrials": 16}
    spec["search"]["measurement"] = {
        "probeSeconds": 8, "saturationSeconds": 8, "warmupSeconds": 3, "maxProbes": 3, "targetErrorPercent": 25,
        "certificationSeconds": 15, "verificationSeconds": 15, "saturationConcurrency": 16,
        "readySeconds": 300, "firstTokenSeconds": FIRST_TOKEN_S,
    }  # fmt: skip
    return found


def write_questions(models: Path) -> None:
    """The beginning of the question set: enough for a wide margin."""
    questions.write_lines(models / "questions" / "short.jsonl", questions.question_set(QUESTIONS))


def decided(look: Object) -> bool:
    """The search has ended, one way or another."""
    optimized = condition(look["infdep"], "Optimized").get("status")
    return optimized in ("True", "False") or condition(look["infdep"], "Stalled").get("status") == "True"


def spec_of(run: Object) -> RunSpec:
    return RunSpec.model_validate(run["spec"])


def status_of(run: Object) -> RunStatus:
    return RunStatus.model_validate(run["status"])


def intent_of(deployment: Object) -> str:
    """What a Deployment asks for, byte for byte: its spec and its annotations, the controller's own left out."""
    annotations = {
        key: value
        for key, value in (deployment["metadata"].get("annotations") or {}).items()
        if not key.startswith("deployment.kubernetes.io/")
    }
    return json.dumps([deployment["spec"], annotations], sort_keys=True)
