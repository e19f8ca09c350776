"""Chat requests of a wanted length, in words: a chat takes text, and only the engine knows how many tokens that is.

Pure. Two requests of known numbers of words tell what a word costs and what the chat template adds (``gauge``); from
then on bodies have the lengths the workload asks for, but for rounding. Nonce and index are the first words, as they
are the first tokens of a ``PromptBook``, so that nothing is served from another probe's prefix cache.
"""

import json
import random
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from rightsizer_jobs.loadgen.sequence import Ask, Sequence
from rightsizer_jobs.loadgen.traces import BLOCK_TOKENS

TEXT = (
    "time year people way day man thing woman life child world school state family student group country problem hand "
    "part place case week company system program question work government number night point home water room mother "
    "area money story fact month lot right study book eye job word business issue side kind head house service friend "
    "father power hour game line end member law car city name team minute idea body back parent face level office door "
    "health person art war history party result change morning reason research girl guy moment air teacher force order "
    "food paper music road tree river stone light bridge garden window summer winter letter market picture ship horse "
    "voice heart color table circle field north south island wind fire snow bird bread glass"
)
WORDS = TEXT.split()
"""128 common words: with the blank before them one token each to most tokenizers. What they cost is measured."""

RING = 1 << 14
STRIDE = 10007
"""Odd, so that consecutive requests start at every offset of the ring before one repeats."""

SHORT, LONG = 64, 320
"""Words of the two requests that gauge an engine."""


class TemplateTooLong(ValueError):
    """The chat template alone takes more tokens than the workload's inputs have."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """What an engine counts: tokens of a word, and tokens that its chat template adds to any prompt."""

    per_word: float = 1.0
    added: float = 0.0

    def words(self, tokens: int) -> int:
        """Words that come closest to so many tokens in all, at least one."""
        return max(1, round((tokens - self.added) / self.per_word))


def gauge(short_tokens: int, long_tokens: int) -> Gauge:
    """From the prompt tokens that the engine counted for SHORT and for LONG words; raises ValueError."""
    per_word = (long_tokens - short_tokens) / (LONG - SHORT)
    if per_word <= 0:
        raise ValueError(f"the engine counted {short_tokens} tokens in {SHORT} words and {long_tokens} in {LONG}")
    return Gauge(per_word, max(0.0, short_tokens - SHORT * per_word))


@dataclass(frozen=True, slots=True)
class ChatBook:
    """Request bodies of one workload for one served model."""

    served_model_name: str
    requests: Sequence
    ring: tuple[str, ...]
    gauge: Gauge = Gauge()

    @classmethod
    def of(cls, requests: Sequence, *, served_model_name: str, seed: int) -> "ChatBook":
        return cls(served_model_name, requests, tuple(random.Random(seed).choices(WORDS, k=RING)))

    def gauged(self, found: Gauge) -> "ChatBook":
        """The same requests in the engine's own tokens; raises TemplateTooLong where the shortest cannot be made."""
        shortest = min(self.requests.ask(index).input_tokens for index in range(256))
        if shortest < found.added + found.per_word:
            raise TemplateTooLong(
                f"the chat template takes {found.added:.0f} tokens: inputs of {shortest} tokens cannot be made"
            )
        return replace(self, gauge=found)

    def asked_tokens(self, index: int) -> int:
        """Output tokens that request ``index`` asks for."""
        return self.requests.ask(index).output_tokens

    def body(self, index: int, nonce: int) -> bytes:
        """The JSON body of request ``index``."""
        ask = self.requests.ask(index)
        words = self.gauge.words(ask.input_tokens)
        if ask.blocks:
            text = self._shared(ask, words, zlib.crc32(b"%d/%d" % (nonce, ask.lap)) if ask.lap else nonce)
        else:
            text = self._part([*_spelled(nonce, 5), *_spelled(index, 3)], index, words)
        return self.message(text, ask.output_tokens)

    def gauging(self, words: int, nonce: int) -> bytes:
        """A request of so many words for one token."""
        return self.message(self._part(_spelled(nonce, 5), nonce, words), 1)

    def message(self, words: Iterable[str], output_tokens: int) -> bytes:
        """One user turn. Exact output length by ignore_eos; special tokens stay visible: each makes a chunk."""
        return json.dumps(
            {
                "model": self.served_model_name,
                "messages": [{"role": "user", "content": " ".join(words)}],
                "max_tokens": output_tokens,
                "temperature": 0,
                "ignore_eos": True,
                "skip_special_tokens": False,
                "stream": True,
                "stream_options": {"include_usage": True},
            },
            separators=(",", ":"),
        ).encode()

    def _shared(self, ask: Ask, words: int, nonce: int) -> list[str]:
        """A prompt of prefix blocks: the same blocks are the same words in all requests with the nonce."""
        parts: list[str] = []
        head, left, of_block = _spelled(nonce, 5), words, max(1, round(BLOCK_TOKENS / self.gauge.per_word))
        for block in ask.blocks:
            parts += self._part([*head, *_spelled(block, 5)], block, min(left, of_block))
            head, left = [], left - of_block
        return parts[:words]

    def _part(self, head: list[str], offset: int, length: int) -> list[str]:
        """``length`` words: the head, then a window of the ring."""
        kept = head[:length]
        start, rest = (offset * STRIDE) % RING, length - len(kept)
        while rest > 0:
            window = self.ring[start : start + rest]
            kept += window
            start, rest = 0, rest - len(window)
        return kept


def _spelled(number: int, places: int) -> list[str]:
    """A number as so many words, the most significant first."""
    base = len(WORDS)
    return [WORDS[number // base**place % base] for place in reversed(range(places))]
