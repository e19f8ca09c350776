"""Server-sent events of an OpenAI-compatible stream, cheaply: no JSON is parsed but the last chunk's. Pure."""

import json
import re
from dataclasses import dataclass, field

CONTENT = re.compile(rb'"(?:text|content|reasoning|reasoning_content)":\s*"(?!")')
"""A chunk with text in it. Quotes inside the text are escaped, so it cannot imitate the key."""


@dataclass(slots=True)
class Stream:
    """What a response said so far. ``feed`` returns the number of content chunks in the bytes just received."""

    output_tokens: int | None = None
    prompt_tokens: int | None = None
    done: bool = False
    error: str = ""
    _rest: bytes = field(default=b"", repr=False)

    def feed(self, data: bytes) -> int:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        return sum(self._take(line) for line in lines if line.startswith(b"data:"))

    def _take(self, line: bytes) -> bool:
        payload = line[5:].strip()
        if payload == b"[DONE]":
            self.done = True
            return False
        if b'"completion_tokens"' in payload:
            usage = json.loads(payload).get("usage") or {}
            self.output_tokens, self.prompt_tokens = usage.get("completion_tokens"), usage.get("prompt_tokens")
        if CONTENT.search(payload) is not None:
            return True
        if b'"error"' in payload:
            self.error = payload[:200].decode(errors="replace")
        return False
