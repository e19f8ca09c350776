"""Text of files and of standard input (``-``). Called by ``offline``, ``documents`` and ``estimate``.

A device or a pipe may never end: no more than the limit is read of anything.
"""

import io
import json
import sys
from pathlib import Path
from typing import Any

from rightsizer_cli.failure import NOT_FOUND, USAGE, Failure

LARGEST = 16 * 1024 * 1024
STANDARD_INPUT = "-"


def named(path: str) -> str:
    """The file as messages call it."""
    return "standard input" if path == STANDARD_INPUT else path


def text_of(path: str) -> str:
    """The file's text; raises Failure where it cannot be read."""
    try:
        data = _bytes_of(path)
    except OSError as error:
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else USAGE
        raise Failure(code, f"cannot read {named(path)}: {error.strerror}", "Name another file.") from None
    if len(data) > LARGEST:
        raise Failure(USAGE, f"{named(path)} is larger than {LARGEST >> 20} MiB", "Name the file that was meant.")
    try:
        return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig").read()
    except UnicodeDecodeError:
        raise Failure(USAGE, f"{named(path)} is not UTF-8 text", "Name the file that was meant.") from None


def _bytes_of(path: str) -> bytes:
    if path != STANDARD_INPUT:
        with Path(path).open("rb") as file:
            return file.read(LARGEST + 1)
    if sys.stdin is None:
        raise Failure(USAGE, "standard input is closed", "Name a file, or give its text through a pipe.")
    return sys.stdin.buffer.read(LARGEST + 1)


def json_of(path: str) -> dict[str, Any]:
    """A JSON object; raises Failure."""
    try:
        found = json.loads(text_of(path))
    except RecursionError:
        raise _no_json(path, "is nested too deeply") from None
    except ValueError as error:
        raise _no_json(path, f"is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise _no_json(path, "holds no JSON object")
    return found


def _no_json(path: str, why: str) -> Failure:
    return Failure(USAGE, f"{named(path)} {why}", "Give the file as it lies beside the weights.")
