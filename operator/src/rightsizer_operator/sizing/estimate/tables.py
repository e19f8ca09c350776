"""The dated tables inside the package: GPUs, published models, engines and their fitted efficiencies. Called by the
CLI and the benchmark.

A table of the user's own may be laid over each (docs/estimator.md). An unknown GPU is None, not an error: it can be
measured, only not estimated.
"""

import functools
import importlib.resources
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rightsizer_operator.resource.architecture import Architecture
from rightsizer_operator.sizing.estimate import model_config, model_facts, table_files
from rightsizer_operator.sizing.estimate.failures import NotEstimable
from rightsizer_operator.sizing.estimate.model_facts import ModelFacts
from rightsizer_operator.sizing.estimate.table_files import EfficiencyTable, GpuTable


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFacts:
    """One accelerator product. TFLOPS are dense; 0: it has no such arithmetic."""

    name: str
    memory_gib: float
    bandwidth_gbs: float
    bf16_tflops: float
    fp8_tflops: float
    int8_tflops: float
    fp4_tflops: float
    link_gbs: float
    compute_capability: str
    price_hourly: str | None = None

    def tflops(self, arithmetic: str) -> float:
        """Of a format; BF16's where there is no faster arithmetic for it (weights are then widened first)."""
        fast = {"FP8": self.fp8_tflops, "INT8": self.int8_tflops, "FP4": self.fp4_tflops}.get(arithmetic, 0.0)
        return max(fast, self.bf16_tflops)


def _read(name: str) -> Any:
    return json.loads(importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))


@functools.cache
def dated(name: str) -> str:
    """The date of one of the package's tables."""
    return str(_read(name)["dated"])


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@functools.cache
def _gpus() -> dict[str, GpuFacts]:
    return gpu_table(_read("gpus.json"))


def gpu_table(table: Mapping[str, Any]) -> dict[str, GpuFacts]:
    """Facts by plain name and alias, of a document like gpus.json; raises NotEstimable with the field at fault."""
    found = {}
    for entry in table_files.checked(GpuTable, table).gpus:
        facts = GpuFacts(**entry.model_dump(exclude={"aliases", "source"}))
        found.update({_plain(name): facts for name in (facts.name, *entry.aliases)})
    return found


def gpu(name: str, more: Mapping[str, GpuFacts] | None = None) -> GpuFacts | None:
    """Facts of a product, as node labels (NVIDIA-H100-80GB-HBM3) or recordings (h100_sxm) name it; None: unknown."""
    plain = _plain(name.removesuffix("-SHARED"))
    return (more or {}).get(plain) or _gpus().get(plain)


@functools.cache
def _models() -> dict[str, Mapping[str, Any]]:
    entries = _read("models.json")["models"]
    return {_plain(name): entry for entry in entries for name in (entry["name"], *entry["aliases"])}


def model_key(name: str) -> str:
    """A model's name as the table compares it: the part after the slash counts."""
    return _plain(name.rpartition("/")[2])


@functools.cache
def published_architecture(name: str) -> Architecture | None:
    """What ``config.json`` of a published model says; None: not in the table."""
    entry = _models().get(model_key(name))
    if entry is None:
        return None
    found = model_config.architecture(entry["config"])
    return found.model_copy(update={"block_scaled": bool(entry.get("fp8_block_scaled"))})


@functools.cache
def published_model(name: str) -> ModelFacts | None:
    """Facts of a published model; None: not in the table."""
    found = published_architecture(name)
    return None if found is None else model_facts.from_architecture(found, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiencies:
    """What an engine reaches of a GPU's data sheet, and what it costs beside: fitted, not measured piece by piece."""

    compute: float
    """Share of the BF16 peak that large matrix products reach."""
    compute_8bit: float
    """Share of the FP8, INT8 or FP4 peak."""
    block_scaled: float
    """Of that, what is left where 8-bit weights have one scale a block."""
    bandwidth: float
    """Share of the memory bandwidth at which weights are read."""
    kv_bandwidth: float
    """Share of the memory bandwidth at which the KV cache is read."""
    attention: float
    """Share of the BF16 peak in prefill attention."""
    link: float
    """Share of the link bandwidth in all-reduce."""
    allreduce_us: float
    """Latency of one all-reduce."""
    layer_us: float
    """Launch gaps of one layer in one step."""
    step_ms: float
    """Scheduling and sampling of one step."""
    sequence_us: float
    """Of one running sequence in one step."""
    request_ms: float
    """From the client to the scheduler and back: once a request."""
    token_us: float
    """Of one output token in the front end, beside the steps: it bounds the token rate of one API server."""
    drift_tokens: float
    """How far requests of equal length drift apart in a closed loop, in output tokens either way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRules:
    """How an engine makes batches, by its defaults."""

    name: str
    policy: str
    """Mixed: prefill chunks ride with decodes. Whole: prompts uncut, with decodes. First: decodes wait for prefill."""
    batched_tokens: int
    sequences: int
    memory_share: float
    """Of the GPU's memory; OfFree: of what weights leave free."""
    of_free: bool
    engine_gib: float
    """What it takes beside weights, activations and cache: context, graphs, work spaces."""
    reserves: bool
    """Whether a request is let in only when its whole answer fits; else it may be preempted."""


ENGINES = {
    "VLLM": EngineRules(
        name="VLLM", policy="Mixed", batched_tokens=8192, sequences=1024, memory_share=0.92, of_free=False,
        engine_gib=3.5, reserves=False,
    ),
    "TensorRTLLM": EngineRules(
        name="TensorRTLLM", policy="Whole", batched_tokens=8192, sequences=2048, memory_share=0.9, of_free=True,
        engine_gib=3.0, reserves=True,
    ),
    "SGLang": EngineRules(
        name="SGLang", policy="First", batched_tokens=8192, sequences=1024, memory_share=0.83, of_free=False,
        engine_gib=1.4, reserves=True,
    ),
}  # fmt: skip


def efficiency_table(table: Mapping[str, Any], gpus: Mapping[str, GpuFacts] | None = None) -> dict[str, Efficiencies]:
    """Efficiencies by ``engine`` or ``engine/GPU`` of a document like efficiencies.json; raises NotEstimable. ``gpus``:
    the user's own; with them, a GPU that is in no table is an error.
    """
    read = table_files.checked(EfficiencyTable, table).efficiencies
    for engine in ENGINES:
        if engine not in read:
            raise NotEstimable(f"efficiencies.{engine}", "is missing", "Lay the table out as the package's own.")
    return {_pair(key, gpus): Efficiencies(**entry.model_dump()) for key, entry in read.items()}


def _pair(key: str, gpus: Mapping[str, GpuFacts] | None) -> str:
    """The key by the GPU's own name; raises NotEstimable where it would be without effect."""
    engine, slash, product = key.partition("/")
    if engine not in ENGINES:
        raise NotEstimable(
            f"efficiencies.{key}", "names no known engine", f"One of {', '.join(ENGINES)}, or ENGINE/GPU."
        )
    if not slash:
        return engine
    known = gpu(product, gpus)
    if known is None and gpus is not None:
        raise NotEstimable(f"efficiencies.{key}", "names no known GPU", "Correct the name, or give --gpus FILE.")
    return f"{engine}/{known.name if known else product}"


def packaged() -> dict[str, Efficiencies]:
    """The package's own, by ``engine`` or ``engine/GPU``."""
    return dict(_efficiencies())


@functools.cache
def _efficiencies() -> dict[str, Efficiencies]:
    return efficiency_table(_read("efficiencies.json"))


def efficiencies(engine: str, gpu_name: str, table: Mapping[str, Efficiencies] | None = None) -> Efficiencies:
    """Of that pair, else of the engine on any GPU."""
    known = _efficiencies() if table is None else table
    return known.get(f"{engine}/{gpu_name}") or known[engine]
