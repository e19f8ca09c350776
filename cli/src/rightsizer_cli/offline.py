"""Files instead of a cluster: manifests, ``config.json``, tables. The edge between what a user wrote and the types;
called by ``plan`` and ``estimate``.

Every fault names the file and the field, and what to do. Nothing here asks kubectl.
"""

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rightsizer_cli.failure import NOT_FOUND, REFUSED, USAGE, Failure
from rightsizer_operator.resource.architecture import Architecture
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.sizing.estimate import model_config, model_facts, tables
from rightsizer_operator.sizing.estimate.failures import NotEstimable
from rightsizer_operator.sizing.estimate.model_facts import ModelFacts
from rightsizer_operator.sizing.estimate.questions import Serving
from rightsizer_operator.sizing.estimate.tables import Efficiencies, GpuFacts

Object = dict[str, Any]
LARGEST = 16 * 1024 * 1024
_FLAGS = {
    "parallelism": ("--tensor-parallel-size", "-tp", "--tp-size"),
    "max_num_seqs": ("--max-num-seqs", "--max-batch-size"),
    "kv_cache": ("--kv-cache-dtype",),
    "memory_share": ("--gpu-memory-utilization", "--free-gpu-memory-fraction", "--kv-cache-free-gpu-memory-fraction"),
    "weights": ("--quantization", "-q"),
}


def refused(problem: NotEstimable) -> Failure:
    """What the estimator cannot read, as an error of the command."""
    return Failure(REFUSED, str(problem), problem.remedy)


def text_of(path: str) -> str:
    """The file's text; raises Failure where it cannot be read."""
    try:
        if Path(path).stat().st_size > LARGEST:
            raise Failure(USAGE, f"{path} is larger than {LARGEST >> 20} MiB", "Name the file that was meant.")
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else USAGE
        raise Failure(code, f"cannot read {path}: {error.strerror}", "Name another file.") from None
    except UnicodeDecodeError:
        raise Failure(USAGE, f"{path} is not UTF-8 text", "Name the file that was meant.") from None


def document_of(path: str) -> Object:
    """A JSON object; raises Failure."""
    try:
        found = json.loads(text_of(path))
    except ValueError as error:
        raise Failure(USAGE, f"{path} is no JSON: {error}", "Give the file as it lies beside the weights.") from None
    if not isinstance(found, dict):
        raise Failure(USAGE, f"{path} holds no JSON object", "Give the file as it lies beside the weights.")
    return found


def manifests(paths: Sequence[str]) -> list[Object]:
    """All documents of all files, lists unfolded."""
    import yaml  # 50 ms: only where it is needed

    found: list[Object] = []
    for path in paths:
        try:
            documents = list(yaml.safe_load_all(text_of(path)))
        except yaml.YAMLError as error:
            said = " ".join(str(error).split())
            raise Failure(USAGE, f"{path} is no YAML: {said}", "Give manifests as for kubectl apply -f.") from None
        found += [one for document in documents for one in _unfolded(document)]
    return found


def _unfolded(document: object) -> Iterator[Object]:
    if isinstance(document, dict):
        if document.get("kind") == "List":
            yield from (one for one in document.get("items") or () if isinstance(one, dict))
        else:
            yield document


def the_infdep(documents: Sequence[Object]) -> tuple[str, InferenceDeploymentSpec]:
    """Name and spec of the one InferenceDeployment; raises Failure with the field at fault."""
    found = [one for one in documents if one.get("kind") == "InferenceDeployment"]
    if len(found) != 1:
        remedy = "Give one InferenceDeployment with -f, e.g. examples/llama-70b.yaml."
        raise Failure(USAGE, f"{len(found)} InferenceDeployments in the files, one is needed", remedy)
    metadata = found[0].get("metadata") or {}
    try:
        return str(metadata.get("name", "")), InferenceDeploymentSpec.model_validate(found[0].get("spec") or {})
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> Failure:
    first = error.errors()[0]
    where = ".".join(("spec", *(str(part) for part in first["loc"])))
    said = first["msg"].removeprefix("Value error, ")
    return Failure(REFUSED, f"{where}: {said}", "Correct the field; kubectl explain infdep.spec tells what it holds.")


def the_serving(documents: Sequence[Object], spec: InferenceDeploymentSpec) -> Serving:
    """How the target serves, from its Deployment where one was given; else vLLM's defaults on one accelerator."""
    name = spec.target_ref.name
    found = [one for one in documents if one.get("kind") == "Deployment"]
    if not found:
        return Serving(engine=spec.search.engines[0])
    target = next((one for one in found if (one.get("metadata") or {}).get("name") == name), None)
    if target is None:
        raise Failure(
            REFUSED, f"spec.targetRef.name: no Deployment {name!r} in the files", "Give the target's own manifest."
        )
    container = _container(target, spec.target_ref.container)
    words = [str(word) for word in (*(container.get("command") or ()), *(container.get("args") or ()))]
    return _read_serving(words, str(container.get("image", "")), _replicas(target))


def _replicas(target: Object) -> int | None:
    value = (target.get("spec") or {}).get("replicas", 1)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _container(target: Object, wanted: str | None) -> Object:
    pod = ((target.get("spec") or {}).get("template") or {}).get("spec") or {}
    found = [one for one in pod.get("containers") or () if isinstance(one, dict)]
    chosen = [one for one in found if one.get("name") == wanted] if wanted else found
    if len(chosen) != 1:
        names = ", ".join(str(one.get("name")) for one in found) or "none"
        raise Failure(
            REFUSED,
            f"spec.targetRef.container: {wanted or 'not set'}; the Deployment's containers: {names}",
            "Name the engine's container.",
        )
    return chosen[0]


def _read_serving(words: Sequence[str], image: str, replicas: int | None) -> Serving:
    line = " ".join((image, *words))
    engine = "TensorRTLLM" if re.search(r"trtllm|tensorrt", line, re.IGNORECASE) else "VLLM"
    given = _flags(words)
    kv = given.get("kv_cache", "").lower()
    return Serving(
        engine=engine,
        weights=_weights(given.get("weights", "").lower()),
        kv_cache="FP8" if kv.startswith("fp8") else "Auto",
        parallelism=_number(given, "parallelism") or 1,
        replicas=replicas,
        max_num_seqs=_number(given, "max_num_seqs"),
        memory_share=_share(given),
    )


def _flags(words: Sequence[str]) -> dict[str, str]:
    """Values of the flags that matter, in any of the spellings: ``--a b``, ``--a=b``, ``--a_b``."""
    split = [part for word in words for part in (word.split("=", 1) if word.startswith("-") else [word])]
    found = {}
    for flag, value in itertools.pairwise(split):
        plain = flag.replace("_", "-")
        found.update({name: value for name, spellings in _FLAGS.items() if plain in spellings})
    return found


def _number(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name, "")
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,5}", text) else None


def _share(given: Mapping[str, str]) -> float | None:
    text = given.get("memory_share", "")
    return float(text) if re.fullmatch(r"0?\.[0-9]{1,4}|1(\.0*)?", text) else None


def _weights(quantization: str) -> str:
    if quantization.startswith("fp8"):
        return "FP8"
    return "INT8W8A16" if quantization.startswith("int8") else ""


def the_model(path: str | None, name: str, stated: Architecture | None = None) -> ModelFacts:
    """Facts from a config.json, else as stated, else of the published model of that name; raises Failure."""
    try:
        if path:
            return model_facts.from_config(document_of(path), name)
    except NotEstimable as problem:
        raise refused(problem) from None
    if stated is not None:
        return model_facts.from_architecture(stated, name)
    found = tables.published_model(name)
    if found is None:
        raise _unpublished(name)
    return found


def the_architecture(path: str | None, name: str) -> Architecture:
    """``spec.model.architecture`` from a config.json, else of the published model of that name; raises Failure."""
    try:
        found = model_config.architecture(document_of(path)) if path else tables.published_architecture(name)
    except NotEstimable as problem:
        raise refused(problem) from None
    if found is None:
        raise _unpublished(name)
    return found


def _unpublished(name: str) -> Failure:
    return Failure(
        REFUSED,
        f"spec.model.name: {name} is not in the table of published models",
        "Give its config.json (--model-config config.json), or state spec.model.architecture.",
    )


def gpu_facts(path: str | None) -> dict[str, GpuFacts]:
    """Facts of the user's own GPUs; none without a file."""
    try:
        return tables.gpu_table(document_of(path)) if path else {}
    except NotEstimable as problem:
        raise refused(problem) from None


def efficiency_facts(path: str | None) -> dict[str, Efficiencies] | None:
    """Efficiencies instead of the package's; None without a file."""
    if not path:
        return None
    try:
        return tables.efficiency_table(document_of(path))
    except NotEstimable as problem:
        raise refused(problem) from None
