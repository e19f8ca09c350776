"""Quantizing as a piece of work for a child process, and the reading of its calibration samples. Called by ``run``.

A child can be ended at the deadline or be killed for memory, and the Job still says so. Nothing heavy is imported here:
the child,
``oneshot``, does that.
"""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

CHILD = "rightsizer_jobs.compress.oneshot"
KILL_GRACE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """``target`` is an existing empty folder; ``deadline_s`` is what is left of the Job's time."""

    recipe: str
    source: str
    target: str
    calibration: str | None
    samples: int
    sequence_length: int
    deadline_s: float


Quantize = Callable[[Work], None]
"""Fills the target folder with compressed weights and their config; raises QuantizeFailed, DeadlinePassed or OSError.
"""


class QuantizeFailed(RuntimeError):
    """The tool failed; the message is its own, in one line."""


class DeadlinePassed(RuntimeError):
    """The time of the assignment is over."""


class CalibrationUnreadable(ValueError):
    """The calibration file is missing, empty or malformed; the message names the line."""


def read_calibration(path: Path, samples: int) -> list[list[int] | str]:
    """The first ``samples`` lines: ``{"tokens": [...]}`` or ``{"text": "..."}`` each; raises CalibrationUnreadable."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[:samples]
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationUnreadable(f"calibration_path {path}: {error}") from error
    found = [_sample(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise CalibrationUnreadable(f"calibration_path {path}: holds no sample")
    return found


def _sample(path: Path, number: int, line: str) -> list[int] | str:
    try:
        stored = json.loads(line)
    except ValueError:
        stored = None
    match stored:
        case {"tokens": [*tokens]} if tokens and all(type(token) is int and token >= 0 for token in tokens):
            return tokens
        case {"text": str(text)} if text:
            return text
    raise CalibrationUnreadable(
        f'calibration_path {path}, line {number}: expected {{"tokens": [...]}} or {{"text": "..."}}'
    )


def in_child(work: Work) -> None:
    """Run ``oneshot`` in a child process until the deadline. Its output goes to this process's own."""
    with tempfile.TemporaryDirectory() as scratch:
        note = Path(scratch, "reason")
        code = _wait([sys.executable, "-m", CHILD, json.dumps(asdict(work)), str(note)], work.deadline_s)
        if code != 0:
            raise QuantizeFailed(note.read_text() if note.exists() else ended(code))


def _wait(command: list[str], deadline_s: float) -> int:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        return child.wait(timeout=deadline_s)
    except subprocess.TimeoutExpired as error:
        raise DeadlinePassed(f"not done after {deadline_s:.0f} s") from error
    finally:
        _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(timeout=KILL_GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def ended(code: int) -> str:
    """Why a child that left no note has this exit code."""
    if code == -signal.SIGKILL:
        return "the tool was killed: most likely out of memory; raise the memory limit of the compress profile"
    return (
        f"the tool ended with {signal.Signals(-code).name}"
        if code < 0
        else f"the tool ended with exit code {code}; its last words are in the Job's log"
    )
