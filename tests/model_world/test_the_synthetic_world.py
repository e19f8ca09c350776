"""The demo's world, its questions and its training rows: seeds in, token lists out."""

import hashlib
import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2e.model import questions, rows, volume, world
from e2e.model.world import SUBJECTS, Subject
from rightsizer_jobs.contract import QuestionSet
from rightsizer_jobs.quality.questions import read_questions

SEEDS = st.integers(0, 2**32)


def pairs_of(tokens: list[int]) -> set[tuple[int, int]]:
    """Number pairs asked in a prompt or a row."""
    names = world.load().tokens
    text = [names[token] for token in tokens]
    return {
        (int(text[i + 1]), int(text[i + 2]))
        for i, word in enumerate(text[:-2])
        if word == "Answer" and text[i + 1].isdigit() and text[i + 2].isdigit()
    }


def test_the_vocabulary_is_the_shipped_tokenizers() -> None:
    stored = json.loads((volume.SHIPPED / "tokenizer.json").read_text())["model"]["vocab"]
    assert stored == world.ids()
    assert len(world.load().tokens) == world.VOCABULARY


def test_there_are_16384_facts_each_with_one_of_four_letters() -> None:
    facts = world.load().facts
    assert sum(len(letters) for letters in facts.values()) == 16_384
    assert set("".join(facts.values())) == set(world.LETTERS)


@pytest.mark.parametrize(("a", "b", "letter"), [(0, 180, "A"), (0, 181, "B"), (1, 255, "C"), (200, 130, "D")])
def test_the_answer_of_a_sum_is_its_quartile(a: int, b: int, letter: str) -> None:
    assert world.quartile(a, b) == letter


@given(SEEDS)
def test_recall_answers_stand_in_the_context(seed: int) -> None:
    random = Random(seed)
    context, held = world.recall_context(random, 64)
    (_, key), answer = world.recall_shot(random, held)
    assert context[context.index(key) + 1] == answer
    assert len(held) == 64


@given(SEEDS, st.sampled_from(SUBJECTS), st.sampled_from([64, 128, 384]))
def test_a_training_row_has_loss_on_its_answers_only(seed: int, subject: Subject, length: int) -> None:
    tokens, labels = rows.row(Random(seed), subject, length, (4, 16))
    letters = {world.ids()[letter] for letter in world.LETTERS}
    assert len(tokens) == len(labels) == length
    asked = [i for i, label in enumerate(labels) if label != rows.IGNORED]
    assert asked
    assert all(labels[i] == tokens[i] and tokens[i] in letters for i in asked)


@given(SEEDS)
def test_training_never_sees_a_held_out_pair(seed: int) -> None:
    tokens, _ = rows.row(Random(seed), "arith", 384, (4, 16))
    assert not any(world.is_held_out(*pair) for pair in pairs_of(tokens))


def test_questions_are_asked_on_held_out_pairs_and_calibration_on_trained_ones() -> None:
    asked = [question for question in questions.question_set(300) if question["subject"] == "arith"]
    assert all(world.is_held_out(*pair) for question in asked for pair in pairs_of(question["tokens"]))  # type: ignore[arg-type]
    calibration = [sample["tokens"] for sample in questions.calibration_set(300)]
    assert not any(world.is_held_out(*pair) for tokens in calibration for pair in pairs_of(tokens))


def test_no_question_is_also_a_calibration_sample_or_a_progress_question() -> None:
    asked = {tuple(question["tokens"]) for question in questions.question_set(volume.QUESTIONS)}  # type: ignore[arg-type]
    progress = {tuple(question["tokens"]) for question in questions.question_set(300, questions.PROGRESS_SEED)}  # type: ignore[arg-type]
    calibration = {tuple(sample["tokens"]) for sample in questions.calibration_set(volume.CALIBRATION_SAMPLES)}
    assert len(asked) == volume.QUESTIONS
    assert not asked & calibration
    assert not asked & progress


def test_one_seed_gives_one_question_set() -> None:
    assert list(questions.question_set(30)) == list(questions.question_set(30))
    assert list(questions.question_set(30)) != list(questions.question_set(30, seed=1))


def test_trials_can_read_the_question_set(tmp_path: Path) -> None:
    file = tmp_path / "questions" / "support.jsonl"
    questions.write_lines(file, questions.question_set(90))
    read = read_questions(QuestionSet(path=str(file), sha256=hashlib.sha256(file.read_bytes()).hexdigest()))
    assert len(read.asked) == 90
    assert {question.subject for question in read.asked} == {"recall_64", "recall_128", "recall_192", "facts", "arith"}
    assert max(len(question.tokens or ()) for question in read.asked) < 512
    assert [path.name for path in file.parent.iterdir()] == ["support.jsonl"]


def test_the_letters_are_balanced_enough_that_guessing_fails() -> None:
    answers = [question["answer"] for question in questions.question_set(volume.QUESTIONS)]
    assert all(0.18 < answers.count(letter) / len(answers) < 0.32 for letter in world.LETTERS)


def test_the_shipped_weights_are_the_published_ones() -> None:
    volume.check_shipped()


def test_damaged_shipped_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in volume.SHA256:
        (tmp_path / name).write_bytes((volume.SHIPPED / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr(volume, "SHIPPED", tmp_path)
    with pytest.raises(volume.Damaged, match=r"model\.safetensors: SHA-256 is"):
        volume.check_shipped()
