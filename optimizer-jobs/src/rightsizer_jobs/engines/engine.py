"""What a trial asks of an engine, and what both engines share.

Plain GETs that never wait long and never raise for a missing figure.
"""

import json
from dataclasses import dataclass
from typing import Protocol

from rightsizer_jobs.wire.session import Session, Unreachable

ANSWER_S = 5.0
"""Longest wait for /health, /v1/models and metrics; a busy engine answers them within milliseconds."""


UNANSWERED = (ConnectionError, TimeoutError, ValueError)
"""What a GET raises when no answer, or none that can be read, came in time."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The engine's own figures at one moment; None: it does not publish it. Counters count from its start."""

    process_start: float | None = None
    running: float | None = None
    waiting: float | None = None
    kv_usage: float | None = None
    preemptions: float | None = None
    prefix_queries: float | None = None
    prefix_hits: float | None = None
    finished: float | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """``ready``: it serves the model. ``problem``: why not, in words. ``refused``: nothing listens."""

    ready: bool
    problem: str = ""
    refused: bool = False
    wrong_model: bool = False


class Engine(Protocol):
    """One engine instance."""

    @property
    def completions_url(self) -> str: ...

    async def health(self) -> Health: ...

    async def sample(self) -> Sample: ...

    async def replayed(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Served:
    """GETs against one base URL."""

    session: Session
    base_url: str
    served_model_name: str

    @property
    def completions_url(self) -> str:
        return f"{self.base_url.rstrip('/')}/v1/completions"

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text; raises what UNANSWERED names."""
        answer = await self.session.get(f"{self.base_url.rstrip('/')}{path}", timeout_s=ANSWER_S)
        return answer.status, answer.text

    async def health_of(self, path: str) -> Health:
        """Whether ``path`` answers 200."""
        try:
            status, _ = await self.get(path)
        except Unreachable as error:
            return Health(False, f"connection refused: {error}", refused=True)
        except UNANSWERED as error:
            return Health(False, f"{path}: {type(error).__name__} {error}".strip())
        return Health(status == 200, "" if status == 200 else f"{path}: HTTP {status}")

    async def replayed(self) -> str:
        """What the engine says it replays instead of computing: a model entry's ``replayed``. Empty: nothing."""
        try:
            status, text = await self.get("/v1/models")
            models = json.loads(text)["data"] if status == 200 else []
            return next((str(model["replayed"]) for model in models if model.get("replayed")), "")
        except (*UNANSWERED, ValueError, KeyError, TypeError, AttributeError):
            return ""

    async def metrics(self, path: str) -> dict[str, float]:
        """Prometheus samples summed over labels, by name; empty where there are none."""
        try:
            status, text = await self.get(path)
        except UNANSWERED:
            return {}
        return read_prometheus(text) if status == 200 else {}


def read_prometheus(text: str) -> dict[str, float]:
    """Text exposition format to sums over labels by metric name; lines that are not samples are passed over."""
    sums: dict[str, float] = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        name, value = _read_sample(line)
        if value is not None:
            sums[name] = sums.get(name, 0.0) + value
    return sums


def _read_sample(line: str) -> tuple[str, float | None]:
    """``name{labels} value [timestamp]``; labels may hold blanks."""
    name, brace, rest = line.partition("{")
    fields = rest.rpartition("}")[2].split() if brace else line.split()[1:]
    try:
        return (name if brace else line.split()[0]), float(fields[0])
    except (IndexError, ValueError):
        return name, None


def first_of(samples: dict[str, float], names: tuple[str, ...]) -> float | None:
    """The first of several names (a metric's present and former ones) that is there."""
    return next((samples[name] for name in names if name in samples), None)
