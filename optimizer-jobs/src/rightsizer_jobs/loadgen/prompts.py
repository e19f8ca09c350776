"""Synthetic prompts as token ids, of exact length, as ready request bodies.

Pure but for reading the model's config.json. One seed gives the same bodies for every candidate and at every rate,
except for the first tokens: a nonce (one per probe, so that no probe lives off the prefix cache of an earlier one) and
the request's index (so that no request lives off another). Where a trace names prefix blocks, those stand in the place
of the index: requests of one probe share what they shared when they were recorded.
"""

import json
import random
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rightsizer_jobs.loadgen.sequence import Ask, Sequence, sequence
from rightsizer_jobs.loadgen.traces import BLOCK_TOKENS
from rightsizer_jobs.workload import Workload

RING = 1 << 16
"""Tokens drawn; a prompt is a window of them, so that a body costs a copy and not a draw."""

STRIDE = 40503
"""Odd, so that consecutive requests start at every offset of the ring before one repeats."""

EDGE = 50
"""One part in so many of the vocabulary is left out at both ends, where special tokens live."""


class ModelUnreadable(ValueError):
    """config.json is missing or does not give the vocabulary size."""


def vocabulary_size(model_path: str) -> int:
    """``vocab_size`` of config.json, also where it is nested under ``text_config``; raises ModelUnreadable."""
    found = model_config(model_path)
    for part in (found, found.get("text_config") or {}):
        size = part.get("vocab_size")
        if isinstance(size, int) and size > 1:
            return size
    raise ModelUnreadable(f"model_path: {Path(model_path) / 'config.json'} has no vocab_size")


def model_config(model_path: str) -> dict[str, Any]:
    """The model's ``config.json``, empty where it holds no object; raises ModelUnreadable."""
    path = Path(model_path) / "config.json"
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelUnreadable(f"model_path: {path} cannot be read: {error}") from error
    return config if isinstance(config, dict) else {}


@dataclass(frozen=True, slots=True)
class PromptBook:
    """Request bodies of one workload for one served model."""

    served_model_name: str
    requests: Sequence
    low: int
    high: int
    ring: bytes
    width: int

    @classmethod
    def draw(
        cls, *, served_model_name: str, input_tokens: int, output_tokens: int, vocabulary: int, seed: int
    ) -> "PromptBook":
        """Bodies of one pair of lengths."""
        requests = sequence(Workload(input_tokens=input_tokens, output_tokens=output_tokens), seed)
        return cls.of(requests, served_model_name=served_model_name, vocabulary=vocabulary, seed=seed)

    @classmethod
    def of(cls, requests: Sequence, *, served_model_name: str, vocabulary: int, seed: int) -> "PromptBook":
        """Draw the token ring; token ids are padded with blanks to one width, so that a window is one slice."""
        low, high = vocabulary // EDGE, vocabulary - vocabulary // EDGE
        width = len(str(high)) + 1
        tokens = random.Random(seed).choices(range(low, high), k=RING)
        drawn = "".join(f"{token:{width - 1}d}," for token in tokens).encode()
        ring = drawn * (1 + -(-requests.longest_input // RING))
        return cls(served_model_name, requests, low, high, ring, width)

    def asked_tokens(self, index: int) -> int:
        """Output tokens that request ``index`` asks for."""
        return self.requests.ask(index).output_tokens

    def body(self, index: int, nonce: int) -> bytes:
        """The JSON body of request ``index``."""
        ask = self.requests.ask(index)
        if ask.blocks:
            parts = self._shared(ask, zlib.crc32(b"%d/%d" % (nonce, ask.lap)) if ask.lap else nonce)
        else:
            parts = self._part(self._digits(nonce) + self._digits(index), index, ask.input_tokens)
        return b'{"model":%s,"prompt":[%s],"max_tokens":%d%s' % (
            json.dumps(self.served_model_name).encode(),
            b",".join(parts),
            ask.output_tokens,
            TAIL,
        )

    def _shared(self, ask: Ask, nonce: int) -> list[bytes]:
        """A prompt of prefix blocks: the same blocks are the same tokens in all requests with the nonce."""
        parts: list[bytes] = []
        head, left = self._digits(nonce), ask.input_tokens
        for block in ask.blocks:
            parts += self._part(head + self._digits(block), block, min(left, BLOCK_TOKENS))
            head, left = [], left - BLOCK_TOKENS
        return parts

    def _part(self, head: list[int], offset: int, length: int) -> list[bytes]:
        """``length`` tokens: the head, then a window of the ring."""
        kept = head[:length]
        start = (offset * STRIDE) % RING
        stop = start + length - len(kept)
        window = self.ring[start * self.width : stop * self.width]
        return [str(token).encode() for token in kept] + ([window.rstrip(b",")] if window else [])

    def _digits(self, number: int) -> list[int]:
        """A number below base**2 as two tokens of the allowed range."""
        base = self.high - self.low
        return [self.low + number // base % base, self.low + number % base]


TAIL = (
    b',"temperature":0,"ignore_eos":true,"skip_special_tokens":false'
    b',"stream":true,"stream_options":{"include_usage":true}}'
)
"""Exact lengths: ignore_eos. Special tokens stay visible, so that every token makes a content chunk."""
