"""Question sets and calibration samples, as the files that trials and compress Jobs read from the model volume.

A question is one line ``{"id","subject","tokens","choices","answer"}``: four solved examples, then the question,
answered by one letter.
Each set has a seed of its own; recall contexts and arith pairs of the question set occur in no training row and no
calibration sample.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from e2e.model import world
from e2e.model.world import SUBJECTS, Shot, Subject

QUESTION_SEED = 12345
CALIBRATION_SEED = 4242
PROGRESS_SEED = 999
"""Questions asked during training, to see it learn."""

EXAMPLES = 4
RECALL_PAIRS = (64, 128, 192)
Question = dict[str, object]


def prompt(random: Random, subject: Subject, pairs: int, *, trained: bool) -> tuple[list[int], int]:
    """Prompt tokens up to the question, and the answer's token. ``trained``: only what training may have seen."""
    held: dict[int, int] = {}
    start = [world.ids()["<s>"], world.ids()[subject]]
    if subject == "recall":
        start, held = world.recall_context(random, pairs)
    shots = [_shot(random, subject, held, trained=trained) for _ in range(EXAMPLES + 1)]
    solved = [token for asked, answer in shots[:-1] for token in (*asked, answer)]
    return [*start, *solved, *shots[-1][0]], shots[-1][1]


def _shot(random: Random, subject: Subject, held: dict[int, int], *, trained: bool) -> Shot:
    if subject == "recall":
        return world.recall_shot(random, held)
    if subject == "facts":
        return world.facts_shot(random, uniform=not trained)
    return world.arith_shot(random, held_out=not trained)


def question_set(count: int, seed: int = QUESTION_SEED) -> Iterator[Question]:
    """``count`` questions, the subjects in turn, recall contexts of three lengths in turn."""
    random, tokens = Random(seed), world.load().tokens
    for index in range(count):
        subject, pairs = SUBJECTS[index % 3], RECALL_PAIRS[(index // 3) % 3]
        asked, answer = prompt(random, subject, pairs, trained=False)
        name = f"recall_{pairs}" if subject == "recall" else subject
        yield {
            "id": f"{name}-{index}",
            "subject": name,
            "tokens": asked,
            "choices": list(world.LETTERS),
            "answer": tokens[answer],
        }


def calibration_set(count: int, seed: int = CALIBRATION_SEED) -> Iterator[dict[str, list[int]]]:
    """``count`` prompts like the questions, drawn from what training has seen."""
    random = Random(seed)
    for index in range(count):
        pairs = RECALL_PAIRS[(index // 3) % 3]
        yield {"tokens": prompt(random, SUBJECTS[index % 3], pairs, trained=True)[0]}


def write_lines(path: Path, lines: Iterable[object]) -> None:
    """JSONL, complete or not there at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    partial.rename(path)
