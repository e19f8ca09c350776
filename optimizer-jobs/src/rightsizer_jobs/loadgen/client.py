"""One streaming completion over HTTP, with the instants its chunks arrived. Called by ``load``; keeps no statistics.

Times are taken when bytes are handed over by the transport, before anything is parsed. Nothing is retried.
"""

import asyncio
import time

import aiohttp

from rightsizer_jobs.loadgen.records import Arrive, Exchange, unheard
from rightsizer_jobs.loadgen.sse import Stream

HEADERS = {"Content-Type": "application/json", "Accept": "text/event-stream"}


def open_session() -> aiohttp.ClientSession:
    """A session without connection limit, time-out or decompression: the load decides, not the pool.

    Idle connections are given up before the engines' servers do it (uvicorn: 5 s): a POST on a closing one would fail.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=3),
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
        trust_env=False,
        headers=HEADERS,
        skip_auto_headers=("User-Agent", "Accept-Encoding"),
    )


async def complete(
    session: aiohttp.ClientSession,
    url: str,
    body: bytes,
    *,
    timeout_s: float,
    arrive: Arrive = unheard,
) -> Exchange:
    """Send one request and read its stream to the end. Failures are values, only cancellation is raised."""
    sent = time.monotonic_ns()
    chunks: list[int] = []
    try:
        async with asyncio.timeout(timeout_s):
            return await _stream(session, url, body, sent, chunks, arrive)
    except TimeoutError:
        return Exchange(sent, tuple(chunks), failure=f"no complete answer within {timeout_s:g} s")
    except aiohttp.ClientConnectionError as error:
        return Exchange(sent, tuple(chunks), failure=f"connection: {error}"[:200], refused=True)
    except (aiohttp.ClientError, ValueError) as error:
        return Exchange(sent, tuple(chunks), failure=f"{type(error).__name__}: {error}"[:200])


async def _stream(
    session: aiohttp.ClientSession, url: str, body: bytes, sent: int, chunks: list[int], arrive: Arrive
) -> Exchange:
    async with session.post(url, data=body) as response:
        if response.status != 200:
            text = (await response.read())[:160].decode(errors="replace")
            return Exchange(sent, failure=f"HTTP {response.status}: {text}")
        stream = Stream()
        async for data in response.content.iter_any():
            now = time.monotonic_ns()
            found = stream.feed(data)
            if found:
                arrive(now, found)
                chunks.extend([now] * found)
    return _judge(stream, sent, tuple(chunks))


def _judge(stream: Stream, sent: int, chunks: tuple[int, ...]) -> Exchange:
    if stream.error:
        return Exchange(sent, chunks, failure=f"engine error: {stream.error}")
    if not chunks:
        return Exchange(sent, failure="the answer has no content")
    if not stream.done or stream.output_tokens is None:
        return Exchange(sent, chunks, failure="the stream ended without usage or [DONE]")
    return Exchange(sent, chunks, stream.output_tokens, stream.prompt_tokens or 0)
