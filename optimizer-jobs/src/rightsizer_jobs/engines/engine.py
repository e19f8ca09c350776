"""What a trial asks of an engine, and what both engines share.

Plain GETs that never wait long and never raise for a missing figure.
"""

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
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
    slots: float | None = None
    """Requests that its running batch has places for."""
    waiting: float | None = None
    kv_usage: float | None = None
    preemptions: float | None = None
    prefix_queries: float | None = None
    """With ``prefix_hits``: tokens (vLLM) or blocks (TensorRT-LLM) looked up in the prefix cache, and found."""
    prefix_hits: float | None = None
    finished: float | None = None


Names = Mapping[str, tuple[str, ...]]
"""Field of Sample -> the metric's present name and its former ones."""

LARGEST = ("process_start", "kv_usage")
"""Figures that do not add up over labels, such as the engines of a data-parallel server."""


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

    @property
    def chat_url(self) -> str: ...

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

    @property
    def chat_url(self) -> str:
        return f"{self.base_url.rstrip('/')}/v1/chat/completions"

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

    async def figures(self, path: str, names: Names) -> Sample:
        """The engine's own figures on a Prometheus page; all None where there is none."""
        try:
            answer = await self.session.get(f"{self.base_url.rstrip('/')}{path}", timeout_s=ANSWER_S)
        except UNANSWERED:
            return Sample()
        return sample_of(answer.body, names) if answer.status == 200 else Sample()


def sample_of(page: bytes, names: Names) -> Sample:
    """The figures that ``names`` knows, from the text exposition format."""
    found = read_prometheus(page, frozenset(name for known in names.values() for name in known))
    return Sample(**{figure: _joined(figure, found, known) for figure, known in names.items()})


def read_prometheus(page: bytes, names: Collection[str]) -> dict[str, list[float]]:
    """The samples of these metrics, one for each set of labels; other lines, and broken ones, are passed over.

    An engine's page has a thousand lines, and the load client waits while it is read: only lines that begin with a
    wanted name are looked at.
    """
    samples: dict[str, list[float]] = {}
    for line in _lines_of(frozenset(names)).findall(page):
        name, value = _read_sample(line.decode(errors="replace"))
        if value is not None:
            samples.setdefault(name, []).append(value)
    return samples


@lru_cache
def _lines_of(names: frozenset[str]) -> re.Pattern[bytes]:
    wanted = "|".join(re.escape(name) for name in sorted(names))
    return re.compile(rf"^(?:{wanted})[{{ \t][^\n]*".encode(), re.MULTILINE)


def _read_sample(line: str) -> tuple[str, float | None]:
    """``name{labels} value [timestamp]``; labels may hold blanks. NaN and infinities are no figures, though the format
    has them.
    """
    name, brace, rest = line.partition("{")
    fields = rest.rpartition("}")[2].split() if brace else line.split()[1:]
    try:
        value = float(fields[0])
    except (IndexError, ValueError):
        return name, None
    return (name if brace else line.split()[0]), value if math.isfinite(value) else None


def _joined(figure: str, samples: Mapping[str, Sequence[float]], names: Sequence[str]) -> float | None:
    """The first of several names (a metric's present and former ones) that is there: summed over its labels, but for
    shares and instants, of which the largest stands.
    """
    found = next((samples[name] for name in names if name in samples), None)
    if found is None:
        return None
    return max(found) if figure in LARGEST else sum(found)
