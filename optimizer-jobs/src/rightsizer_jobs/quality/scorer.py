"""Asks multiple-choice questions of an engine.

One token, its 20 likeliest, and the likeliest choice among them is the answer. ``ask`` goes on in blocks until the
paired verdict is settled or the questions run out. Looks before the last one demand ``INTERIM_CONFIDENCE_PERCENT``, so
that looking often does not make a wrong verdict likelier than stated (docs/questions.md).
"""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from rightsizer_jobs.contract import Answers
from rightsizer_jobs.quality.questions import Question, Questions
from rightsizer_jobs.stats import INTERIM_CONFIDENCE_PERCENT, QualityVerdict, encode_answers, quality_verdict
from rightsizer_jobs.wire.session import Session

TOP = 20
"""The most log-probabilities vLLM gives by default (--max-logprobs); TensorRT-LLM gives as many."""

BLOCKS = 10
SMALLEST_BLOCK = 50
MARKERS = ("", " ", "▁", "Ġ")
"""How tokenizers spell a leading blank; a choice counts with or without one."""


class ScoringFailed(RuntimeError):
    """The engine refused a question or gave no log-probabilities."""


@dataclass(frozen=True, slots=True)
class Margin:
    """What the candidate's answers are compared with, and how."""

    baseline: Answers
    max_drop_points: float
    confidence_percent: int


@dataclass(frozen=True, slots=True)
class Scored:
    """``unscored``: questions of which no choice was among the likeliest tokens; they count as wrong."""

    answers: Answers
    unscored: int
    verdict: QualityVerdict | None


Chooser = Callable[[Question], Awaitable[str | None]]


def choose(likely: Mapping[str, float], choices: Sequence[str]) -> str | None:
    """The likeliest choice; the earlier one on a tie; None where no choice is among the likely tokens."""
    scores = {choice: max(likely.get(marker + choice, -math.inf) for marker in MARKERS) for choice in choices}
    best = max(choices, key=lambda choice: scores[choice])
    return best if scores[best] > -math.inf else None


def block_ends(total: int) -> list[int]:
    """Where to look: at most ten looks, the last one at the end."""
    size = max(SMALLEST_BLOCK, -(-total // BLOCKS))
    return [*range(size, total, size), total]


async def ask(questions: Questions, chooser: Chooser, *, concurrency: int, margin: Margin | None) -> Scored:
    """Ask in the order of the set, at most ``concurrency`` at a time; raises ScoringFailed."""
    if margin is not None and margin.baseline.sha256 != questions.sha256:
        raise ScoringFailed("the baseline answered another question set: measure the baseline again")
    total = min(len(questions.asked), margin.baseline.asked) if margin else len(questions.asked)
    chosen: list[str | None] = []
    verdict = None
    for end in block_ends(total):
        block = questions.asked[len(chosen) : end]
        chosen += await _in_parallel(block, chooser, concurrency)
        correct = [choice == question.answer for choice, question in zip(chosen, questions.asked, strict=False)]
        answers = encode_answers(correct, questions.sha256)
        if margin is not None:
            verdict = _look(answers, margin, last=end == total)
            if verdict.settled != "Undecided":
                break
    return Scored(answers, chosen.count(None), verdict)


def _look(answers: Answers, margin: Margin, *, last: bool) -> QualityVerdict:
    confidence = margin.confidence_percent if last else max(margin.confidence_percent, INTERIM_CONFIDENCE_PERCENT)
    return quality_verdict(
        margin.baseline, answers, max_drop_points=margin.max_drop_points, confidence_percent=confidence
    )


async def _in_parallel(block: Sequence[Question], chooser: Chooser, concurrency: int) -> list[str | None]:
    gate = asyncio.Semaphore(concurrency)

    async def one(question: Question) -> str | None:
        async with gate:
            return await chooser(question)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(question)) for question in block]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return [task.result() for task in tasks]


def http_chooser(session: Session, urls: Sequence[str], served_model_name: str, *, timeout_s: float) -> Chooser:
    """Choose by /v1/completions, round robin over the urls."""
    turn = iter(range(1 << 62))

    async def chooser(question: Question) -> str | None:
        body = {
            "model": served_model_name,
            "prompt": question.prompt if question.tokens is None else list(question.tokens),
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": TOP,
        }
        try:
            url = urls[next(turn) % len(urls)]
            answer = await session.post(url, json.dumps(body).encode(), timeout_s=timeout_s)
        except (ConnectionError, TimeoutError, ValueError) as error:
            raise ScoringFailed(f"question {question.id}: {type(error).__name__} {error}".strip()) from error
        if answer.status != 200:
            raise ScoringFailed(f"question {question.id}: HTTP {answer.status}: {answer.text[:160]}")
        try:
            return choose(_likely(json.loads(answer.body)), question.choices)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ScoringFailed(f"question {question.id}: the answer has no logprobs.top_logprobs") from error

    return chooser


def _likely(answer: dict[str, list[dict[str, dict[str, list[dict[str, float]]]]]]) -> dict[str, float]:
    """``choices[0].logprobs.top_logprobs[0]``; raises KeyError, IndexError or TypeError where it is missing."""
    return answer["choices"][0]["logprobs"]["top_logprobs"][0]
