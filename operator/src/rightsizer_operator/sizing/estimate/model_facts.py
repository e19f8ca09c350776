"""A model's size and shape, from the ``config.json`` that lies beside its weights. Called by ``known`` and the CLI.

Reads dense and mixture-of-experts layers, grouped-query, multi-head and latent (MLA) attention, and sliding windows.
A layout it does not know is an error that names the field: a guess would look like a result.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rightsizer_operator.sizing.estimate.failures import NotEstimable

_PLAIN_ACTIVATIONS = ("relu", "gelu", "gelu_new", "gelu_fast", "relu2")
"""Activations of two-matrix feed-forward layers; all others gate, with three matrices."""
_FULL, _SLIDING = ("full_attention",), ("sliding_attention", "chunked_attention")
_STATE_SPACE = (
    "ssm_state_size",
    "mamba_d_state",
    "mamba_num_heads",
    "linear_num_value_heads",
    "rwkv_version",
    "d_state",
)
_REMEDY = "Measure this model instead (search.strategy: Thorough); only known layouts can be estimated."


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
    inner = config.get("text_config")
    text = {**config, **inner} if isinstance(inner, Mapping) else config
    _refuse_unknown(text)
    heads, hidden, layers = (_whole(text, key) for key in ("num_attention_heads", "hidden_size", "num_hidden_layers"))
    latent = bool(text.get("kv_lora_rank"))
    head_dim = _whole(text, "head_dim", hidden // heads)
    kv_heads = 1 if latent else _whole(text, "num_key_value_heads", heads)
    if heads % kv_heads:
        raise NotEstimable("num_key_value_heads", f"{kv_heads} does not divide {heads} heads", _REMEDY)
    dense, experts_total, experts, per_token = _feed_forward(text, layers, hidden)
    sliding, window = _windows(text, layers)
    return ModelFacts(
        name=name or str(text.get("_name_or_path") or text.get("model_type") or "model"),
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=_latent_head(text) if latent else head_dim,
        vocabulary=_whole(text, "vocab_size"),
        attention_params=layers * (_latent_attention(text) if latent else 2 * hidden * head_dim * (heads + kv_heads)),
        dense_params=dense,
        expert_params=experts_total,
        experts=experts,
        experts_per_token=per_token,
        kv_values=_latent_values(text) if latent else 2 * kv_heads * head_dim,
        latent=latent,
        tied_embeddings=bool(text.get("tie_word_embeddings", False)),
        sliding_layers=sliding,
        window=window,
        weights=_weights(config),
        block_scaled=bool((config.get("quantization_config") or {}).get("weight_block_size")),
        kv_format=_kv_format(config),
        longest=_whole(text, "max_position_embeddings", 0),
    )


def _refuse_unknown(text: Mapping[str, Any]) -> None:
    if text.get("is_encoder_decoder"):
        raise NotEstimable("is_encoder_decoder", "encoder-decoder models are not known to the estimator", _REMEDY)
    for field in _STATE_SPACE:
        if text.get(field):
            raise NotEstimable(field, "state-space and linear-attention layers are not known to the estimator", _REMEDY)
    for kind in text.get("layer_types") or ():
        if kind not in _FULL + _SLIDING:
            raise NotEstimable("layer_types", f"{str(kind)[:60]!r} is not known to the estimator", _REMEDY)


def _whole(text: Mapping[str, Any], field: str, default: int | None = None) -> int:
    value = text.get(field)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        problem = "is missing" if value is None else f"{str(value)[:60]!r} is no positive whole number"
        raise NotEstimable(field, problem, "Give the model's own config.json, as it lies beside the weights.")
    return value


def _feed_forward(text: Mapping[str, Any], layers: int, hidden: int) -> tuple[int, int, int, int]:
    """Parameters of dense layers and of all experts, experts per layer, experts a token passes."""
    matrices = 2 if text.get("hidden_act") in _PLAIN_ACTIVATIONS else 3
    experts = next((int(text[key]) for key in _EXPERTS if text.get(key)), 0)
    width = _whole(text, "intermediate_size", None if not experts else 1)
    if not experts:
        return layers * matrices * hidden * width, 0, 0, 0
    per_token = next((int(text[key]) for key in _PER_TOKEN if text.get(key)), 0)
    if not 0 < per_token <= experts:
        raise NotEstimable("num_experts_per_tok", f"{per_token} of {experts} experts", _REMEDY)
    expert_width = _whole(text, "moe_intermediate_size", width)
    moe_layers = _moe_layers(text, layers)
    shared = int(text.get("n_shared_experts") or 0) * expert_width
    shared = int(text.get("shared_expert_intermediate_size") or shared)
    dense = (layers - moe_layers) * matrices * hidden * int(text.get("intermediate_size_mlp") or width)
    dense += moe_layers * (matrices * hidden * shared + hidden * experts)
    return dense, moe_layers * experts * matrices * hidden * expert_width, experts, per_token


_EXPERTS = ("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts")
_PER_TOKEN = ("num_experts_per_tok", "experts_per_token", "num_experts_per_token", "moe_top_k")


def _moe_layers(text: Mapping[str, Any], layers: int) -> int:
    first = int(text.get("first_k_dense_replace") or 0)
    step = int(text.get("decoder_sparse_step") or text.get("interleave_moe_layer_step") or 1)
    dense = len(text.get("mlp_only_layers") or ())
    return max(0, (layers - first) // max(1, step) - dense)


def _latent_head(text: Mapping[str, Any]) -> int:
    return (_whole(text, "qk_nope_head_dim") + _whole(text, "qk_rope_head_dim") + _whole(text, "v_head_dim")) // 2


def _latent_values(text: Mapping[str, Any]) -> int:
    return _whole(text, "kv_lora_rank") + _whole(text, "qk_rope_head_dim")


def _latent_attention(text: Mapping[str, Any]) -> int:
    hidden, heads, rank = (_whole(text, key) for key in ("hidden_size", "num_attention_heads", "kv_lora_rank"))
    nope, rope, value = (_whole(text, key) for key in ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"))
    query = heads * (nope + rope)
    low_rank = int(text.get("q_lora_rank") or 0)
    queries = low_rank * (hidden + query) if low_rank else hidden * query
    return queries + hidden * (rank + rope) + rank * heads * (nope + value) + heads * value * hidden


def _windows(text: Mapping[str, Any], layers: int) -> tuple[int, int]:
    """Layers with a sliding window, and its tokens."""
    window = text.get("sliding_window") or text.get("attention_chunk_size")
    if not window or text.get("use_sliding_window") is False:
        return 0, 0
    kinds = text.get("layer_types")
    pattern = int(text.get("sliding_window_pattern") or 0)
    if kinds:
        sliding = sum(kind in _SLIDING for kind in kinds)
    else:
        sliding = layers - layers // pattern if pattern > 1 else layers
    return sliding, _whole({"sliding_window": window}, "sliding_window")


_METHODS = {"fp8": "FP8", "fbgemm_fp8": "FP8", "awq": "INT4", "gptq": "INT4", "mxfp4": "FP4", "nvfp4": "FP4"}


def _weights(config: Mapping[str, Any]) -> str:
    quantization = config.get("quantization_config") or {}
    if not quantization:
        return "BF16"
    method = str(quantization.get("quant_method", "")).lower()
    algorithm = str(quantization.get("quant_algo", "")).lower()
    for word in (method, algorithm.partition("_")[0]):
        if word == "gptq" and quantization.get("bits") == 8:
            return "INT8"
        if word in _METHODS:
            return _METHODS[word]
    return _compressed(quantization)


_NUMBERS = {"float8": "FP8", "int8": "INT8", "int4": "INT4", "float4": "FP4"}


def _compressed(quantization: Mapping[str, Any]) -> str:
    """Format of a compressed-tensors checkpoint, from its first group."""
    for group in (quantization.get("config_groups") or {}).values():
        weights = group.get("weights") or {}
        found = _NUMBERS.get(f"{weights.get('type')}{weights.get('num_bits')}")
        if found:
            return found
    raise NotEstimable("quantization_config", "a weight format unknown to the estimator", _REMEDY)


def _kv_format(config: Mapping[str, Any]) -> str:
    quantization = config.get("quantization_config") or {}
    algorithm = str(quantization.get("kv_cache_quant_algo") or "").upper()
    scheme = quantization.get("kv_cache_scheme") or {}
    return "FP8" if algorithm == "FP8" or scheme.get("num_bits") == 8 else "BF16"
