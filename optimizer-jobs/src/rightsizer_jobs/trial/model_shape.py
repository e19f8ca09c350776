"""What of a model's config.json tells its size and shape: a few hundred bytes for the operator's estimator, which
cannot read the model volume. Pure. Called by ``run``.

Nothing is interpreted here but lists, which are counted: the operator reads the fields as it reads a config.json.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

LIMIT_BYTES = 700
"""More than that is left out: a report has 4,096 bytes, and evidence comes first."""

FIELDS = (
    "model_type", "num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim",
    "vocab_size", "intermediate_size", "hidden_act", "max_position_embeddings", "tie_word_embeddings",
    "is_encoder_decoder",
    "n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts",
    "num_experts_per_tok", "experts_per_token", "num_experts_per_token", "moe_top_k",
    "moe_intermediate_size", "intermediate_size_mlp", "n_shared_experts", "shared_expert_intermediate_size",
    "first_k_dense_replace", "decoder_sparse_step", "interleave_moe_layer_step",
    "kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim",
    "sliding_window", "attention_chunk_size", "use_sliding_window", "sliding_window_pattern",
    "is_decoder", "no_rope_layer_interval",
    "state_size", "ssm_state_size", "mamba_d_state", "mamba_num_heads", "linear_num_value_heads", "rwkv_version",
    "d_state",
)  # fmt: skip
"""As Hugging Face spells them, at the top or in one of ``NESTED``; null ones are left out."""
COUNTED = ("layer_types", "attn_type_list", "block_types", "_block_types", "layers_block_type")
"""Lists that name each layer's kind."""
NESTED = ("thinker_config", "text_config", "language_config", "llm_config")
"""Where models of several modalities keep their language model; the first may hold one of the others."""
METHOD = ("quant_method", "quant_algo", "bits", "kv_cache_quant_algo", "weight_block_size")


def shape(config: Mapping[str, Any]) -> dict[str, JsonValue] | None:
    """The fields that are there, of plain values; None where they are more than LIMIT_BYTES of JSON."""
    text = _language_model(config)
    found: dict[str, JsonValue] = {name: text[name] for name in FIELDS if _plain(text.get(name))}
    for name in COUNTED:
        kinds = text.get(name)
        if isinstance(kinds, list) and kinds:
            found[name] = dict(Counter(str(kind)[:40] for kind in kinds))
    if text.get("linear_attn_config"):
        found["linear_attn_config"] = True
    dense = text.get("mlp_only_layers")
    if isinstance(dense, list) and dense:
        found["mlp_only_layers"] = len(dense)
    quantization = text.get("quantization_config")
    if isinstance(quantization, Mapping):
        found["quantization_config"] = _quantization(quantization)
    return found if len(json.dumps(found, separators=(",", ":"))) <= LIMIT_BYTES else None


def _language_model(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Its fields laid over those at the top; null ones count as absent."""
    found = config
    for key in NESTED:
        inner = found.get(key)
        if isinstance(inner, Mapping):
            found = {**found, **{name: value for name, value in inner.items() if value is not None}}
    return found


def _plain(value: object) -> bool:
    return isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= 40)


def _quantization(config: Mapping[str, Any]) -> dict[str, JsonValue]:
    """How weights and cache are stored: the method, and of compressed-tensors the first group's weights."""
    found: dict[str, JsonValue] = {name: config[name] for name in METHOD if config.get(name) and name in config}
    scheme = config.get("kv_cache_scheme")
    if isinstance(scheme, Mapping):
        found["kv_cache_scheme"] = {"num_bits": scheme.get("num_bits")}
    groups = config.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
    weights = first.get("weights") if isinstance(first, Mapping) else None
    if isinstance(weights, Mapping):
        found["config_groups"] = {"0": {"weights": {"type": weights.get("type"), "num_bits": weights.get("num_bits")}}}
    return found
