"""The model's shape and its start: a small Llama whose look-back circuit is seeded by hand. Needs torch and
transformers.

Called by ``train``. Two attention heads are set so that five minutes of training are enough; every weight stays
trainable.
"""

from dataclasses import dataclass

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from e2e.model.world import VOCABULARY

HEAD = 64
"""Dimensions of one attention head."""
INIT_RANGE = 0.03


@dataclass(frozen=True)
class Shape:
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int


BASE = Shape(hidden=256, intermediate=512, layers=4, heads=4, kv_heads=2)


def config(shape: Shape) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        head_dim=HEAD, max_position_embeddings=2048, rms_norm_eps=1e-5, tie_word_embeddings=False,
        bos_token_id=1, eos_token_id=2, pad_token_id=0, initializer_range=INIT_RANGE,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0}, attn_implementation="sdpa",
    )  # fmt: skip


def fresh(seed: int) -> LlamaForCausalLM:
    """An untrained base model with the look-back heads in place."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config(BASE))
    with torch.no_grad():
        _quiet_residual_writes(model)
        _previous_token_head(model)
        _matching_head(model)
    return model


def _quiet_residual_writes(model: LlamaForCausalLM) -> None:
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight *= 0.2
        layer.mlp.down_proj.weight *= 0.2
    embeddings = model.model.embed_tokens.weight
    embeddings[:, 0] = 4 * INIT_RANGE  # a constant for queries that do not depend on the token
    embeddings[:, 128:256] = 0  # room for what the two heads write


def _cleared_head(model: LlamaForCausalLM, layer: int) -> tuple[torch.Tensor, ...]:
    attention = model.model.layers[layer].self_attn
    q, k, v, o = (getattr(attention, f"{name}_proj").weight for name in "qkvo")
    q[:HEAD], k[:HEAD], v[:HEAD], o[:, :HEAD] = 0, 0, 0, 0
    for j in range(HEAD):
        v[j, 1 + j] = 1.0
    return q, k, v, o


def _previous_token_head(model: LlamaForCausalLM) -> None:
    """Layer 0, head 0: looks at the token before, copies its identity to dimensions 128-191."""
    q, k, _, o = _cleared_head(model, 0)
    angles = model.model.rotary_emb.inv_freq.double()
    for i in range(16):
        q[i, 0] = 1.5
        k[i, 0], k[i + HEAD // 2, 0] = 1.5 * torch.cos(angles[i]), 1.5 * torch.sin(angles[i])
    for j in range(HEAD):
        o[128 + j, j] = INIT_RANGE


def _matching_head(model: LlamaForCausalLM) -> None:
    """Layer 1, head 0: finds where the token before equals mine (slow RoPE pairs only), copies what stands there to
    192-255.
    """
    q, k, _, o = _cleared_head(model, 1)
    for j in (*range(16, 32), *range(48, 64)):
        q[j, 1 + j] = 1.6
        k[j, 128 + j] = 1.6
    for j in range(HEAD):
        o[192 + j, j] = INIT_RANGE
