"""What ``doctor`` concludes from what it read: one finding per thing that Rightsizer needs. Pure; ``doctor`` does the
reading.

``None`` as an input means that the user may not read it: the finding is then Unknown, never Ok.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rightsizer_cli.kubectl import Object, pick

State = Literal["Ok", "Missing", "Unknown"]
OLDEST_KUBERNETES = (1, 32)
_CHART = "helm upgrade --install rightsizer charts/rightsizer -n rightsizer-system --create-namespace"
_KINDS = ("inferencedeployments", "optimizationruns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    check: str
    state: State
    detail: str
    remedy: str = ""


def _finding(check: str, good: bool, detail: str, remedy: str) -> Finding:
    return Finding(check=check, state="Ok" if good else "Missing", detail=detail, remedy="" if good else remedy)


def unreadable(check: str, detail: str) -> Finding:
    """A thing that could not be read, for want of rights."""
    return Finding(check=check, state="Unknown", detail=detail, remedy="Ask an administrator to run this.")


def kubernetes(version: Object) -> Finding:
    """Native sidecars, and CEL rules in the CRDs, need a recent API server."""
    found = pick(version, "gitVersion") or "unknown"
    numbers = re.findall(r"\d+", found)[:2]
    good = len(numbers) == 2 and (int(numbers[0]), int(numbers[1])) >= OLDEST_KUBERNETES
    return _finding(
        "kubernetes", good, found, f"Use Kubernetes {OLDEST_KUBERNETES[0]}.{OLDEST_KUBERNETES[1]} or newer."
    )


def definitions(resources: Object | None) -> Finding:
    """Both CRDs, served at the version this CLI speaks."""
    served = {pick(entry, "name") for entry in pick(resources, "resources", default=[])}
    missing = [kind for kind in _KINDS if kind not in served]
    detail = f"not served: {', '.join(missing)}" if missing else "served at rightsizer.dev/v1alpha1"
    return _finding("definitions", not missing, detail, f"Install them: {_CHART}.")


def operator(deployments: Sequence[Object] | None) -> Finding:
    """At least one ready replica of an operator somewhere."""
    if deployments is None:
        return unreadable("operator", "Deployments of other namespaces cannot be listed")
    if not deployments:
        return _finding("operator", False, "no Deployment app.kubernetes.io/name=rightsizer", f"Install it: {_CHART}.")
    shown = [_replicas(found) for found in deployments]
    ready = any(pick(found, "status", "readyReplicas", default=0) for found in deployments)
    namespace = pick(deployments[0], "metadata", "namespace")
    remedy = f"See why: kubectl -n {namespace} describe pods -l app.kubernetes.io/name=rightsizer."
    return _finding("operator", ready, "; ".join(shown), remedy)


def _replicas(found: Object) -> str:
    name = f"{pick(found, 'metadata', 'namespace')}/{pick(found, 'metadata', 'name')}"
    ready, wanted = pick(found, "status", "readyReplicas", default=0), pick(found, "spec", "replicas", default=1)
    return f"{name}: {ready} of {wanted} ready, {pick(found, 'spec', 'template', 'spec', 'containers', 0, 'image')}"


def images(pods: Sequence[Object] | None) -> Finding:
    """No pod of the operator or of a Job waits for an image."""
    if pods is None:
        return unreadable("images", "pods cannot be listed")
    waiting = [problem for pod in pods for problem in _image_problems(pod)]
    remedy = "Check the image names, the digests and imagePullSecrets in the chart's values."
    return _finding("images", not waiting, "; ".join(waiting) or f"{len(pods)} pods, none waits for one", remedy)


def _image_problems(pod: Object) -> list[str]:
    statuses = [
        *pick(pod, "status", "initContainerStatuses", default=[]),
        *pick(pod, "status", "containerStatuses", default=[]),
    ]
    return [
        f"{pick(pod, 'metadata', 'name')}: {pick(status, 'image')}: {reason}"
        for status in statuses
        if "Image" in (reason := pick(status, "state", "waiting", "reason"))
    ]


def rights(answers: Sequence[tuple[str, bool | None]]) -> Finding:
    """What the user may do: every verb and resource with the API server's answer."""
    refused = [name for name, allowed in answers if allowed is False]
    if any(allowed is None for _, allowed in answers):
        return unreadable("your rights", "the API server did not say")
    detail = f"not allowed: {', '.join(refused)}" if refused else f"{len(answers)} asked, all allowed"
    return _finding("your rights", not refused, detail, "Ask for the role edit, or rightsizer-edit, in this namespace.")


def accelerators(nodes: Sequence[Object] | None, resource: str) -> Finding:
    """Schedulable nodes that have the accelerator."""
    check = f"nodes with {resource}"
    if nodes is None:
        return unreadable(check, "nodes cannot be listed")
    counts = [(pick(node, "metadata", "name"), _count(node, resource)) for node in nodes if not _cordoned(node)]
    having = [(name, count) for name, count in counts if count]
    total = sum(count for _, count in having)
    detail = f"{total} on {len(having)} of {len(nodes)} nodes" if having else f"none on {len(nodes)} nodes"
    return _finding(
        check, bool(having), detail, "Install the vendor's device plugin, or name another spec.accelerator.resource."
    )


def _cordoned(node: Object) -> bool:
    return bool(pick(node, "spec", "unschedulable", default=False))


def _count(node: Object, resource: str) -> int:
    text = str(pick(node, "status", "allocatable", resource, default="0"))
    return int(text) if text.isdigit() else 0


def claim(found: Object | None, name: str, nodes: int | None) -> Finding:
    """The model volume: bound, and writable from where Jobs may run."""
    check = f"claim {name}"
    if found is None:
        return _finding(
            check, False, "does not exist", "Create it with the model's weights, or correct spec.modelCache.claimName."
        )
    phase, modes = pick(found, "status", "phase"), pick(found, "spec", "accessModes", default=[])
    shared = "ReadWriteMany" in modes or nodes == 1
    detail = f"{phase or 'no phase'}, {', '.join(modes)}"
    if phase != "Bound":
        return _finding(check, False, detail, f"See why it is not bound: kubectl describe pvc {name}.")
    return _finding(check, shared, detail, "Use a ReadWriteMany volume, or keep everything on one node.")


def target(found: Object | None, name: str, container: str) -> Finding:
    """The Deployment, and the container that runs the engine."""
    check = f"target {name}"
    if found is None:
        return _finding(check, False, "does not exist", "Create it; spec.targetRef is immutable.")
    names = [pick(c, "name") for c in pick(found, "spec", "template", "spec", "containers", default=[])]
    good = container in names if container else len(names) == 1
    return _finding(check, good, f"containers: {', '.join(names)}", "Set spec.targetRef.container to one of them.")


def draining(found: Object, name: str, container: str) -> Finding:
    """A hook that lets a pod serve on while it leaves its Service. Until every node has heard of that, requests still
    reach it: refused once the engine has ended, unanswered once its address is gone.
    """
    containers = pick(found, "spec", "template", "spec", "containers", default=[])
    engine: Object = next((c for c in containers if len(containers) == 1 or pick(c, "name") == container), {})
    hook = pick(engine, "lifecycle", "preStop", default={})
    lost = "no preStop hook: requests may be lost whenever a pod is replaced, by a rewrite or by anybody"
    detail = f"preStop: {', '.join(hook)}" if hook else lost
    remedy = (
        "Let pods serve on while they leave the Service: lifecycle.preStop.sleep.seconds: 10 in the engine's "
        "container, and a terminationGracePeriodSeconds above it."
    )
    return _finding(f"draining {name}", bool(hook), detail, remedy)


def price(config: str | None, spec: Object) -> Finding:
    """A price of an accelerator hour, from the spec or the operator's list; without one, cost is left out."""
    if pick(spec, "cost", "gpuHourly"):
        return _finding("price", True, "spec.cost.gpuHourly", "")
    if config is None:
        return unreadable("price", "the operator's ConfigMap cannot be read")
    known = _prices(config)
    wanted = [pick(spec, "accelerator", "type"), pick(spec, "accelerator", "resource")]
    found = next((name for name in wanted if name and name in known), "")
    if found or (not any(wanted) and known):
        return _finding("price", True, found or f"{len(known)} prices", "")
    detail = f"none for {' or '.join(name for name in wanted if name) or 'any accelerator'}: results come without cost"
    return _finding("price", False, detail, "Add it to prices in the chart's values, or set spec.cost.gpuHourly.")


def _prices(config: str) -> dict[str, object]:
    import yaml  # only doctor without a price in the spec needs it

    try:
        found = pick(yaml.safe_load(config), "prices", default={})
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}
