"""How the target serves, read from its Deployment, with what had to be assumed. Called by ``plan``."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rightsizer_cli import engine_words
from rightsizer_cli.documents import Place
from rightsizer_cli.engine_words import EngineWords
from rightsizer_cli.failure import REFUSED, Failure
from rightsizer_cli.infdep_file import refuse_other_version
from rightsizer_operator.manifests import engine_flags
from rightsizer_operator.resource.base import count
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.sizing.estimate.model_facts import ModelFacts
from rightsizer_operator.sizing.estimate.questions import Serving

_MOST_PARALLEL = 999  # as far as the operator reads it
_FOUR_BITS = ("awq", "gptq", "bitsandbytes")
_ARTEFACT_PATH, _ENGINE_CONFIG = "/rightsizer/model", "rightsizer.dev/engine-config"
_ARTEFACTS = {"int8-w8a8": "INT8", "int8-w8a16": "INT8W8A16", "int4-w4a16": "INT4", "fp8-dynamic": "FP8"}
"""Formats by the recipe in the name of weights that Rightsizer made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The target of a plan. ``gpus_today`` is None where nobody can know it."""

    serving: Serving
    gpus_today: int | None = None
    notes: tuple[str, ...] = ()
    weights_note: str = ""
    """What was assumed of the weights."""

    def of(self, model: ModelFacts) -> "Target":
        """The target of a model: a quantized checkpoint says itself what its weights are."""
        if model.weights != "BF16":
            return replace(self, serving=replace(self.serving, weights=""), weights_note="")
        return replace(self, notes=(*self.notes, self.weights_note), weights_note="") if self.weights_note else self


def the_target(documents: Sequence[Place], spec: InferenceDeploymentSpec) -> Target:
    """The target as its Deployment says, where one was given; else the engine's defaults on one accelerator.

    Raises Failure for what cannot be read for certain.
    """
    found = [one for one in documents if one.kind == "Deployment"]
    if not found:
        note = "the target's Deployment was not given: as-is stands for the engine's defaults on one GPU"
        return Target(serving=Serving(engine=spec.search.engines[0]), notes=(note,))
    name = spec.target_ref.name
    deployment = next((one for one in found if one.name == name), None)
    if deployment is None:
        raise Failure(
            REFUSED, f"spec.targetRef.name: no Deployment {name!r} in the files", "Give the target's own manifest."
        )
    refuse_other_version(deployment, spec.target_ref.api_version)
    container = _container(deployment, spec.target_ref.container)
    words = engine_words.read(container)
    _refuse_unknown_to_estimates(words)
    replicas, replicas_note = _replicas(deployment)
    weights, weights_note = _weights(words)
    kv, kv_note = _kv_cache(words, deployment)
    serving = Serving(
        engine=words.command.engine,
        weights=weights,
        kv_cache=kv,
        parallelism=words.positive(engine_flags.TENSOR_PARALLEL, most=_MOST_PARALLEL) or 1,
        replicas=replicas,
        max_num_seqs=words.positive(engine_flags.MAX_NUM_SEQS, engine_flags.MAX_BATCH_SIZE),
        memory_share=words.share(engine_flags.MEMORY_UTILIZATION, engine_flags.MEMORY_FRACTION),
    )
    each, gpus_note = _accelerators(container, spec.accelerator.resource, serving.parallelism)
    notes = tuple(note for note in (replicas_note, gpus_note, kv_note) if note)
    return Target(serving=serving, gpus_today=replicas * each or None, notes=notes, weights_note=weights_note)


def _container(deployment: Place, wanted: str | None) -> Place:
    found = deployment.at("spec", "template", "spec", "containers").items()
    names = [one.at("name").text() for one in found]
    chosen = [one for one, name in zip(found, names, strict=True) if wanted in (None, name)]
    if len(chosen) != 1:
        raise Failure(
            REFUSED,
            f"spec.targetRef.container: {wanted or 'not set'}; the Deployment's containers: "
            f"{', '.join(names) or 'none'}",
            "Name the engine's container.",
        )
    return chosen[0]


def _replicas(deployment: Place) -> tuple[int, str]:
    place = deployment.at("spec", "replicas")
    if place.value is None:
        return 1, "the target's Deployment states no replicas: 1 is counted, which is Kubernetes' default"
    if not isinstance(place.value, int) or isinstance(place.value, bool) or not 0 <= place.value < 1 << 31:
        raise place.wrong("a whole number, 0 or more", "Write a whole number without quotes.")
    return place.value, "" if place.value else "the target's Deployment has 0 replicas: it serves nothing today"


def _accelerators(container: Place, resource: str, parallelism: int) -> tuple[int, str]:
    """Accelerators that a replica holds today, used or not."""
    limit, request = (container.at("resources", kind, resource) for kind in ("limits", "requests"))
    place = request if limit.value is None else limit
    if place.value is None:
        return parallelism, f"the target requests no {resource}: as many as its engine uses are counted, {parallelism}"
    held = count(place.value)
    if held < parallelism:
        raise place.refused(
            f"the engine uses {parallelism} ({engine_flags.TENSOR_PARALLEL}), and the container gets {held}",
            f"Correct one of the two, or spec.accelerator.resource ({resource}).",
        )
    idle = f"the target requests {held} {resource} for each replica, and its engine uses {parallelism} of them"
    return held, idle if held > parallelism else ""


def _refuse_unknown_to_estimates(words: EngineWords) -> None:
    for flag in (engine_flags.PIPELINE_PARALLEL, engine_flags.DATA_PARALLEL):
        if (words.positive(flag, most=_MOST_PARALLEL) or 1) > 1:
            raise words.refused(
                "is not known to estimates", flag, remedy="Measure it in the cluster, or plan without the Deployment."
            )
    if words.command.engine == "VLLM" and words.command.find(engine_flags.CONFIG):
        raise words.refused(
            "names settings in a file, which is not read", engine_flags.CONFIG, remedy="Write the settings as args."
        )


def _weights(words: EngineWords) -> tuple[str, str]:
    """Format of the weights as the container says, and what was assumed; empty: as the checkpoint is."""
    for mount in words.container.at("volumeMounts").items():
        if mount.at("mountPath").value == _ARTEFACT_PATH:
            path = mount.at("subPath").text()
            return next((weights for recipe, weights in _ARTEFACTS.items() if f"-{recipe}-" in path), ""), ""
    given = words.value(engine_words.QUANTIZATION).lower()
    if "fp8" in given:
        return "FP8", ""
    if given.startswith("int8"):
        return "INT8W8A16", ""
    flag = f"{engine_words.QUANTIZATION} {given[:60]}"
    if given.startswith(_FOUR_BITS):
        return (
            "INT4",
            f"{flag}: weights of 4 bits are assumed; --model-config with the checkpoint's config.json says it",
        )
    if given:
        return "", f"{flag}: its format is not known, BF16 is assumed; give the checkpoint's own --model-config"
    return "", ""


def _kv_cache(words: EngineWords, deployment: Place) -> tuple[str, str]:
    given = words.value(engine_flags.KV_CACHE_DTYPE).lower()
    if not given and words.command.find(engine_flags.CONFIG):
        annotations = deployment.at("spec", "template", "metadata", "annotations").mapping()
        if _ENGINE_CONFIG not in annotations:
            return "Auto", f"{engine_flags.CONFIG}: the settings in that file are not read, the engine's are assumed"
        given = _configured_kv(str(annotations[_ENGINE_CONFIG]))
    if given.startswith("fp8"):
        return "FP8", ""
    known = given in ("", "auto", "bfloat16", "float16")
    flag = f"{engine_flags.KV_CACHE_DTYPE} {given[:60]}"
    return "Auto", "" if known else f"{flag}: not known to estimates, a cache in the model's type is assumed"


def _configured_kv(text: str) -> str:
    """The cache type in the settings that Rightsizer wrote for TensorRT-LLM."""
    try:
        return str(json.loads(text)["kv_cache_config"]["dtype"]).lower()
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
