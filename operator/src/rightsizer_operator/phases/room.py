"""Which accelerators are free. Trials never displace serving pods: no room, no Job. Called by ``measure`` and
``rewrite``.

Counts what the scheduler counts (node selector, taints, readiness); affinity is left to the scheduler.
"""

from collections.abc import Mapping

from rightsizer_operator.resource.base import count
from rightsizer_operator.world import Object, World

Free = Mapping[str, int] | None
"""Free accelerators by node; None where nodes cannot be read: then the scheduler decides."""


def free_by_node(world: World, resource: str, pod_spec: Object) -> Free:
    """Free accelerators by node on which such a pod could run."""
    if world.nodes is None:
        return None
    free = {}
    for node in world.nodes:
        name = node["metadata"]["name"]
        total = count((node.get("status", {}).get("allocatable") or {}).get(resource, 0))
        if total and _usable(node, pod_spec):
            free[name] = max(0, total - world.accelerators_used.get(name, 0))
    return free


def pod_spec_of(target: Object) -> Object:
    """The pod spec of a Deployment's template."""
    found: Object = target.get("spec", {}).get("template", {}).get("spec", {})
    return found


def fits(free: Free, accelerators: int, pods: int = 1) -> bool:
    """Whether that many pods fit beside what runs, each on one node. Pods without accelerators always fit."""
    if accelerators <= 0 or free is None:
        return True
    return sum(there // accelerators for there in free.values()) >= pods


def shortage(free: Free, accelerators: int, resource: str, pods: int = 1) -> str:
    """What is needed and what there is, in words."""
    needed = f"{accelerators} free {resource} on one node"
    if pods > 1:
        needed = f"{pods} times {needed}"
    if not free:
        return f"needs {needed}; no node that matches the target's placement has any"
    return f"needs {needed}; at most {max(free.values())} are free"


def _usable(node: Object, pod_spec: Object) -> bool:
    spec, labels = node.get("spec", {}), node["metadata"].get("labels", {})
    if spec.get("unschedulable"):
        return False
    conditions = node.get("status", {}).get("conditions") or []
    if any(c.get("type") == "Ready" and c.get("status") != "True" for c in conditions):
        return False
    selector = pod_spec.get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        return False
    tolerations = pod_spec.get("tolerations") or []
    taints = [t for t in spec.get("taints") or [] if t.get("effect") in ("NoSchedule", "NoExecute")]
    return all(any(_tolerates(toleration, taint) for toleration in tolerations) for taint in taints)


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if not toleration.get("key"):
        return toleration.get("operator") == "Exists"
    if toleration["key"] != taint.get("key"):
        return False
    return toleration.get("operator") == "Exists" or (toleration.get("value") or "") == (taint.get("value") or "")
