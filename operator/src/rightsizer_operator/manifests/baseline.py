"""Reads what serves today out of a Deployment: the baseline of a run, or why the target cannot be right-sized.

Called by ``phases``. Records the closed field list with values, everything else of the pod template only as a hash:
variables may hold secrets. Raises Refused with a reason of ``resource.reasons`` and a message that names the field and
the remedy.
"""

import hashlib
import json
import re
from typing import Any

import pydantic

from rightsizer_operator.manifests import Object, engine_command, engine_flags, labels, template
from rightsizer_operator.manifests.engine_command import EngineCommand
from rightsizer_operator.manifests.engine_command import Refused as Refused
from rightsizer_operator.resource import reasons
from rightsizer_operator.resource.run import Baseline, EnvVar, Serving
from rightsizer_operator.resource.spec import InferenceDeploymentSpec

UNREACHABLE = {
    "--api-key": "the engine demands a key that trials do not have; check keys in front of it",
    "--ssl-keyfile": "the engine speaks TLS, and trials speak HTTP to it; end TLS in front of it",
    "--uds": "the engine listens on a socket file instead of a port",
    "--headless": "the container serves no API by itself",
    "--grpc": "the engine speaks gRPC instead of the OpenAI API",
}
"""Flags with which a trial could not talk to the engine."""

RESTART_ANNOTATION = "kubectl.kubernetes.io/restartedAt"


def snapshot(target: Object, spec: InferenceDeploymentSpec, scalers: tuple[str, ...]) -> Baseline:
    """The target as found; raises Refused. ``scalers`` are HPAs and ScaledObjects of the target, as kind/name."""
    _refuse_owned(target)
    container = _engine_container(target, spec.target_ref.container)
    name = str(container["name"])
    command = engine_command.parse(container)
    _refuse_unreachable(command, container)
    _refuse_devices(target, container, spec.accelerator.resource)
    variables = _literals(container)
    replicas = int(target["spec"].get("replicas", 1))
    try:
        serving = serving_of(target, name, spec.accelerator.resource)
        return Baseline(
            target_uid=str(target["metadata"]["uid"]),
            container=name,
            engine=command.engine,
            served_model_name=_resolved(command.served_model_name, variables, engine_flags.SERVED_MODEL_NAME, name),
            port=_port(command, variables, name),
            replicas=replicas,
            replicas_managed_by=scalers[0] if scalers else "",
            serving=serving,
            hash=serving_hash(serving, None if scalers else replicas),
            template_hash=template_hash(target),
            model_claim=spec.model_cache.claim_name,
            accelerator_resource=spec.accelerator.resource,
        )
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        text = f"container {name!r}: {field}: {problem['msg']}; no record can hold it, shorten it"
        raise Refused(reasons.UNSUPPORTED_ENGINE_FLAG, text) from error


def serving_of(target: Object, container: str, accelerator_resource: str) -> Serving:
    """The closed field list as it stands in the target now; raises Refused where the container is gone."""
    try:
        found = template.container_of(target, container)
    except KeyError:
        raise _no_container(target, container) from None
    return Serving(
        image=str(found.get("image", "")),
        command=tuple(found.get("command") or ()),
        args=tuple(found.get("args") or ()),
        # Sorted: the API server keeps the user's order of variables, which is not always ours.
        env=tuple(
            EnvVar(name=name, value=value)
            for name, value in sorted(_literals(found).items())
            if name in template.MANAGED_ENV
        ),
        accelerators=_accelerators(found, accelerator_resource),
        cpu_request=template.quantity_of(found, "requests", "cpu"),
        cpu_limit=template.quantity_of(found, "limits", "cpu"),
        memory_request=template.quantity_of(found, "requests", "memory"),
        memory_limit=template.quantity_of(found, "limits", "memory"),
        artefact=template.mounted_artefact(found),
        engine_config=template.annotations_of(template.pod_template(target)).get(labels.ENGINE_CONFIG, ""),
    )


def serving_hash(serving: Serving, replicas: int | None) -> str:
    """16 hexadecimal digits over the closed field list; ``replicas`` is None where a scaler owns them."""
    return _digest([serving.wire(), replicas])


def template_hash(target: Object) -> str:
    """16 hexadecimal digits over the whole pod template, without our own annotations and the mark of a plain
    restart."""
    found = template.pod_template(target)
    kept = {
        key: value
        for key, value in template.annotations_of(found).items()
        if not key.startswith(labels.PREFIX) and key != RESTART_ANNOTATION
    }
    return _digest({**found, "metadata": {**found.get("metadata", {}), "annotations": kept}})


def recorded(target: Object) -> Baseline | None:
    """The baseline that an earlier rewrite left as an annotation; None where there is none or it cannot be read."""
    text = template.annotations_of(target).get(labels.BASELINE)
    if text is None:
        return None
    try:
        return Baseline.model_validate_json(text)
    except pydantic.ValidationError:
        return None


def _refuse_owned(target: Object) -> None:
    for owner in target["metadata"].get("ownerReferences", ()):
        if owner.get("controller"):
            raise Refused(
                reasons.TARGET_OWNED,
                f"Deployment {target['metadata'].get('name', '')!r} is owned by {owner.get('kind')} "
                f"{owner.get('name')} ({owner.get('apiVersion')}), which would undo a rewrite: "
                "change the serving configuration there, or name a Deployment that nobody else controls",
            )


def _engine_container(target: Object, wanted: str | None) -> Object:
    containers = template.pod_spec(target).get("containers", ())
    if wanted is not None:
        found = template.named(containers).get(wanted)
        if found is None:
            raise _no_container(target, wanted)
        return found
    if len(containers) != 1:
        names = ", ".join(str(one.get("name")) for one in containers)
        raise Refused(
            reasons.CONTAINER_AMBIGUOUS,
            f"the target has {len(containers)} containers ({names}): name the engine's in spec.targetRef.container",
        )
    only: Object = containers[0]
    return only


def _no_container(target: Object, name: str) -> Refused:
    names = ", ".join(template.named(template.pod_spec(target).get("containers", ())))
    return Refused(
        reasons.CONTAINER_NOT_FOUND,
        f"the target has no container {name!r}, it has: {names or 'none'}; spec.targetRef.container cannot be changed: "
        "create the InferenceDeployment again with one of these, or give the container that name",
    )


def _refuse_unreachable(command: EngineCommand, container: Object) -> None:
    name = container["name"]
    for flag, why in UNREACHABLE.items():
        if command.find(flag):
            raise Refused(reasons.UNSUPPORTED_ENGINE_FLAG, f"container {name!r}, {flag}: {why}")
    if command.engine == "VLLM" and command.find(engine_flags.CONFIG):
        raise Refused(
            reasons.UNSUPPORTED_ENGINE_FLAG,
            f"container {name!r}, --config: settings in a file can neither be read nor rewritten; write them as args",
        )
    if any(variable.get("name") == "VLLM_API_KEY" for variable in container.get("env", ())):
        raise Refused(
            reasons.UNSUPPORTED_ENGINE_FLAG, f"container {name!r}, variable VLLM_API_KEY: {UNREACHABLE['--api-key']}"
        )


def _refuse_devices(target: Object, container: Object, resource: str) -> None:
    name = container["name"]
    if template.pod_spec(target).get("resourceClaims") or (container.get("resources") or {}).get("claims"):
        raise Refused(
            reasons.UNSUPPORTED_DEVICE_REQUEST,
            f"container {name!r} gets devices through resourceClaims, which cannot be counted: "
            f"request {resource} in its resources.limits",
        )
    if _accelerators(container, resource) < 1:
        raise Refused(
            reasons.UNSUPPORTED_DEVICE_REQUEST,
            f"container {name!r} requests no {resource}: add it to its resources.limits, "
            "or correct spec.accelerator.resource",
        )
    for other in template.pod_spec(target).get("containers", ()):
        if other.get("name") != name and _accelerators(other, resource):
            raise Refused(
                reasons.UNSUPPORTED_DEVICE_REQUEST,
                f"container {other.get('name')!r} requests {resource} beside the engine {name!r}: "
                "only one container of the pod may",
            )


def _accelerators(container: Object, resource: str) -> int:
    text = template.quantity_of(container, "limits", resource) or template.quantity_of(container, "requests", resource)
    # Extended resources are whole numbers; the API server stores small ones plainly.
    return int(text) if re.fullmatch(r"\d{1,9}", text) else 0


def _literals(container: Object) -> dict[str, str]:
    return {
        str(variable["name"]): str(variable.get("value", ""))
        for variable in container.get("env") or ()
        if not variable.get("valueFrom")
    }


def _port(command: EngineCommand, variables: dict[str, str], name: str) -> int:
    text = _resolved(command.port, variables, engine_flags.PORT, name)
    if not re.fullmatch(r"\d{1,5}", text) or not 1 <= int(text) <= 65535:
        raise Refused(reasons.UNSUPPORTED_ENGINE_FLAG, f"container {name!r}, --port: {text[:120]!r} is no port number")
    return int(text)


def _resolved(text: str, variables: dict[str, str], flag: str, name: str) -> str:
    """``$(NAME)`` replaced as the kubelet does, from literal variables; others cannot be known before the pod runs."""

    def value(match: re.Match[str]) -> str:
        if match.group() == "$$":
            return "$"
        if match.group(1) not in variables:
            raise Refused(
                reasons.UNSUPPORTED_ENGINE_FLAG,
                f"container {name!r}, {flag}: {match.group()} is no variable with a literal value; write the value",
            )
        return variables[match.group(1)]

    return re.sub(r"\$\$|\$\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)", value, text)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
