"""Questions inside a trial: asked before the capacity, compared pairwise, and enough to end it."""

import json

import pytest

from rightsizer_jobs.stats import decode_answers, encode_answers
from rightsizer_jobs.trial.run import run

TOTAL = 400


@pytest.fixture
def question_file(tmp_path):
    path = tmp_path / "questions.jsonl"
    rows = [{"id": n, "tokens": [n, 1], "choices": ["A", "B", "C", "D"], "answer": "ABCD"[n % 4]} for n in range(TOTAL)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answering(wrong):
    """Likeliest tokens of an engine that knows every answer but the given ones; one spelling has a leading blank."""

    def likely(prompt):
        number = prompt[0]
        right = "ABCD"[number % 4]
        return {"x": -0.1, "E": -5.0} if number in wrong else {" " + right: -0.2, "E": -3.0}

    return likely


@pytest.fixture
def ask(start_engine, assign, question_file, repeat_void):
    async def asked(wrong, **fields):
        engine = await start_engine(likely=answering(wrong))
        asked = {"questions": {"path": str(question_file)}, "rate_to_beat_rps": 1000.0}
        return await repeat_void(assign(engine.base_url, **(asked | fields)))

    return asked


async def test_the_baseline_keeps_its_answers_in_the_order_of_the_set(ask):
    report = await ask({3, 399})
    assert report.outcome == "CannotBeat"
    right = decode_answers(report.answers)
    assert [number for number in range(TOTAL) if not right[number]] == [3, 399]


async def test_a_candidate_that_lost_too_much_fails_early_and_is_not_measured(ask, question_file):
    baseline = (await ask(set())).answers
    report = await ask(set(range(0, TOTAL, 2)), baseline_answers=baseline, max_drop_points=2.0)
    assert report.outcome == "FailedQuality"
    assert report.answers.asked < TOTAL
    assert report.saturation is None
    assert "allowed 2" in report.reason


async def test_a_candidate_that_changed_nothing_passes_a_margin_the_set_can_resolve(ask):
    baseline = (await ask(set())).answers
    report = await ask(set(), baseline_answers=baseline, max_drop_points=5.0)
    assert report.outcome == "CannotBeat"
    assert report.answers.asked < TOTAL


async def test_questions_that_run_out_leave_the_verdict_open(ask):
    baseline = (await ask(set())).answers
    report = await ask({5, 6, 7, 8}, baseline_answers=baseline, max_drop_points=1.2)
    assert report.outcome == "Undecided"
    assert report.answers.asked == TOTAL
    assert "4 lost and 0 won of 400" in report.reason


async def test_a_baseline_of_another_set_is_refused(ask):
    other = encode_answers([True] * 10, "0" * 64)
    report = await ask(set(), baseline_answers=other)
    assert report.outcome == "EngineFailed"
    assert "another question set" in report.reason


@pytest.fixture
def verify(ask, question_file):
    async def verified(wrong, known, **fields):
        questions = {"path": str(question_file), "max_questions": 100, "sha256": known.sha256}
        return await ask(wrong, purpose="Verify", rate_rps=5.0, questions=questions, baseline_answers=known, **fields)

    return verified


async def test_new_pods_that_answer_otherwise_than_in_the_trial_fail_their_verification(ask, verify):
    known = (await ask({7})).answers
    report = await verify(set(range(0, TOTAL, 2)), known)
    assert report.outcome == "FailedQuality"
    assert not report.probes


async def test_a_few_questions_settle_no_margin_and_let_the_verification_go_on(ask, verify):
    known = (await ask({7})).answers
    report = await verify({7}, known, max_drop_points=0.5)
    assert (report.outcome, report.answers.asked) == ("Succeeded", 100), report.reason
    assert report.probes


async def test_a_file_that_changed_since_is_nobodys_failure(ask, verify, question_file):
    known = (await ask(set())).answers
    question_file.write_text(question_file.read_text() + "\n")
    report = await verify(set(), known)
    assert report.outcome == "Void"
    assert "the file was changed" in report.reason


async def test_an_unreadable_set_is_void_and_names_the_line(start_engine, assign, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"id": 1, "prompt": "x", "answer": "A"}\n{"id": 2, "prompt": "x", "answer": "Z"}\n')
    engine = await start_engine()
    report = await run(assign(engine.base_url, questions={"path": str(path)}))
    assert report.outcome == "Void"
    assert "line 2" in report.reason and "'Z' is not one of the choices" in report.reason
