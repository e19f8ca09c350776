"""What a candidate would be deployed as: the baseline's container with the managed flags set, every other flag carried
over.

Called by ``phases`` when it plans. A flag that can be neither managed nor carried over excludes the candidate by name.
Rules about hardware live in ``phases``; here is only what a command line can express.
"""

import json
import re
from typing import get_args

import pydantic

from rightsizer_jobs.contract import EngineKind
from rightsizer_operator.manifests import engine_batching, engine_command, engine_flags, engine_switch, template
from rightsizer_operator.manifests.artefacts import RECIPES
from rightsizer_operator.manifests.engine_command import EngineCommand
from rightsizer_operator.manifests.engine_switch import Excluded as Excluded
from rightsizer_operator.resource.run import Baseline, Batching, Serving

WEIGHT_FLAGS = (
    "--quantization",
    "--quantization-config",
    "--allow-deprecated-quantization",
    "--no-allow-deprecated-quantization",
    "--revision",
    "--code-revision",
)
"""They say how the baseline's own weights are read; an artefact says it itself in its config.json."""

INTEGER_FORMATS = frozenset({"INT8", "INT8W8A16", "INT4"})


def candidate_serving(
    baseline: Baseline,
    *,
    engine: str,
    precision: str,
    kv_cache: str,
    parallelism: int,
    max_num_seqs: int | None,
    artefact: str,
    engine_images: dict[str, str],
    batching: Batching = engine_batching.NOTHING,
) -> Serving:
    """The serving configuration of a candidate; raises Excluded. With nothing changed it is the baseline's, byte for
    byte."""
    if engine not in get_args(EngineKind):
        raise Excluded(f"engine {engine}: unknown")
    changes = _changes(baseline, engine, precision, kv_cache, parallelism, artefact)
    if max_num_seqs is not None or batching != engine_batching.NOTHING:
        changes |= {"batch"}
    if not changes:
        return baseline.serving
    _refuse_formats(engine, precision, artefact, artefact or baseline.serving.artefact)
    command = parsed(baseline)
    config = json.loads(baseline.serving.engine_config or "{}")
    image = baseline.serving.image
    if "engine" in changes:
        image = _image(engine, engine_images)
        command, config = engine_switch.switched(command, engine)
    command = command if command.find(engine_flags.SERVED_MODEL_NAME) else _named(command, baseline)
    if "weights" in changes:
        command = _reweighted(command, precision, artefact, baseline.serving.artefact)
    if "parallelism" in changes:
        command = _parallel(command, parallelism)
    if "kv" in changes:
        command, config = _with_kv(command, config, kv_cache)
    if "batch" in changes:
        command, config = engine_batching.batched(command, config, max_num_seqs, batching)
    return _assembled(
        baseline, command, config, image=image, artefact=artefact or baseline.serving.artefact, changes=changes
    )


def parallelism_of(baseline: Baseline) -> int:
    """Tensor parallelism of the baseline; the engines' default is 1."""
    return _number(parsed(baseline), engine_flags.TENSOR_PARALLEL)


def kv_type(baseline: Baseline) -> str:
    """KV-cache type of the baseline, as answers depend on it: Auto, FP8, or the engine's own word for another."""
    if baseline.engine == "VLLM":
        given = parsed(baseline).value(engine_flags.KV_CACHE_DTYPE) or "auto"
    else:
        config = json.loads(baseline.serving.engine_config or "{}").get("kv_cache_config")
        given = str(config.get("dtype", "auto")) if isinstance(config, dict) else "auto"
    return {"auto": "Auto", "fp8": "FP8", "fp8_e4m3": "FP8"}.get(given, given[:32])


def parsed(baseline: Baseline) -> EngineCommand:
    """The baseline's command line."""
    serving = baseline.serving
    return engine_command.parse(
        {"name": baseline.container, "image": serving.image, "command": serving.command, "args": serving.args}
    )


def batch_limit(serving: Serving) -> int:
    """The batch limit that a command line states; 0: none, or no plain number."""
    try:
        command = engine_command.parse({"image": serving.image, "command": serving.command, "args": serving.args})
    except engine_command.Refused:
        return 0
    text = command.value(engine_flags.MAX_NUM_SEQS) or command.value(engine_flags.MAX_BATCH_SIZE) or ""
    return int(text) if re.fullmatch(r"[1-9]\d{0,6}", text) else 0


def _changes(
    baseline: Baseline,
    engine: str,
    precision: str,
    kv_cache: str,
    parallelism: int,
    artefact: str,
) -> frozenset[str]:
    changed = {
        "engine": engine != baseline.engine,
        "weights": bool(artefact) or precision != "AsIs",
        "kv": kv_cache != "Auto",
        "parallelism": parallelism != parallelism_of(baseline),
    }
    return frozenset(name for name, yes in changed.items() if yes)


def _refuse_formats(engine: str, precision: str, artefact: str, mounted: str) -> None:
    integers = precision in INTEGER_FORMATS or any(f"-{RECIPES[one]}-" in mounted for one in INTEGER_FORMATS)
    if engine == "TensorRTLLM" and integers:
        raise Excluded(
            f"TensorRTLLM with {precision} compressed-tensors weights of integers: "
            "it can take them for FP8 and answer garbage without an error"
        )
    if precision not in ("AsIs", "BF16") and not artefact:
        raise Excluded(f"precision {precision}: needs an artefact, and none is planned")


def _image(engine: str, engine_images: dict[str, str]) -> str:
    image = engine_images.get(engine, "")
    if not image:
        raise Excluded(f"engine {engine}: the operator's configuration names no image for it (engineImages.{engine})")
    return image


def _named(command: EngineCommand, baseline: Baseline) -> EngineCommand:
    # Kubernetes expands $(...) in args: a name that holds a dollar must come out as it is.
    return command.with_flag(engine_flags.SERVED_MODEL_NAME, baseline.served_model_name.replace("$", "$$"))


def _reweighted(command: EngineCommand, precision: str, artefact: str, mounted: str) -> EngineCommand:
    if artefact:
        engine_switch.refuse_weight_flags(command)
        return command.without(*WEIGHT_FLAGS).with_model(template.MODEL_PATH)
    if precision != "BF16":
        return command
    if mounted:
        raise Excluded(f"precision BF16: the baseline serves the artefact {mounted}, not the original weights")
    if command.engine != "VLLM":
        raise Excluded("precision BF16: only vLLM can be told the type in which the baseline's weights are served")
    plain = command.without("--quantization", "--quantization-config")
    if plain == command and (command.value("--dtype") or "auto") in ("auto", "bfloat16"):
        raise Excluded("precision BF16: the same as the baseline, which already serves its weights as they are")
    return plain.with_flag("--dtype", "bfloat16")


def _parallel(command: EngineCommand, parallelism: int) -> EngineCommand:
    for flag in (engine_flags.DATA_PARALLEL, "--device-ids", "--nnodes", "--node-rank", "--gpus-per-node"):
        if command.find(flag):
            raise Excluded(f"parallelism {parallelism}: the flag {flag} fixes how many accelerators a replica has")
    return command.with_flag(engine_flags.TENSOR_PARALLEL, str(parallelism))


def _with_kv(
    command: EngineCommand, config: dict[str, object], kv_cache: str
) -> tuple[EngineCommand, dict[str, object]]:
    if kv_cache != "FP8":
        raise Excluded(f"KV cache {kv_cache}: unknown")
    if command.engine == "VLLM":
        return command.with_flag(engine_flags.KV_CACHE_DTYPE, "fp8"), config
    kv_config = config.get("kv_cache_config")
    merged = {**(kv_config if isinstance(kv_config, dict) else {}), "dtype": "fp8"}
    return command, {**config, "kv_cache_config": merged}


def _assembled(
    baseline: Baseline,
    command: EngineCommand,
    config: dict[str, object],
    *,
    image: str,
    artefact: str,
    changes: frozenset[str],
) -> Serving:
    engine_config = ""
    if config:
        engine_config = json.dumps(config, sort_keys=True)
        command = _configured(command)
    words, args = engine_command.render(command)
    fields = {
        "image": image,
        "command": words,
        "args": args,
        "accelerators": _accelerators(baseline, command, changes),
        "artefact": artefact,
        "engine_config": engine_config,
    }
    try:
        return Serving.model_validate({**baseline.serving.model_dump(), **fields})
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        raise Excluded(f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}") from error


def _configured(command: EngineCommand) -> EngineCommand:
    path = f"{template.CONFIG_PATH}/{template.CONFIG_FILE}"
    given = command.value(engine_flags.CONFIG)
    if given not in (None, path):
        raise Excluded(f"the flag --config {given}: its settings are in a file of the user's, which cannot be merged")
    return command.with_flag(engine_flags.CONFIG, path)


def _accelerators(baseline: Baseline, command: EngineCommand, changes: frozenset[str]) -> int:
    """Unchanged parallelism keeps the count as found: the user may share or reserve accelerators for reasons of their
    own."""
    if "parallelism" not in changes:
        return baseline.serving.accelerators
    return _number(command, engine_flags.TENSOR_PARALLEL) * _number(command, engine_flags.PIPELINE_PARALLEL)


def _number(command: EngineCommand, flag: str) -> int:
    text = command.value(flag) or "1"
    if not re.fullmatch(r"\d{1,3}", text):
        raise Excluded(f"the flag {flag} {text[:60]}: not a plain number")
    return int(text)
