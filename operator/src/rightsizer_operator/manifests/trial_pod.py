"""The engine's half of a trial pod: the target's container as a native sidecar, on the target's placement, with the
volumes it uses.

Called by ``jobs``. What is measured must be what is deployed, so nothing is added to the engine that the Deployment
would not have. Left out is only what would hurt serving pods or give the Job rights: priority, tokens, host ports,
probes, spreading among own labels.
"""

import copy
from collections.abc import Iterable

from rightsizer_operator.manifests import Object, template
from rightsizer_operator.resource.run import Serving

PLACEMENT = (
    "tolerations",
    "runtimeClassName",
    "schedulerName",
    "imagePullSecrets",
    "dnsPolicy",
    "dnsConfig",
    "hostAliases",
)
"""Copied as they are. Not copied: priorityClassName (a trial must not preempt serving pods), serviceAccountName,
hostNetwork and the like."""

ENGINE_FIELDS = (
    "imagePullPolicy",
    "workingDir",
    "envFrom",
    "volumeDevices",
    "securityContext",
)


def placement(target: Object) -> Object:
    """Pod-level fields that decide where and how the engine runs."""
    spec = template.pod_spec(target)
    found = {field: copy.deepcopy(spec[field]) for field in PLACEMENT if spec.get(field)}
    if spec.get("nodeSelector"):
        found["nodeSelector"] = dict(spec["nodeSelector"])
    own_labels = template.pod_template(target).get("metadata", {}).get("labels") or {}
    affinity = _affinity(spec.get("affinity") or {}, own_labels)
    if affinity:
        found["affinity"] = affinity
    spread = [
        one for one in spec.get("topologySpreadConstraints", ()) if not matches(one.get("labelSelector"), own_labels)
    ]
    if spread:
        found["topologySpreadConstraints"] = copy.deepcopy(spread)
    return found


def engine(target: Object, container: str, serving: Serving, accelerator_resource: str, volume: str) -> Object:
    """The sidecar ``engine``. It has no probe: the client does the waiting, and a crash must show as a restart."""
    found = template.container_of(target, container)
    sidecar: Object = {
        "name": "engine",
        "image": serving.image,
        "restartPolicy": "Always",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": _resources(found, serving, accelerator_resource),
        **{field: copy.deepcopy(found[field]) for field in ENGINE_FIELDS if found.get(field)},
    }
    if serving.command:
        sidecar["command"] = list(serving.command)
    if serving.args:
        sidecar["args"] = list(serving.args)
    if env := _env(found, serving):
        sidecar["env"] = env
    if ports := [_without(port, "hostPort", "hostIP") for port in found.get("ports", ())]:
        sidecar["ports"] = ports
    mounts = [*copy.deepcopy(template.user_mounts(found)), *template.our_mounts(serving, volume)]
    if mounts:
        sidecar["volumeMounts"] = mounts
    return sidecar


def preparing(target: Object, container: str) -> list[Object]:
    """Init containers of the target that share a volume with the engine: they fetch or prepare what it reads."""
    used = set(_volume_names([template.container_of(target, container)]))
    found = [
        one
        for one in template.pod_spec(target).get("initContainers", ())
        if one.get("restartPolicy") != "Always" and used.intersection(_volume_names([one]))
    ]
    dropped = ("startupProbe", "livenessProbe", "readinessProbe", "lifecycle")
    return [{**_without(copy.deepcopy(one), *dropped), "name": f"prepare-{index}"} for index, one in enumerate(found)]


def volumes(target: Object, containers: Iterable[Object]) -> list[Object]:
    """The user's volumes that these containers use, without API tokens and without a read-only claim for the whole
    pod."""
    wanted = set(_volume_names(containers)) - {template.MODEL_VOLUME, template.CONFIG_VOLUME}
    found = [copy.deepcopy(one) for one in template.pod_spec(target).get("volumes", ()) if one.get("name") in wanted]
    return [_tokenless(volume) for volume in found]


def read_only_claims(target: Object) -> frozenset[str]:
    """Names of volumes whose claim the target mounts read-only for the whole pod."""
    return frozenset(
        str(volume["name"])
        for volume in template.pod_spec(target).get("volumes", ())
        if (volume.get("persistentVolumeClaim") or {}).get("readOnly")
    )


def matches(selector: Object | None, labels: dict[str, str]) -> bool:
    """Whether a label selector selects these labels. Absent selects nothing, an empty one everything (Kubernetes
    semantics)."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(expression, labels) for expression in selector.get("matchExpressions") or ())


def _holds(expression: Object, labels: dict[str, str]) -> bool:
    key, values = expression.get("key", ""), expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def _affinity(affinity: Object, own_labels: dict[str, str]) -> Object:
    """Node affinity as it is; pod affinities without the terms that speak of the target's own pods."""
    kept: Object = {}
    if affinity.get("nodeAffinity"):
        kept["nodeAffinity"] = copy.deepcopy(affinity["nodeAffinity"])
    for kind in ("podAffinity", "podAntiAffinity"):
        rules: Object = {}
        for when, terms in (affinity.get(kind) or {}).items():
            # Preferred terms carry a weight around the term itself.
            others = [
                one for one in terms if not matches(one.get("podAffinityTerm", one).get("labelSelector"), own_labels)
            ]
            if others:
                rules[when] = copy.deepcopy(others)
        if rules:
            kept[kind] = rules
    return kept


def _resources(container: Object, serving: Serving, accelerator_resource: str) -> Object:
    """The container's resources with the closed list's replaced; others (ephemeral storage, huge pages) stay."""
    closed = {"cpu", "memory", accelerator_resource}
    managed = template.resources(container, serving, accelerator_resource)
    found: Object = {}
    for kind in ("requests", "limits"):
        rest = (container.get("resources") or {}).get(kind) or {}
        merged = {**{key: value for key, value in rest.items() if key not in closed}, **managed.get(kind, {})}
        if merged:
            found[kind] = merged
    return found


def _env(container: Object, serving: Serving) -> list[Object]:
    """The container's variables with the serving's in their places: later ones may refer to earlier ones."""
    wanted = {variable.name: variable.value for variable in serving.env}
    found: list[Object] = []
    for variable in container.get("env", ()):
        value = wanted.pop(variable["name"], None)
        found.append(copy.deepcopy(variable) if value is None else {"name": variable["name"], "value": value})
    return [*found, *({"name": name, "value": value} for name, value in wanted.items())]


def _volume_names(containers: Iterable[Object]) -> Iterable[str]:
    for container in containers:
        for use in (*container.get("volumeMounts", ()), *container.get("volumeDevices", ())):
            yield str(use["name"])


def _tokenless(volume: Object) -> Object:
    if (volume.get("persistentVolumeClaim") or {}).get("readOnly"):
        claim = _without(volume["persistentVolumeClaim"], "readOnly")
        return {**volume, "persistentVolumeClaim": claim}
    if "projected" not in volume:
        return volume
    sources = [one for one in volume["projected"].get("sources") or () if "serviceAccountToken" not in one]
    return {**volume, "projected": {**volume["projected"], "sources": sources}}


def _without(thing: Object, *keys: str) -> Object:
    return {key: value for key, value in thing.items() if key not in keys}
