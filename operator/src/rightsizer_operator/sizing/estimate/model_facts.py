"""A model's size and shape as counts: parameters, cached values, layers with a window. Called by ``tables`` and the
CLI, and by ``phases`` for what a resource states.

Knows dense and mixture-of-experts layers, grouped-query, multi-head and latent (MLA) attention, and sliding windows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rightsizer_operator.resource.architecture import Architecture, Latent
from rightsizer_operator.sizing.estimate import model_config


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Counts of parameters are per model, not per accelerator."""

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    """1 for latent attention, whose cache every accelerator holds whole."""
    head_dim: int
    vocabulary: int
    attention_params: int
    dense_params: int
    """Feed-forward parameters that every token passes: dense layers, shared experts, routers."""
    expert_params: int
    """All routed experts of all layers."""
    experts: int
    experts_per_token: int
    kv_values: int
    """Cached values per token and layer, over all KV heads."""
    latent: bool
    tied_embeddings: bool
    sliding_layers: int
    window: int
    weights: str
    """Format of the checkpoint: BF16, FP8, INT8, INT4 or FP4."""
    block_scaled: bool
    """8-bit weights with one scale a block: slower products than one scale a tensor or channel."""
    kv_format: str
    """FP8 where the checkpoint brings an FP8 cache, else BF16."""
    longest: int
    """Largest context, tokens; 0: not stated."""

    @property
    def linear_params(self) -> int:
        """Parameters of all linear layers but the embeddings."""
        return self.attention_params + self.dense_params + self.expert_params

    @property
    def active_params(self) -> float:
        """Linear parameters that one token passes."""
        share = self.experts_per_token / self.experts if self.experts else 0.0
        return self.attention_params + self.dense_params + self.expert_params * share

    @property
    def embedding_params(self) -> int:
        return self.vocabulary * self.hidden * (1 if self.tied_embeddings else 2)


def from_config(config: Mapping[str, Any], name: str = "") -> ModelFacts:
    """Facts of a Hugging Face ``config.json``; raises NotEstimable with the field it cannot read."""
    called = name or str(config.get("_name_or_path") or config.get("model_type") or "model")
    return from_architecture(model_config.architecture(config), called)


def from_architecture(stated: Architecture, name: str) -> ModelFacts:
    """Facts of ``spec.model.architecture``."""
    latent, window, experts = stated.latent, stated.sliding_window, stated.experts
    kv_heads = 1 if latent else stated.kv_heads or stated.heads
    head_dim = stated.head_dim or max(1, stated.hidden_size // stated.heads)
    attention = (
        _latent_attention(stated, latent) if latent else 2 * stated.hidden_size * head_dim * (stated.heads + kv_heads)
    )
    dense, routed = _feed_forward(stated)
    return ModelFacts(
        name=name,
        layers=stated.layers,
        hidden=stated.hidden_size,
        heads=stated.heads,
        kv_heads=kv_heads,
        head_dim=(latent.nope_dim + latent.rope_dim + latent.value_dim) // 2 if latent else head_dim,
        vocabulary=stated.vocabulary,
        attention_params=stated.layers * attention,
        dense_params=dense,
        expert_params=routed,
        experts=experts.count if experts else 0,
        experts_per_token=experts.per_token if experts else 0,
        kv_values=latent.kv_rank + latent.rope_dim if latent else 2 * kv_heads * head_dim,
        latent=latent is not None,
        tied_embeddings=stated.tied_embeddings,
        sliding_layers=window.layers if window else 0,
        window=window.tokens if window else 0,
        weights=stated.weights,
        block_scaled=stated.block_scaled,
        kv_format=stated.kv_format,
        longest=stated.longest,
    )


def _latent_attention(stated: Architecture, latent: Latent) -> int:
    """Parameters of one layer's attention."""
    hidden, heads = stated.hidden_size, stated.heads
    query = heads * (latent.nope_dim + latent.rope_dim)
    queries = latent.query_rank * (hidden + query) if latent.query_rank else hidden * query
    keys = hidden * (latent.kv_rank + latent.rope_dim)
    return (
        queries
        + keys
        + latent.kv_rank * heads * (latent.nope_dim + latent.value_dim)
        + heads * latent.value_dim * (hidden)
    )


def _feed_forward(stated: Architecture) -> tuple[int, int]:
    """Parameters that every token passes, and those of all routed experts, over all layers."""
    matrix, experts = (3 if stated.gated else 2) * stated.hidden_size, stated.experts
    if experts is None:
        return stated.layers * matrix * stated.intermediate_size, 0
    sparse = stated.layers - experts.dense_layers
    dense = experts.dense_layers * matrix * stated.intermediate_size
    dense += sparse * (matrix * experts.shared_size + stated.hidden_size * experts.count)
    return dense, sparse * experts.count * matrix * experts.intermediate_size
