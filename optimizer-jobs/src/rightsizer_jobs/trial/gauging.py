"""How many tokens an engine makes of a chat's words: two requests to each, before anything is measured.

Called by ``run`` for a workload over chat; the arithmetic is in ``loadgen.chat``.
"""

import logging

from rightsizer_jobs.loadgen.chat import LONG, SHORT, ChatBook, TemplateTooLong, gauge
from rightsizer_jobs.loadgen.client import complete
from rightsizer_jobs.trial.bench import Bench
from rightsizer_jobs.trial.findings import Stop

LOG = logging.getLogger(__name__)


async def gauge_chats(bench: Bench) -> None:
    """Give every chat book its engine's gauge; Stop(Void) where the workload's lengths cannot be made."""
    bench.books = tuple(
        [
            await _gauged(bench, book, url) if isinstance(book, ChatBook) else book
            for book, url in zip(bench.books, bench.urls, strict=True)
        ]
    )


async def _gauged(bench: Bench, book: ChatBook, url: str) -> ChatBook:
    counted = [await _count(bench, book, url, words) for words in (SHORT, LONG)]
    try:
        found = gauge(*counted)
    except ValueError as error:
        raise Stop("EngineFailed", f"a chat's length cannot be told: {error}") from error
    LOG.info("a word of a chat is %.4g tokens, the template %.4g", found.per_word, found.added)
    try:
        return book.gauged(found)
    except TemplateTooLong as error:
        raise Stop("Void", f"workload: {error}") from error


async def _count(bench: Bench, book: ChatBook, url: str, words: int) -> int:
    """Prompt tokens, by the engine's own count."""
    body = book.gauging(words, bench.assignment.seed % 2**32)
    exchange = await complete(bench.session, url, body, timeout_s=bench.assignment.deadlines.request_s)
    if exchange.failure:
        raise Stop("EngineFailed", f"a single chat request failed: {exchange.failure}")
    return exchange.prompt_tokens
