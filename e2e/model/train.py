"""Train the base model from nothing: about four minutes on two cores. Needs torch; run as ``python -m e2e.model.train
OUT``.

Started inside the compress environment by ``python -m e2e.model train``. Leaves weights, tokenizer and ``train.json``
in OUT.
"""

import hashlib
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from transformers import LlamaForCausalLM

from e2e.model import architecture, questions, rows, tokenizer, world
from e2e.model.world import Subject

MIX: dict[Subject, float] = {"recall": 0.3, "facts": 0.45, "arith": 0.25}


@dataclass(frozen=True)
class Stage:
    """From this share of the steps on: rows of ``length`` tokens with recall contexts of ``pairs``."""

    since: float
    length: int
    pairs: tuple[int, int]


STAGES = (Stage(0.0, 64, (4, 16)), Stage(0.35, 128, (8, 48)), Stage(0.65, 384, (32, 150)))


@dataclass(frozen=True)
class Recipe:
    seed: int = 1
    steps: int = 500
    tokens_per_step: int = 4096
    adam_rate: float = 2e-3
    muon_rate: float = 3e-3
    weight_decay: float = 0.05
    warmup_steps: int = 50


def rate_factor(recipe: Recipe, step: int) -> float:
    """Warm-up, then a cosine down to 5 %."""
    warmup = min(1.0, (step + 1) / recipe.warmup_steps)
    return warmup * (0.95 * 0.5 * (1 + math.cos(math.pi * step / recipe.steps)) + 0.05)


def optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the rest."""
    named = list(model.named_parameters())
    matrices = [weight for name, weight in named if weight.ndim == 2 and "layers" in name]
    tables = [weight for name, weight in named if weight.ndim == 2 and "layers" not in name]
    gains = [weight for _, weight in named if weight.ndim < 2]
    groups = [{"params": tables, "weight_decay": recipe.weight_decay}, {"params": gains, "weight_decay": 0.0}]
    return [
        torch.optim.AdamW(groups, lr=recipe.adam_rate, betas=(0.9, 0.98), fused=True),
        torch.optim.Muon(
            matrices,
            lr=recipe.muon_rate,
            weight_decay=recipe.weight_decay,
            momentum=0.95,
            adjust_lr_fn="match_rms_adamw",
        ),
    ]


def loss_on(model: LlamaForCausalLM, batch: list[rows.Row]) -> torch.Tensor:
    """Mean cross-entropy over the answers of the batch."""
    tokens, labels = torch.tensor([row[0] for row in batch]), torch.tensor([row[1] for row in batch])[:, 1:]
    asked = labels != rows.IGNORED
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=tokens).last_hidden_state[:, :-1]
        logits = model.lm_head(hidden[asked]).float()
    return F.cross_entropy(logits, labels[asked])


def accuracy(model: LlamaForCausalLM, asked: list[questions.Question]) -> dict[str, float]:
    """Share of right letters by subject, and over all as ``all``."""
    right: dict[str, list[bool]] = {}
    letters = torch.tensor([world.ids()[letter] for letter in world.LETTERS])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for question in asked:
            hidden = model.model(input_ids=torch.tensor([question["tokens"]])).last_hidden_state[:, -1]
            letter = world.LETTERS[int(model.lm_head(hidden)[0, letters].float().argmax())]
            right.setdefault(str(question["subject"]), []).append(letter == question["answer"])
    flat = [hit for hits in right.values() for hit in hits]
    return {"all": sum(flat) / len(flat), **{name: sum(hits) / len(hits) for name, hits in sorted(right.items())}}


def train(recipe: Recipe) -> tuple[LlamaForCausalLM, int]:
    """The trained model and the number of tokens it has seen."""
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    model, random, seen = architecture.fresh(recipe.seed), Random(recipe.seed), 0
    stepping = optimizers(model, recipe)
    first_rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in stepping]
    progress = list(questions.question_set(300, questions.PROGRESS_SEED))
    for step in range(recipe.steps):
        stage = [stage for stage in STAGES if stage.since <= step / recipe.steps][-1]
        size = max(4, recipe.tokens_per_step // stage.length)
        batch = rows.batch(random, size, stage.length, MIX, stage.pairs)
        for optimizer, rates in zip(stepping, first_rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * rate_factor(recipe, step)
        loss = loss_on(model, batch)
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in stepping:
            optimizer.step()
        seen += size * stage.length
        if (step + 1) % 50 == 0:
            shares = {name: round(share, 3) for name, share in accuracy(model, progress).items()}
            print(f"step {step + 1}/{recipe.steps} loss {loss.item():.3f} accuracy {shares}", flush=True)
    return model, seen


def weights_digest(model: LlamaForCausalLM) -> str:
    """SHA-256 over the BF16 weights in the order of their names."""
    total = hashlib.sha256()
    for _, weight in sorted(model.state_dict().items()):
        total.update(weight.contiguous().view(torch.int16).numpy().tobytes())
    return total.hexdigest()


def main() -> None:
    folder, recipe, started = Path(sys.argv[1]), Recipe(), time.monotonic()
    model, seen = train(recipe)
    seconds = time.monotonic() - started
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save(folder)
    asked = list(questions.question_set(900))
    record = {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "tokens": seen,
        "seconds": round(seconds, 1),
        "weights_sha256": weights_digest(model),
        "recipe": asdict(recipe),
        "accuracy": accuracy(model, asked),
    }
    (folder / "train.json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"trained {record['parameters']:,} parameters in {seconds:.0f} s: {record['accuracy']}", flush=True)


if __name__ == "__main__":
    main()
