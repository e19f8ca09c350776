"""What is known of one request, in integer nanoseconds of the client's monotonic clock, and its file.

Made by ``load``, read by ``metrics``.
"""

import gzip
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Arrive = Callable[[int, int], None]
"""Told of content as it comes: (instant, content chunks). What arrived of a request that is cut is so kept."""


def unheard(_instant_ns: int, _count: int) -> None:
    """Nobody needs to be told."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request as the client saw it. ``failure`` is empty on success."""

    sent_ns: int
    chunks_ns: tuple[int, ...] = ()
    output_tokens: int = 0
    prompt_tokens: int = 0
    failure: str = ""
    refused: bool = False
    """The engine accepted no connection, or broke one: it may be gone."""


@dataclass(frozen=True, slots=True)
class Record:
    """``scheduled_ns``: when it should have left; every latency counts from it. ``asked_tokens``: output asked for."""

    index: int
    scheduled_ns: int
    asked_tokens: int
    exchange: Exchange

    @property
    def failed(self) -> bool:
        return bool(self.exchange.failure)


def append_records(path: Path, step: str, records: Iterable[Record], samples: Iterable[dict[str, Any]] = ()) -> None:
    """Append a step's requests, and the engine's metrics beside them, as JSON lines to a gzip file; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "at", compresslevel=3) as file:
        for record in records:
            file.write(json.dumps({"step": step, **asdict(record)}, separators=(",", ":")) + "\n")
        for sample in samples:
            file.write(json.dumps({"step": step, "engine": sample}, separators=(",", ":")) + "\n")
