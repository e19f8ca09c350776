"""How long one engine step takes: a roofline over weights, KV cache and arithmetic, all-reduce, and fixed costs.
Called by ``batching`` (the run) and ``roofline`` (the quick look).

A step carries some prompt tokens and one token of each running sequence. Memory and arithmetic of the matrix products
overlap: their times are joined by a soft maximum.
"""

import math
from dataclasses import dataclass

from rightsizer_operator.sizing.estimate.memory import BYTES, Configuration, kv_token_bytes
from rightsizer_operator.sizing.estimate.tables import Efficiencies

SOFTNESS = 3.0
"""Exponent of the soft maximum; infinite: a sharp one."""
EXPERT_LAYER_US = 20.0
LATENT_LAYER_US = 20.0
"""More launches in a layer with routed experts, and in one with latent attention: priors, no recording fits them."""
BLOCK_SCALED_LAYER_US = 12.0
"""Four more launches in a layer of block-scaled weights, at some 3 us each: the inputs of its four products are scaled
block by block at every step. A prior, chosen before it was compared with any row."""
_NARROW = {"FP8": "FP8", "INT8": "INT8", "FP4": "FP4"}


@dataclass(frozen=True, slots=True)
class StepClock:
    """Seconds of a step of one configuration; see ``of``. Coefficients in seconds a unit."""

    dense_weights_s: float
    """Reading what every step reads."""
    expert_weights_s: float
    """Reading all experts."""
    expert_skipped: float
    """Share of experts that one token leaves unread; 1 where there are none."""
    groups: int
    """Groups whose tokens meet at the experts."""
    token_s: float
    """Matrix products of one token."""
    pair_s: float
    """Prefill attention of one query-key pair, all layers and heads."""
    context_s: float
    """Reading the cache of one token of context."""
    window: int
    windowed: float
    """Share of layers with a sliding window."""
    token_traffic_s: float
    """All-reduce of one token, without its latency."""
    fixed_s: float
    sequence_s: float

    def seconds(self, prompt_tokens: int, pairs: float, sequences: int, context: float) -> float:
        """``pairs``: query-key pairs of the prompt tokens; ``context``: tokens in all running sequences' caches."""
        tokens = prompt_tokens + sequences
        reading = self.dense_weights_s
        if self.expert_weights_s:
            reading += self.expert_weights_s * (1.0 - self.expert_skipped ** (tokens * self.groups))
        work = tokens * self.token_s
        products = math.pow(reading**SOFTNESS + work**SOFTNESS, 1.0 / SOFTNESS)
        if self.windowed and sequences and context > sequences * self.window:
            context += (sequences * self.window - context) * self.windowed
        return (
            products
            + pairs * self.pair_s
            + context * self.context_s
            + tokens * self.token_traffic_s
            + self.fixed_s
            + sequences * self.sequence_s
        )


def clock(configuration: Configuration, of: Efficiencies) -> StepClock:
    """The clock of a configuration at an engine's efficiencies."""
    model, gpu, tp = configuration.model, configuration.gpu, configuration.tensor_parallel
    groups = configuration.attention_data_parallel
    bandwidth = gpu.bandwidth_gbs * 1e9 * of.bandwidth * tp
    arithmetic = _NARROW.get(configuration.weights, "BF16")
    peak = gpu.tflops(arithmetic)
    share = of.compute_8bit if peak > gpu.bf16_tflops else of.compute
    if model.block_scaled and arithmetic == "FP8":
        share *= of.block_scaled
    per_param = BYTES[configuration.weights]
    dense = (model.attention_params + model.dense_params) * per_param + model.vocabulary * model.hidden * 2.0
    token_traffic = 0.0
    if tp > 1:
        token_traffic = 2 * model.layers * model.hidden * 2.0 * 2 * (tp - 1) / tp / (gpu.link_gbs * 1e9 * of.link)
    return StepClock(
        dense_weights_s=dense / bandwidth,
        expert_weights_s=model.expert_params * per_param / bandwidth / groups,
        groups=groups,
        expert_skipped=1.0 - model.experts_per_token / model.experts if model.experts else 1.0,
        token_s=2.0 * model.active_params / (peak * 1e12 * share * tp),
        pair_s=4.0 * model.heads * model.head_dim * model.layers / (gpu.bf16_tflops * 1e12 * of.attention * tp),
        context_s=kv_token_bytes(model, configuration.kv_format, tp) / (gpu.bandwidth_gbs * 1e9 * of.kv_bandwidth),
        window=model.window,
        windowed=model.sliding_layers / model.layers,
        token_traffic_s=token_traffic,
        fixed_s=_fixed_ms(configuration, of) / 1e3,
        sequence_s=of.sequence_us * 1e-6,
    )


def _fixed_ms(configuration: Configuration, of: Efficiencies) -> float:
    model = configuration.model
    layers = model.layers
    gaps = of.layer_us + (EXPERT_LAYER_US if model.experts else 0.0) + (LATENT_LAYER_US if model.latent else 0.0)
    gaps += BLOCK_SCALED_LAYER_US if model.block_scaled and configuration.weights == "FP8" else 0.0
    latency = 2 * layers * of.allreduce_us * _doublings(configuration.tensor_parallel)
    hops = 0.1 * (configuration.pipeline_parallel - 1)
    return of.step_ms + (layers * gaps + latency) / 1e3 + hops


def _doublings(tensor_parallel: int) -> float:
    """All-reduce latency grows with the number of accelerators, slowly: 1 at two, 1.5 at four, 2 at eight."""
    return 0.0 if tensor_parallel == 1 else 0.5 + 0.5 * (tensor_parallel.bit_length() - 1)
