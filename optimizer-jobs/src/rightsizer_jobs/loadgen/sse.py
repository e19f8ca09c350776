"""Server-sent events of an OpenAI-compatible stream, cheaply: no JSON is parsed but the last chunk's. Pure.

Plain completions and chat alike. A chunk counts when it has text: a chat's first chunk, which only tells the role, does
not; reasoning does.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

CONTENT = re.compile(rb'"(?:text|content|reasoning|reasoning_content)":\s*"(?!")')
"""A chunk with text in it. Quotes inside the text are escaped, so it cannot imitate the key."""

LINE_LIMIT = 1024 * 1024


class StreamError(ValueError):
    """The stream is no event stream that could be read."""


@dataclass(slots=True)
class Stream:
    """What a response said so far. ``feed`` returns the number of content chunks in the bytes just received."""

    output_tokens: int | None = None
    prompt_tokens: int | None = None
    done: bool = False
    error: str = ""
    _rest: bytes = field(default=b"", repr=False)

    def feed(self, data: bytes) -> int:
        """Raises StreamError for a line over LINE_LIMIT or for a last chunk that is no JSON."""
        lines = (self._rest + data if self._rest else data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LINE_LIMIT:
            raise StreamError(f"a line of the stream is longer than {LINE_LIMIT} bytes")
        found = 0
        for line in lines:
            if line.startswith(b"data:"):
                found += self._take(line)
        return found

    def _take(self, line: bytes) -> bool:
        if b'"completion_tokens"' in line or b'"error"' in line:
            self._read(line[5:])
        if CONTENT.search(line) is not None:
            return not self.error
        if line[5:].strip() == b"[DONE]":
            self.done = True
        return False

    def _read(self, payload: bytes) -> None:
        """Usage, or an error object; either may also stand in a chunk with content."""
        chunk = _parsed(payload)
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self.output_tokens, self.prompt_tokens = usage.get("completion_tokens"), usage.get("prompt_tokens")
        if chunk.get("error") or chunk.get("object") == "error":
            self.error = payload.strip()[:200].decode(errors="replace")


def _parsed(payload: bytes) -> dict[str, Any]:
    try:
        chunk = json.loads(payload)
    except ValueError as error:
        raise StreamError(f"a chunk of the stream is no JSON: {payload.strip()[:80]!r}") from error
    return chunk if isinstance(chunk, dict) else {}
