"""The closed field list of a target, live and as the proposal would have it, as plain documents to compare. Called by
``diff``. Pure.

Values that a variable takes from elsewhere (Secrets among them) are never shown, only where they come from.
"""

from rightsizer_cli.kubectl import Object, pick
from rightsizer_operator.resource.run import Baseline, RunProposal, Serving

MODEL_PATH = "/rightsizer/model"
ENGINE_CONFIG = "rightsizer.dev/engine-config"
_RESOURCES = (("cpu", "cpu_request", "cpu_limit"), ("memory", "memory_request", "memory_limit"))


def live(target: Object, container: str, resource: str, names: tuple[str, ...], replicas_shown: bool) -> Object:
    """The fields as they are now; of the variables only those of ``names``."""
    template = pick(target, "spec", "template", "spec", default={})
    found: Object = next((c for c in pick(template, "containers", default=[]) if pick(c, "name") == container), {})
    mounts = [m for m in pick(found, "volumeMounts", default=[]) if pick(m, "mountPath") == MODEL_PATH]
    document: Object = {
        "image": pick(found, "image"),
        "command": pick(found, "command", default=[]),
        "args": pick(found, "args", default=[]),
        "env": {pick(e, "name"): _value(e) for e in pick(found, "env", default=[]) if pick(e, "name") in names},
        "resources": _live_resources(pick(found, "resources", default={}), resource),
        "weights": pick(mounts, 0, "subPath", default="as found"),
        "engineConfig": pick(target, "spec", "template", "metadata", "annotations", ENGINE_CONFIG),
    }
    return {"replicas": pick(target, "spec", "replicas", default=1), **document} if replicas_shown else document


def _value(entry: Object) -> str:
    source = pick(entry, "valueFrom", default={})
    return f"(from {next(iter(source))})" if source else str(pick(entry, "value"))


def _live_resources(found: Object, accelerator: str) -> Object:
    wanted = ("cpu", "memory", accelerator)
    return {
        kind: {name: str(values[name]) for name in wanted if name in values}
        for kind in ("requests", "limits")
        if (values := pick(found, kind, default={}))
    }


def proposed(
    proposal: RunProposal, baseline: Baseline, resource: str, artefact_path: str, before: Object, replicas_shown: bool
) -> Object:
    """The same document with the proposal laid over ``before``: what it does not set stays."""
    serving = proposal.serving
    document: Object = {
        "image": serving.image,
        "command": list(serving.command),
        "args": list(serving.args),
        "env": {**before["env"], **{variable.name: variable.value for variable in serving.env}},
        "resources": _proposed_resources(serving, resource, before["resources"]),
        "weights": artefact_path if serving.artefact else "as found",
        "engineConfig": serving.engine_config,
    }
    if serving.artefact == baseline.serving.artefact:
        document["weights"] = before["weights"]
    return {"replicas": proposal.replicas, **document} if replicas_shown else document


def _proposed_resources(serving: Serving, accelerator: str, before: Object) -> Object:
    """An accelerator's limit is always set; its request only where the target has one."""
    requests = {name: getattr(serving, request) for name, request, _ in _RESOURCES}
    limits = {name: getattr(serving, limit) for name, _, limit in _RESOURCES}
    if serving.accelerators:
        limits[accelerator] = str(serving.accelerators)
        if pick(before, "requests", accelerator):
            requests[accelerator] = str(serving.accelerators)
    shown = {"requests": requests, "limits": limits}
    return {kind: kept for kind, values in shown.items() if (kept := {n: v for n, v in values.items() if v})}


def variables(proposal: RunProposal, baseline: Baseline) -> tuple[str, ...]:
    """Names of the variables that are compared."""
    return tuple(dict.fromkeys(entry.name for entry in (*proposal.serving.env, *baseline.serving.env)))
