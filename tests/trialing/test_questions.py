"""Question sets: mistakes are named with their line; choices are scored however the tokenizer spells them."""

import hashlib
import json

import pytest

from rightsizer_jobs.contract import QuestionSet
from rightsizer_jobs.quality.questions import MOST_QUESTIONS, QuestionSetUnreadable, read_questions
from rightsizer_jobs.quality.scorer import block_ends, choose

GOOD = {"id": 1, "subject": "arith", "prompt": "2 + 2 =", "choices": ["3", "4"], "answer": "4"}


def written(tmp_path, *rows):
    path = tmp_path / "set.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_a_good_set_is_read_in_order_with_its_digest(tmp_path):
    path = written(tmp_path, GOOD, "", {**GOOD, "id": 2, "prompt": None, "tokens": [4, 5]})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    questions = read_questions(QuestionSet(path=str(path), sha256=digest))
    assert [question.id for question in questions.asked] == [1, 2]
    assert questions.asked[1].tokens == (4, 5)
    assert questions.sha256 == digest


def test_choices_default_to_the_letters(tmp_path):
    path = written(tmp_path, {"id": 1, "prompt": "x", "answer": "B"})
    assert read_questions(QuestionSet(path=str(path))).asked[0].choices == ("A", "B", "C", "D")


def test_only_the_first_questions_are_kept_under_the_digest_of_the_whole_set(tmp_path):
    path = written(tmp_path, *({**GOOD, "id": n} for n in range(9)))
    some, everything = QuestionSet(path=str(path), max_questions=4), QuestionSet(path=str(path))
    assert len(read_questions(some).asked) == 4
    assert read_questions(some).sha256 == read_questions(everything).sha256


def test_more_questions_than_fit_a_report_are_refused_with_the_field_to_change(tmp_path):
    path = tmp_path / "long.jsonl"
    path.write_text((json.dumps(GOOD) + "\n") * (MOST_QUESTIONS + 1))
    with pytest.raises(QuestionSetUnreadable, match=r"14201 questions, 1 to 14200 fit .* quality\.questionSet\.path"):
        read_questions(QuestionSet(path=str(path)))
    assert len(read_questions(QuestionSet(path=str(path), max_questions=3)).asked) == 3


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{not json", "line 2: not JSON"),
        ("[]", "line 2"),
        ({**GOOD, "answer": "5"}, "'5' is not one of the choices 3, 4"),
        ({**GOOD, "tokens": [1]}, "either prompt .* or tokens"),
        ({"id": 1, "answer": "A"}, "either prompt .* or tokens"),
        ({**GOOD, "choices": ["4"]}, "choices"),
        ({**GOOD, "answr": "4"}, "answr"),
        ({"prompt": "x", "answer": "A"}, "id Field required"),
    ],
)
def test_a_bad_line_is_named_with_its_field(tmp_path, row, message):
    path = written(tmp_path, GOOD, row)
    with pytest.raises(QuestionSetUnreadable, match=message) as caught:
        read_questions(QuestionSet(path=str(path)))
    assert "line 2" in str(caught.value)


def test_a_missing_file_a_changed_file_and_an_empty_one_are_told_apart(tmp_path):
    with pytest.raises(QuestionSetUnreadable, match="check the path on the model volume"):
        read_questions(QuestionSet(path=str(tmp_path / "none.jsonl")))
    with pytest.raises(QuestionSetUnreadable, match="the file was changed"):
        read_questions(QuestionSet(path=str(written(tmp_path, GOOD)), sha256="0" * 64))
    with pytest.raises(QuestionSetUnreadable, match="has 0 questions"):
        read_questions(QuestionSet(path=str(written(tmp_path, ""))))


@pytest.mark.parametrize("spelling", ["B", " B", "▁B", "ĠB"])
def test_a_choice_counts_with_or_without_a_leading_blank(spelling):
    assert choose({"A": -3.0, spelling: -1.0, "x": -0.1}, ("A", "B", "C")) == "B"


def test_no_choice_among_the_likely_tokens_is_no_answer_and_a_tie_goes_to_the_first():
    assert choose({"x": -0.1}, ("A", "B")) is None
    assert choose({"B": -1.0, "A": -1.0}, ("A", "B")) == "A"


@pytest.mark.parametrize(("total", "looks"), [(1, 1), (50, 1), (51, 2), (900, 10), (14042, 10)])
def test_there_are_at_most_ten_looks_and_the_last_is_at_the_end(total, looks):
    ends = block_ends(total)
    assert (len(ends), ends[-1]) == (looks, total)
    assert ends == sorted(set(ends))
