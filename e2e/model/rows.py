"""Training rows: as many solved questions as fit, with loss on the answers only. Pure; ``train`` turns them into
tensors.
"""

from random import Random

from e2e.model import world
from e2e.model.world import Shot, Subject

IGNORED = -100
"""Label of positions without loss."""

Row = tuple[list[int], list[int]]
"""Tokens and labels, both of the row's length."""


def row(random: Random, subject: Subject, length: int, pairs: tuple[int, int]) -> Row:
    """One padded row of ``length`` tokens; ``pairs`` bounds the size of a recall context."""
    start = [world.ids()["<s>"], world.ids()[subject]]
    held: dict[int, int] = {}
    if subject == "recall":
        start, held = world.recall_context(random, random.randint(*pairs))
    size = 3 if subject == "recall" else 4
    tokens, labels = list(start), [IGNORED] * len(start)
    for _ in range((length - len(start)) // size):
        asked, answer = _trained_shot(random, subject, held)
        tokens += [*asked, answer]
        labels += [IGNORED] * len(asked) + [answer]
    padding = length - len(tokens)
    return tokens + [0] * padding, labels + [IGNORED] * padding


def _trained_shot(random: Random, subject: Subject, held: dict[int, int]) -> Shot:
    if subject == "recall":
        return world.recall_shot(random, held)
    if subject == "facts":
        return world.facts_shot(random, uniform=False)
    return world.arith_shot(random, held_out=False)


def batch(random: Random, size: int, length: int, mix: dict[Subject, float], pairs: tuple[int, int]) -> list[Row]:
    """``size`` rows whose subjects are drawn with the weights of ``mix``."""
    subjects = random.choices(list(mix), weights=list(mix.values()), k=size)
    return [row(random, subject, length, pairs) for subject in subjects]
