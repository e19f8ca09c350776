"""Grow the base model without changing its function: zero-padded width, layers that do nothing. Needs torch.

Run as ``python -m e2e.model.grow SOURCE OUT SIZE``. A model of 3.4M parameters costs an engine next to nothing; one of
26M or 94M costs real compute and answers the same. Where the width grows by a power of four, as at 94M, the norm gains
stay exact in BF16; at 26M a few of 900 answers change.
"""

import shutil
import sys
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from e2e.model.architecture import Shape

SIZES = {
    "26M": Shape(hidden=512, intermediate=1408, layers=8, heads=8, kv_heads=4),
    "94M": Shape(hidden=1024, intermediate=2816, layers=8, heads=16, kv_heads=4),
}
TOLERANCE = 1e-3
"""Largest difference of a logit in float32; a mistake in the padding gives whole units."""


def grown_config(old: LlamaConfig, shape: Shape) -> LlamaConfig:
    """The mean square over the wider, zero-padded state is smaller by the ratio of widths; so is the epsilon of the
    norms.
    """
    return LlamaConfig(
        **{
            **old.to_dict(),
            "hidden_size": shape.hidden, "intermediate_size": shape.intermediate, "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads,
            "rms_norm_eps": old.rms_norm_eps * old.hidden_size / shape.hidden, "initializer_range": 0.02,
        }
    )  # fmt: skip


def query_rows(old: LlamaConfig, new: LlamaConfig) -> torch.Tensor:
    """Where the rows of each old query head go, so that it keeps its key-value head."""
    group, new_group = (c.num_attention_heads // c.num_key_value_heads for c in (old, new))
    heads = [(head // group) * new_group + head % group for head in range(old.num_attention_heads)]
    return torch.cat([torch.arange(old.head_dim) + head * old.head_dim for head in heads])


def padded(name: str, old: torch.Tensor | None, new: torch.Tensor, gain: float, rows: torch.Tensor) -> torch.Tensor:
    """The grown tensor. Without an old one (an added layer) it stays random, but what it writes to the residual stream
    is zero.
    """
    if old is None:
        writes = "o_proj" in name or "down_proj" in name
        return torch.zeros_like(new) if writes else new
    out = torch.zeros_like(new)
    if name.endswith("norm.weight"):
        out[: len(old)] = old * gain
    elif "q_proj" in name:
        out[rows, : old.shape[1]] = old
    elif "o_proj" in name:
        out[: old.shape[0], rows] = old
    else:
        out[: old.shape[0], : old.shape[1]] = old
    return out


def grow(model: LlamaForCausalLM, shape: Shape) -> LlamaForCausalLM:
    """A model of ``shape`` with the same function; raises ValueError when it does not compute the same."""
    torch.manual_seed(0)
    config = grown_config(model.config, shape)
    larger = LlamaForCausalLM(config).float()
    gain, rows = (model.config.hidden_size / shape.hidden) ** 0.5, query_rows(model.config, config)
    small = model.state_dict()
    larger.load_state_dict({
        name: padded(name, small.get(name), tensor, gain, rows) for name, tensor in larger.state_dict().items()
    })  # fmt: skip
    tokens = torch.randint(20, 1500, (2, 64))
    with torch.inference_mode():
        difference = (model(tokens).logits - larger(tokens).logits).abs().max().item()
    if difference > TOLERANCE:
        raise ValueError(f"the grown model computes something else: a logit differs by {difference:.2e}")
    return larger


def main() -> None:
    source, out, size = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    model = LlamaForCausalLM.from_pretrained(source, dtype=torch.float32)
    larger = grow(model, SIZES[size])
    larger.to(torch.bfloat16).save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, out)
    print(f"grown to {sum(weight.numel() for weight in larger.parameters()):,} parameters", flush=True)


if __name__ == "__main__":
    main()
