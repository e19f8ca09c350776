"""The demo's steps on the terminal: a numbered title, its seconds, and everything again in a JSON file for
the README's table.
"""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Progress:
    """``times`` keeps the first full duration of each step, over resumed runs too."""

    record: Path
    started: float = field(default_factory=time.monotonic)
    number: int = 0

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.started:7.0f} s    {text}", flush=True)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        self.number += 1
        began = time.monotonic()
        print(f"\n{began - self.started:7.0f} s  {self.number:2}. {title}", flush=True)
        yield
        self._keep(title, time.monotonic() - began)

    def _keep(self, title: str, seconds: float) -> None:
        times = json.loads(self.record.read_text()) if self.record.exists() else {}
        times[title] = max(round(seconds, 1), times.get(title, 0.0))
        self.record.parent.mkdir(parents=True, exist_ok=True)
        self.record.write_text(json.dumps(times, indent=1) + "\n")


def fail(text: str) -> int:
    print(f"\nerror: {text}", file=sys.stderr, flush=True)
    return 1
