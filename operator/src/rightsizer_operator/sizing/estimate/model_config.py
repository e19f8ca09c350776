"""What a Hugging Face ``config.json`` says of a model's architecture. Called by ``model_facts`` and the CLI.

A layout it does not know is an error that names the field: a guess would look like a result. Lists of layers may be
counts, as a trial's report has them (``rightsizer_jobs.trial.model_shape``).
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from rightsizer_operator.resource.architecture import Architecture, Experts, Latent
from rightsizer_operator.sizing.estimate import config_fields, layouts, quantization
from rightsizer_operator.sizing.estimate.config_fields import count, mapping, refused, whole
from rightsizer_operator.sizing.estimate.failures import NotEstimable

_PLAIN_ACTIVATIONS = ("relu", "gelu", "gelu_new", "gelu_fast", "relu2")
"""Activations of two-matrix feed-forward layers; all others gate, with three matrices."""
_LLAMA4 = ("llama4", "llama4_text")
_MOST = 100_000_000
"""The longest context that ``spec.model.architecture`` may state."""
_REMEDY = config_fields.REMEDY


def architecture(config: Mapping[str, Any]) -> Architecture:
    """Of a ``config.json``; raises NotEstimable with the field it cannot read."""
    try:
        text = config_fields.text_of(config)
        layouts.refuse_unknown(text)
        return _read(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotEstimable(where or "config.json", first["msg"], _REMEDY) from None
    except (TypeError, ValueError) as error:
        raise NotEstimable("config.json", f"cannot be read: {error}", _REMEDY) from None


def _read(text: Mapping[str, Any]) -> Architecture:
    heads, hidden, layers = (whole(text, key) for key in ("num_attention_heads", "hidden_size", "num_hidden_layers"))
    latent = _latent(text)
    kv_heads = None if latent else whole(text, "num_key_value_heads", heads)
    if kv_heads and heads % kv_heads:
        raise refused("num_key_value_heads", f"{kv_heads} does not divide {heads} heads")
    experts = _experts(text, layers)
    width = whole(text, "intermediate_size", experts.intermediate_size if experts else None)
    stored = quantization.quantized(text)
    return Architecture(
        layers=layers,
        hidden_size=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=None if latent else whole(text, "head_dim", max(1, hidden // heads)),
        intermediate_size=whole(text, "intermediate_size_mlp", width) if experts else width,
        vocabulary=whole(text, "vocab_size"),
        gated=text.get("hidden_act") not in _PLAIN_ACTIVATIONS,
        tied_embeddings=bool(text.get("tie_word_embeddings", text.get("model_type") in layouts.TIED)),
        weights=stored.weights,
        block_scaled=stored.block_scaled,
        kv_format=stored.kv_cache,
        longest=_longest(text),
        experts=experts,
        latent=latent,
        sliding_window=layouts.window(text, layers),
    )


def _longest(text: Mapping[str, Any]) -> int:
    """The larger of what is stated and what scaled positions reach: engines differ in which of the two they take."""
    stated = whole(text, "max_position_embeddings", 0)
    if str(text.get("model_type")).startswith("gemma3"):  # what it states is scaled already, and it repeats the factor
        return stated
    scaling = mapping(text, "rope_scaling") or mapping(text, "rope_parameters")
    factor = scaling.get("factor")
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor <= 1000:
        return stated
    return max(stated, min(_MOST, int(factor * whole(scaling, "original_max_position_embeddings", stated))))


def _experts(text: Mapping[str, Any], layers: int) -> Experts | None:
    routed = next((whole(text, key) for key in _EXPERTS if text.get(key)), 0)
    if not routed:
        return None
    per_token = next((whole(text, key) for key in _PER_TOKEN if text.get(key)), 0)
    if not 0 < per_token <= routed:
        raise refused("num_experts_per_tok", f"{per_token} of {routed} experts")
    width = whole(text, "moe_intermediate_size", whole(text, "intermediate_size", 1))
    shared = width * (1 if text.get("model_type") in _LLAMA4 else count(text, "n_shared_experts"))
    dense = layers - _moe_layers(text, layers)
    if dense >= layers:
        return None
    return Experts(
        count=routed,
        per_token=per_token,
        intermediate_size=width,
        shared_size=count(text, "shared_expert_intermediate_size") or shared,
        dense_layers=dense,
    )


_EXPERTS = ("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts")
_PER_TOKEN = ("num_experts_per_tok", "experts_per_token", "num_experts_per_token", "moe_top_k")


def _moe_layers(text: Mapping[str, Any], layers: int) -> int:
    first = count(text, "first_k_dense_replace")
    step = count(text, "decoder_sparse_step") or count(text, "interleave_moe_layer_step") or 1
    dense = text.get("mlp_only_layers")
    listed = len(dense) if isinstance(dense, list) else count(text, "mlp_only_layers")
    return max(0, (layers - first) // step - listed)


def _latent(text: Mapping[str, Any]) -> Latent | None:
    if not text.get("kv_lora_rank"):
        return None
    return Latent(
        kv_rank=whole(text, "kv_lora_rank"),
        query_rank=count(text, "q_lora_rank"),
        nope_dim=whole(text, "qk_nope_head_dim"),
        rope_dim=whole(text, "qk_rope_head_dim"),
        value_dim=whole(text, "v_head_dim"),
    )
