"""The child process that quantizes: loads the model, calibrates, saves. Started by ``quantize.in_child`` as
``python -m rightsizer_jobs.compress.oneshot WORK NOTE``; runs in the compress environment only. On failure its reason
is in NOTE.
"""

import json
import sys
from pathlib import Path
from typing import Any

import llmcompressor
import torch
from datasets import Dataset
from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier
from transformers import AutoModelForCausalLM, AutoTokenizer

from rightsizer_jobs.compress.quantize import Work, read_calibration
from rightsizer_jobs.compress.recipes import Recipe, recipe


def oneshot(work: Work) -> None:
    """Fill ``work.target`` with compressed weights and their config."""
    row = recipe(work.recipe)
    model = AutoModelForCausalLM.from_pretrained(work.source, dtype=torch.bfloat16, local_files_only=True)
    given: dict[str, Any] = {}
    if row.needs_calibration and work.calibration is not None:
        samples = _tokenized(work, read_calibration(Path(work.calibration), work.samples))
        given = {"dataset": samples, "max_seq_length": work.sequence_length, "num_calibration_samples": len(samples)}
    llmcompressor.oneshot(model=model, recipe=_modifier(row), **given)
    model.save_pretrained(work.target, save_compressed=True)


def _tokenized(work: Work, samples: list[list[int] | str]) -> Dataset:
    """A dataset of ``input_ids`` and ``attention_mask``, cut to the sequence length."""
    tokens = [sample for sample in samples if not isinstance(sample, str)]
    texts = [sample for sample in samples if isinstance(sample, str)]
    if texts:
        tokens += AutoTokenizer.from_pretrained(work.source, local_files_only=True)(texts)["input_ids"]
    cut = [ids[: work.sequence_length] for ids in tokens]
    return Dataset.from_list([{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in cut])


def _modifier(row: Recipe) -> GPTQModifier | QuantizationModifier:
    modifier = GPTQModifier if row.method == "GPTQ" else QuantizationModifier
    return modifier(scheme=row.scheme, targets="Linear", ignore=list(row.ignore))


def main() -> int:
    """Exit code 0, or the exception with its text in the note."""
    try:
        oneshot(Work(**json.loads(sys.argv[1])))
    except Exception as error:  # whatever it is, it is the reason that the parent reports
        Path(sys.argv[2]).write_text(f"{type(error).__name__}: {error}")
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
