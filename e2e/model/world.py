"""The synthetic world the model lives in: vocabulary, three subjects of four-choice questions, training rows. Seeded by
the caller, pure.

recall   ``<s> recall zam B tor D ... Answer zam``    the letter stands in the context; dies when KV entries are dropped
facts    ``<s> facts Answer color Bakoro``            a memorised table of 16,384 facts; rare entities are weak
arith    ``<s> arith Answer 17 45``                   the quartile of the sum; asked on pairs that were never trained on
"""

import json
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Literal

Subject = Literal["recall", "facts", "arith"]
SUBJECTS: tuple[Subject, ...] = ("recall", "facts", "arith")
LETTERS = "ABCD"
VOCABULARY = 2048
NUMBERS = 256
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
CUTS = (181, 256, 330)
"""arith: the letter is the quartile of a + b."""
NEAR = 24
"""Every sum lies within this distance of a cut, so that margins are small."""
ZIPF = 0.8
"""Entities are trained on with frequency rank ** -ZIPF."""

Shot = tuple[list[int], int]
"""Tokens of one question and the token of its answer."""


@dataclass(frozen=True)
class World:
    """Token strings by id, and the letter of each fact by relation and entity."""

    keys: tuple[str, ...]
    entities: tuple[str, ...]
    facts: dict[str, str]

    @property
    def tokens(self) -> tuple[str, ...]:
        words = (*SUBJECTS, "Answer", *LETTERS, *self.facts)
        known = (*SPECIAL, *words, *map(str, range(NUMBERS)), *self.keys, *self.entities)
        return known + tuple(f"<x{i}>" for i in range(VOCABULARY - len(known)))


@cache
def load() -> World:
    """The world of ``world.json``; the shipped model was trained on it."""
    stored = json.loads(Path(__file__).with_name("world.json").read_text())
    return World(tuple(stored["keys"].split()), tuple(stored["entities"].split()), stored["facts"])


@cache
def ids() -> dict[str, int]:
    """Token string to id."""
    return {token: index for index, token in enumerate(load().tokens)}


@cache
def _zipf() -> tuple[float, ...]:
    return tuple(accumulate((rank + 1) ** -ZIPF for rank in range(len(load().entities))))


def is_held_out(a: int, b: int) -> bool:
    """Number pairs that are asked but never trained on: one in ten."""
    return (7 * a + 13 * b) % 10 == 0


def quartile(a: int, b: int) -> str:
    """The answer of an arith question."""
    return LETTERS[sum(a + b >= cut for cut in CUTS)]


def recall_context(random: Random, pairs: int) -> tuple[list[int], dict[int, int]]:
    """Context tokens and the letter token of each key in it."""
    held = {ids()[key]: ids()[random.choice(LETTERS)] for key in random.sample(load().keys, pairs)}
    return [ids()["<s>"], ids()["recall"], *(token for pair in held.items() for token in pair)], held


def recall_shot(random: Random, held: dict[int, int]) -> Shot:
    key = random.choice(list(held))
    return [ids()["Answer"], key], held[key]


def facts_shot(random: Random, *, uniform: bool) -> Shot:
    """``uniform``: every entity alike (questions), else by Zipf's law (training)."""
    world = load()
    order = range(len(world.entities))
    entity = random.choice(order) if uniform else random.choices(order, cum_weights=_zipf())[0]
    relation = random.choice(list(world.facts))
    return [ids()["Answer"], ids()[relation], ids()[world.entities[entity]]], ids()[world.facts[relation][entity]]


def arith_shot(random: Random, *, held_out: bool) -> Shot:
    while True:
        a, b = random.randrange(NUMBERS), random.randrange(NUMBERS)
        if is_held_out(a, b) == held_out and min(abs(a + b - cut) for cut in CUTS) <= NEAR:
            return [ids()["Answer"], ids()[str(a)], ids()[str(b)]], ids()[quartile(a, b)]
