"""What a Hugging Face ``config.json`` says of a model's architecture. Called by ``model_facts`` and the CLI.

A layout it does not know is an error that names the field: a guess would look like a result. Lists of layers may be
counts, as a trial's report has them (``rightsizer_jobs.trial.model_shape``).
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ValidationError

from rightsizer_operator.resource.architecture import Architecture, Experts, Latent, SlidingWindow
from rightsizer_operator.sizing.estimate.failures import NotEstimable

Format = Literal["BF16", "FP8", "INT8", "INT4", "FP4"]

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


def architecture(config: Mapping[str, Any]) -> Architecture:
    """Of a ``config.json``; raises NotEstimable with the field it cannot read."""
    inner = config.get("text_config")
    text = {**config, **inner} if isinstance(inner, Mapping) else config
    try:
        _refuse_unknown(text)
        return _read(config, text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotEstimable(where or "config.json", first["msg"], _REMEDY) from None
    except (TypeError, ValueError) as error:
        raise NotEstimable("config.json", f"cannot be read: {error}", _REMEDY) from None


def _read(config: Mapping[str, Any], text: Mapping[str, Any]) -> Architecture:
    heads, hidden, layers = (_whole(text, key) for key in ("num_attention_heads", "hidden_size", "num_hidden_layers"))
    latent = _latent(text)
    kv_heads = None if latent else _whole(text, "num_key_value_heads", heads)
    if kv_heads and heads % kv_heads:
        raise NotEstimable("num_key_value_heads", f"{kv_heads} does not divide {heads} heads", _REMEDY)
    experts = _experts(text, layers)
    width = _whole(text, "intermediate_size", experts.intermediate_size if experts else None)
    return Architecture(
        layers=layers,
        hidden_size=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=None if latent else _whole(text, "head_dim", max(1, hidden // heads)),
        intermediate_size=_whole(text, "intermediate_size_mlp", width) if experts else width,
        vocabulary=_whole(text, "vocab_size"),
        gated=text.get("hidden_act") not in _PLAIN_ACTIVATIONS,
        tied_embeddings=bool(text.get("tie_word_embeddings", False)),
        weights=_weights(config),
        block_scaled=bool((config.get("quantization_config") or {}).get("weight_block_size")),
        kv_format=_kv_format(config),
        longest=_whole(text, "max_position_embeddings", 0),
        experts=experts,
        latent=latent,
        sliding_window=_window(text, layers),
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


def _experts(text: Mapping[str, Any], layers: int) -> Experts | None:
    count = next((int(text[key]) for key in _EXPERTS if text.get(key)), 0)
    if not count:
        return None
    per_token = next((int(text[key]) for key in _PER_TOKEN if text.get(key)), 0)
    if not 0 < per_token <= count:
        raise NotEstimable("num_experts_per_tok", f"{per_token} of {count} experts", _REMEDY)
    width = _whole(text, "moe_intermediate_size", _whole(text, "intermediate_size", 1))
    shared = int(text.get("n_shared_experts") or 0) * width
    dense = layers - _moe_layers(text, layers)
    if dense >= layers:
        return None
    return Experts(
        count=count,
        per_token=per_token,
        intermediate_size=width,
        shared_size=int(text.get("shared_expert_intermediate_size") or shared),
        dense_layers=dense,
    )


_EXPERTS = ("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts")
_PER_TOKEN = ("num_experts_per_tok", "experts_per_token", "num_experts_per_token", "moe_top_k")


def _moe_layers(text: Mapping[str, Any], layers: int) -> int:
    first = int(text.get("first_k_dense_replace") or 0)
    step = int(text.get("decoder_sparse_step") or text.get("interleave_moe_layer_step") or 1)
    dense = text.get("mlp_only_layers") or 0
    return max(0, (layers - first) // max(1, step) - (dense if isinstance(dense, int) else len(dense)))


def _latent(text: Mapping[str, Any]) -> Latent | None:
    if not text.get("kv_lora_rank"):
        return None
    return Latent(
        kv_rank=_whole(text, "kv_lora_rank"),
        query_rank=int(text.get("q_lora_rank") or 0),
        nope_dim=_whole(text, "qk_nope_head_dim"),
        rope_dim=_whole(text, "qk_rope_head_dim"),
        value_dim=_whole(text, "v_head_dim"),
    )


def _window(text: Mapping[str, Any], layers: int) -> SlidingWindow | None:
    """Layers with a sliding window, and its tokens."""
    window = text.get("sliding_window") or text.get("attention_chunk_size")
    if not window or text.get("use_sliding_window") is False:
        return None
    kinds = text.get("layer_types")
    pattern = int(text.get("sliding_window_pattern") or 0)
    if isinstance(kinds, Mapping):
        sliding = sum(int(count) for kind, count in kinds.items() if kind in _SLIDING)
    elif kinds:
        sliding = sum(kind in _SLIDING for kind in kinds)
    else:
        sliding = layers - layers // pattern if pattern > 1 else layers
    if not sliding:
        return None
    return SlidingWindow(tokens=_whole({"sliding_window": window}, "sliding_window"), layers=sliding)


_METHODS: dict[str, Format] = {
    "fp8": "FP8",
    "fbgemm_fp8": "FP8",
    "awq": "INT4",
    "gptq": "INT4",
    "mxfp4": "FP4",
    "nvfp4": "FP4",
}


def _weights(config: Mapping[str, Any]) -> Format:
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


_NUMBERS: dict[str, Format] = {"float8": "FP8", "int8": "INT8", "int4": "INT4", "float4": "FP4"}


def _compressed(quantization: Mapping[str, Any]) -> Format:
    """Format of a compressed-tensors checkpoint, from its first group."""
    for group in (quantization.get("config_groups") or {}).values():
        weights = group.get("weights") or {}
        found = _NUMBERS.get(f"{weights.get('type')}{weights.get('num_bits')}")
        if found:
            return found
    raise NotEstimable("quantization_config", "a weight format unknown to the estimator", _REMEDY)


def _kv_format(config: Mapping[str, Any]) -> Literal["BF16", "FP8"]:
    quantization = config.get("quantization_config") or {}
    algorithm = str(quantization.get("kv_cache_quant_algo") or "").upper()
    scheme = quantization.get("kv_cache_scheme") or {}
    return "FP8" if algorithm == "FP8" or scheme.get("num_bits") == 8 else "BF16"
