"""Weights rounded to few bits and kept in BF16: a candidate that every engine serves and that must fail the quality
gate.

Run as ``python -m e2e.model.damage SOURCE OUT``; called through ``volume.damaged`` by scenarios. Needs torch.
"""

import shutil
import sys
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

BITS = 3
GROUP = 128


def rounded(weight: torch.Tensor, bits: int = BITS, group: int = GROUP) -> torch.Tensor:
    """Symmetric round-to-nearest with one scale for each ``group`` input columns."""
    levels = 2 ** (bits - 1) - 1
    grouped = weight.view(weight.shape[0], -1, group)
    scale = (grouped.abs().amax(-1, keepdim=True) / (levels + 0.5)).clamp(min=1e-9)
    return ((grouped / scale).round().clamp(-levels - 1, levels) * scale).view_as(weight)


def fakequant(model: LlamaForCausalLM) -> None:
    """Damage every linear layer but the head, in place."""
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and "lm_head" not in name:
            module.weight.data = rounded(module.weight.data)


def main() -> None:
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    model = LlamaForCausalLM.from_pretrained(source, dtype=torch.float32)
    fakequant(model)
    model.to(torch.bfloat16).save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, out)


if __name__ == "__main__":
    main()
