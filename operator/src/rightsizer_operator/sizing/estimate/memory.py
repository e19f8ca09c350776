"""What a configuration needs on each accelerator, and how many tokens of KV cache are left. Called by ``rows`` and
``candidates``.

The overhead is a prior (context, activations, graphs, communication buffers); an engine's own report replaces it once
measured.
"""

from dataclasses import dataclass

from rightsizer_operator.sizing.estimate.failures import DoesNotFit
from rightsizer_operator.sizing.estimate.model_facts import ModelFacts
from rightsizer_operator.sizing.estimate.tables import EngineRules, GpuFacts

GIB = 1024**3
BYTES = {"BF16": 2.0, "FP8": 1.01, "INT8": 1.01, "INT8W8A16": 1.01, "INT4": 0.53, "FP4": 0.5625}
"""Bytes of one linear parameter with its scales; embeddings and head stay in 16 bits."""
KV_BYTES = {"BF16": 2.0, "FP8": 1.0}
COLLECTIVES_GIB = 0.35


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What is estimated: one replica of one engine. Formats are BYTES' and KV_BYTES' keys."""

    model: ModelFacts
    gpu: GpuFacts
    rules: EngineRules
    weights: str
    kv_format: str
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    attention_data_parallel: int = 1
    """Groups of ``tensor_parallel`` accelerators that share the experts and split the requests."""
    memory_share: float | None = None
    """Instead of the engine's default."""

    @property
    def accelerators(self) -> int:
        return self.tensor_parallel * self.pipeline_parallel * self.attention_data_parallel


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Of the fullest accelerator, GiB; ``kv_tokens`` is what one group holds."""

    weights_gib: float
    overhead_gib: float
    usable_gib: float
    kv_gib: float
    kv_tokens: int


def accelerator_weight_bytes(configuration: Configuration) -> float:
    """Bytes of weights on one accelerator: experts are spread over all, the rest over one group."""
    model, group = configuration.model, configuration.tensor_parallel * configuration.pipeline_parallel
    experts = model.expert_params * BYTES[configuration.weights]
    return (weight_bytes(model, configuration.weights) - experts) / group + experts / configuration.accelerators


def weight_bytes(model: ModelFacts, weights: str) -> float:
    """Bytes of the whole model."""
    return model.linear_params * BYTES[weights] + model.embedding_params * 2.0


def kv_shards(model: ModelFacts, tensor_parallel: int) -> int:
    """Over how many accelerators the cache of a token is spread: KV heads beyond their number are replicated."""
    return min(tensor_parallel, model.kv_heads)


def kv_token_bytes(model: ModelFacts, kv_format: str, tensor_parallel: int) -> float:
    """Bytes of one token in all layers, on one accelerator."""
    return model.layers * model.kv_values * KV_BYTES[kv_format] / kv_shards(model, tensor_parallel)


def overhead_gib(configuration: Configuration) -> float:
    """Context, activations of the largest batch, graphs, communication buffers."""
    model, rules = configuration.model, configuration.rules
    activations = rules.batched_tokens * (model.hidden * 8 + 2 * model.hidden) * 2.0 / configuration.tensor_parallel
    logits = min(rules.sequences, 1024) * model.vocabulary * 4.0 / configuration.tensor_parallel
    collectives = COLLECTIVES_GIB if configuration.accelerators > 1 else 0.0
    return rules.engine_gib + collectives + (activations + logits) / GIB


def memory(configuration: Configuration, request_tokens: int) -> Memory:
    """What is left for the cache; raises DoesNotFit where weights or one request of ``request_tokens`` do not fit."""
    model, gpu, rules = configuration.model, configuration.gpu, configuration.rules
    weights = accelerator_weight_bytes(configuration) / GIB
    overhead = overhead_gib(configuration)
    share = rules.memory_share if configuration.memory_share is None else configuration.memory_share
    left = (
        (gpu.memory_gib - weights - overhead) * share if rules.of_free else gpu.memory_gib * share - weights - overhead
    )
    usable = gpu.memory_gib * (1.0 if rules.of_free else share)
    if left <= 0:
        raise DoesNotFit(
            f"weights and overhead need {weights + overhead:.1f} GiB on each accelerator, "
            f"{usable:.1f} GiB of a {gpu.name} can be used"
        )
    token = kv_token_bytes(model, configuration.kv_format, configuration.tensor_parallel)
    token /= configuration.pipeline_parallel
    tokens = int(left * GIB / token)
    if tokens < resident_tokens(model, request_tokens):
        raise DoesNotFit(
            f"one request needs {request_tokens} tokens of KV cache, {tokens} fit into the {left:.1f} GiB left"
        )
    return Memory(weights_gib=weights, overhead_gib=overhead, usable_gib=usable, kv_gib=left, kv_tokens=tokens)


def resident_tokens(model: ModelFacts, context: float) -> float:
    """Tokens of cache that a context keeps, as full layers count: sliding layers keep their window only."""
    if not model.sliding_layers or context <= model.window:
        return context
    return (context * (model.layers - model.sliding_layers) + model.window * model.sliding_layers) / model.layers
