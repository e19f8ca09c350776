"""The demo from an empty machine to a rewritten Deployment with its report, as steps that can each be repeated.

It uses what a user has: kubectl, helm, `kubectl rightsizer`. It never knows the winner; it measures how fast one
replica is here, states
the demand as a multiple of that, and shows what the operator finds.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.demo import narration
from e2e.demo.progress import Progress
from e2e.embedded import binaries
from e2e.images import store
from e2e.model import volume
from e2e.stage import objects, setting, traffic
from e2e.stage.cluster import Given, Own
from e2e.stage.kubectl import Kubectl, Object, condition
from rightsizer_jobs.contract import Saturation

FOLDER = store.REPOSITORY / "build" / "demo"
DEMAND_OF_SATURATION = 1.0
"""Peak demand as a multiple of what one BF16 replica saturates at. Whether it sustains that alone depends on how fast
the cores are while each of the two is measured (docs/decisions/0004-engine-slot.md).
"""
OFF_PEAK_OF_DEMAND = 0.05
"""What the generator sends until the rewrite is done, as a share of the peak: two cores cannot back the peak
and a trial or starting engines at once. The verify Jobs fill it up to the peak; afterwards it sends the peak itself.
"""
PEAK_S = 60
RUN_LIMIT_S = 3600
ROLLOUT_LIMIT_S = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    progress: Progress
    cluster: Own | Given
    full: bool

    @property
    def place(self) -> setting.Place:
        return setting.Place(folder=FOLDER)

    @property
    def kubectl(self) -> Kubectl:
        return self.cluster.kubectl


def tell(story: Story) -> Object:
    """Everything; returns the result document. Raises what stopped it: TimeoutError, kubectl.Failed, RuntimeError."""
    prepare(story)
    serve(story)
    demand = measure_demand(story)
    ask(story, demand)
    propose(story)
    if proposed(story):
        approve(story)
        apply(story)
        show_peak(story, demand)
    return report(story)


def prepare(story: Story) -> None:
    """Programs, images, environments, model, node, chart."""
    progress = story.progress
    with progress.step("Kubernetes from Go modules, cached by version"):
        story.cluster.check()
        binaries.ensure(binaries.NODE if isinstance(story.cluster, Own) else ("kubectl", "helm"))
    with progress.step("Images from the project's Dockerfiles; engine and compressor environments"):
        archives = setting.images()
        given = setting.host(story.place, "94M" if story.full else "26M")
    with progress.step("A single-node Kubernetes: control plane, containerd, kubelet"):
        story.cluster.up(archives, objects.SLOTS, progress.say)
    with progress.step("Helm chart: CRDs and operator, under PodSecurity restricted and its own RBAC"):
        setting.furnish(story.kubectl, given)
        setting.install(story.kubectl, story.place)


def serve(story: Story) -> None:
    with story.progress.step(
        f"{objects.TARGET}: {objects.REPLICAS} replicas of vLLM's CPU build, BF16, default settings"
    ):
        found = story.kubectl.get("deployment", objects.TARGET, objects.NAMESPACE)
        if found is None:  # a resumed demo must not undo a rewrite
            setting.serve(story.kubectl, objects.REPLICAS)
        setting.await_ready(story.kubectl)


def measure_demand(story: Story) -> float:
    """Peak demand in requests a second: the stated multiple of a 30-second saturation of one replica, measured by the
    code of the trials. Kept for a resumed demo.
    """
    kept = FOLDER / "saturation.json"
    with story.progress.step("Demand: 30 s saturation of one BF16 replica"):
        if not kept.exists():
            pod = next(iter(story.kubectl.list("pods", objects.NAMESPACE, f"app={objects.TARGET}")))
            found = traffic.saturate(story.kubectl, f"http://{pod['status']['podIP']}:{objects.ENGINE_PORT}")
            kept.write_text(found.model_dump_json(indent=1) + "\n")
        found = Saturation.model_validate_json(kept.read_text())
        demand = round(found.rps * DEMAND_OF_SATURATION, 2)
        story.progress.say(
            f"one replica saturates at {found.rps:.2f} requests/s ({found.output_tps:.0f} tokens/s); "
            f"peak demand = {DEMAND_OF_SATURATION} x that = {demand:.2f} requests/s"
        )
        traffic.run(story.kubectl, demand * OFF_PEAK_OF_DEMAND)
        story.progress.say(
            f"the traffic generator sends {OFF_PEAK_OF_DEMAND:.0%} of it (off-peak) until the rewrite is done, "
            "then the peak"
        )
    return demand


def ask(story: Story, demand: float) -> None:
    with story.progress.step("kubectl apply: InferenceDeployment support-chat"):
        wanted = objects.intent(demand, full=story.full, questions=volume.QUESTIONS)
        manifest = FOLDER / "inferencedeployment.json"
        manifest.write_text(json.dumps(objects.inference_deployment(wanted), indent=1) + "\n")
        if story.kubectl.get("infdep", objects.TARGET, objects.NAMESPACE) is None:
            story.kubectl.run("apply", "-f", str(manifest))
        story.progress.say(
            f"p95 TTFT <= {wanted.ttft_ms} ms, p95 ITL <= {wanted.itl_ms} ms, "
            f"drop <= {objects.MAX_DROP_POINTS} points; "
            f"manifest in {manifest.relative_to(store.REPOSITORY)}"
        )


def propose(story: Story) -> None:
    with story.progress.step("The operator searches: baseline, compress Jobs, trials, certification"):
        follow(story, decided, "a proposal or the reason why there is none", RUN_LIMIT_S)


def decided(look: Object) -> bool:
    optimized = condition(look.get("infdep"), "Optimized")
    return (
        optimized.get("status") in ("True", "False") or condition(look.get("infdep"), "Stalled").get("status") == "True"
    )


def proposed(story: Story) -> bool:
    found = story.kubectl.get("infdep", objects.TARGET, objects.NAMESPACE)
    if (found or {}).get("status", {}).get("proposal"):
        return True
    story.progress.say("no configuration is better than the running one on this machine; nothing is changed")
    return False


def approve(story: Story) -> None:
    with story.progress.step("kubectl rightsizer approve support-chat"):
        rightsizer(story, "approve", objects.TARGET, "-n", objects.NAMESPACE)


def apply(story: Story) -> None:
    with story.progress.step("The rewrite: template, verified; replicas, verified; or the way back"):
        follow(story, settled, "Applied, or back at the baseline", ROLLOUT_LIMIT_S)


def show_peak(story: Story, demand: float) -> None:
    """What the users see at the peak: the generator's own figures, which no verdict rests on."""
    with story.progress.step(f"The traffic generator sends the peak, {demand:.2f} requests/s, for {PEAK_S} s"):
        traffic.run(story.kubectl, demand)
        for line in traffic.watch(story.kubectl, PEAK_S):
            story.progress.say(line)


def settled(look: Object) -> bool:
    rollout = ((look.get("optrun") or {}).get("status") or {}).get("rollout") or {}
    applied = condition(look.get("infdep"), "Applied")
    return rollout.get("step") in ("Applied", "RolledBack") and applied.get("status") in ("True", "False")


def report(story: Story) -> Object:
    with story.progress.step("Report: build/demo/report.html and result.json"):
        rightsizer(
            story,
            "report",
            objects.TARGET,
            "-n",
            objects.NAMESPACE,
            "-o",
            "html",
            "--file",
            str(FOLDER / "report.html"),
        )
        rightsizer(
            story,
            "report",
            objects.TARGET,
            "-n",
            objects.NAMESPACE,
            "-o",
            "json",
            "--file",
            str(FOLDER / "result.json"),
        )
        rightsizer(story, "report", objects.TARGET, "-n", objects.NAMESPACE, "-o", "table")
    result: Object = json.loads((FOLDER / "result.json").read_text())
    return result


def follow(story: Story, done: Any, what: str, limit_s: float) -> None:
    """Print what changes on the two resources from now on, until ``done``."""
    last = look(story.kubectl)
    deadline = time.monotonic() + limit_s
    while True:
        now = look(story.kubectl)
        for line in narration.lines(last, now):
            story.progress.say(line)
        if done(now):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"not within {limit_s:.0f} s: {what}; `kubectl rightsizer status {objects.TARGET}` says where it stands"
            )
        last = now
        time.sleep(3)


def look(kubectl: Kubectl) -> Object:
    infdep = kubectl.get("infdep", objects.TARGET, objects.NAMESPACE)
    name = ((infdep or {}).get("status") or {}).get("runRef", {}).get("name")
    return {"infdep": infdep, "optrun": kubectl.get("optrun", name, objects.NAMESPACE) if name else None}


def rightsizer(story: Story, *arguments: str) -> None:
    """The CLI as the kubectl plugin; its output goes to the terminal."""
    tools = store.REPOSITORY / ".venv" / "bin"
    kubectl = story.kubectl
    print(f"    $ kubectl rightsizer {' '.join(arguments)}", flush=True)
    plugin = Kubectl(kubeconfig=kubectl.kubeconfig, bin=Path(f"{kubectl.bin}:{tools}"))
    print(plugin.run("rightsizer", *arguments), flush=True)


def take_down(cluster: Own | Given) -> None:
    """Everything the demo made, except the caches."""
    cluster.down()
    setting.clear(setting.Place(folder=FOLDER))


def compared(result: Object) -> list[str]:
    """Each lever's closed-loop throughput beside the configuration as found, where both were measured."""
    found, *others = result["ladder"] or [{}]
    base = found.get("saturationRps")
    tokens = result["targets"]["outputTokens"]
    return [
        f"{rung['lever']}: {rung['saturationRps']['value'] * tokens:.0f} output tokens/s in a closed loop, "
        f"as found {base['value'] * tokens:.0f}: {rung['saturationRps']['value'] / base['value']:.2f} times"
        for rung in others
        if base and rung.get("saturationRps")
    ]


def conclusion(result: Object) -> str:
    """One sentence from the result document: whatever was measured, fewer accelerators or not."""
    decision, before, after = result["decision"], result["before"], result.get("after")
    if not after:
        return f"done: {decision['sentence']}"
    saved = before["gpus"] - after["gpus"]
    told = f"{before['gpus']} -> {after['gpus']} accelerators" if saved > 0 else "no accelerator saved on this machine"
    return f"done: {told}; {decision['sentence']}"
