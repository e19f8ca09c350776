"""The question set: JSONL, one question a line, format in docs/questions.md.

Read whole and checked before the first one is asked.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rightsizer_jobs.contract import QuestionSet

MOST_QUESTIONS = 14_200
"""So many answers fit a report beside twelve probes, whatever else is in it: ``__main__.fitting``."""


class QuestionSetUnreadable(ValueError):
    """The file is missing, is not the one named by its digest, or has a bad line."""


class Question(BaseModel):
    """``prompt`` (text) or ``tokens`` (ids); ``choices`` are scored by their first token; ``answer`` is one of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str | int
    subject: str = ""
    prompt: Annotated[str, Field(min_length=1)] | None = None
    tokens: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | None = None
    choices: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=2, max_length=16)] = (
        "A",
        "B",
        "C",
        "D",
    )
    answer: str

    @model_validator(mode="after")
    def _consistent(self) -> "Question":
        if (self.prompt is None) == (self.tokens is None):
            raise ValueError("give either prompt (text) or tokens (ids), not both and not none")
        if self.answer not in self.choices:
            raise ValueError(f"answer {self.answer!r} is not one of the choices {', '.join(self.choices)}")
        return self


@dataclass(frozen=True, slots=True)
class Questions:
    """``sha256`` is that of the whole file, also where only its first questions are asked."""

    asked: tuple[Question, ...]
    sha256: str


def read_questions(source: QuestionSet) -> Questions:
    """The first ``max_questions`` of the set (0: all). Raises QuestionSetUnreadable naming file, line and remedy."""
    path = Path(source.path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise QuestionSetUnreadable(
            f"question set {path}: {error.strerror or error}; check the path on the model volume"
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if source.sha256 is not None and digest != source.sha256:
        raise QuestionSetUnreadable(
            f"question set {path} has SHA-256 {digest[:12]}, expected {source.sha256[:12]}: the file was changed"
        )
    lines = [(number, line) for number, line in enumerate(data.splitlines(), 1) if line.strip()]
    kept = lines[: source.max_questions or None]
    if not 0 < len(kept) <= MOST_QUESTIONS:
        raise QuestionSetUnreadable(
            f"question set {path} has {len(kept)} questions, 1 to {MOST_QUESTIONS} fit a report: "
            "name another file in quality.questionSet.path"
        )
    return Questions(tuple(_parse(path, number, line) for number, line in kept), digest)


def _parse(path: Path, number: int, line: bytes) -> Question:
    try:
        return Question.model_validate(json.loads(line))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise QuestionSetUnreadable(
            f"question set {path}, line {number}: {field} {first['msg']}".replace("  ", " ")
        ) from error
    except ValueError as error:
        raise QuestionSetUnreadable(f"question set {path}, line {number}: not JSON: {error}") from error
