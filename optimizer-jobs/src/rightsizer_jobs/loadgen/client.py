"""One streaming completion over HTTP, with the instants its chunks arrived. Called by ``load``; keeps no statistics.

Times are taken when the transport hands bytes over, before anything is parsed (``wire.connection``). A second try after
a kept connection that the server had closed costs its delay: latency counts from the schedule.
"""

import asyncio
import time

from rightsizer_jobs.loadgen.records import Arrive, Exchange, unheard
from rightsizer_jobs.loadgen.sse import Stream
from rightsizer_jobs.wire.session import Session, Unreachable

EXCERPT = 160
"""Bytes of an error's text that are told."""


async def complete(session: Session, url: str, body: bytes, *, timeout_s: float, arrive: Arrive = unheard) -> Exchange:
    """Send one request and read its stream to the end. Failures are values, only cancellation is raised."""
    sent = time.monotonic_ns()
    reading = _Reading(arrive)
    try:
        async with asyncio.timeout(timeout_s):
            response = await session.exchange("POST", url, body, reading.take, accept="text/event-stream")
    except TimeoutError:
        return reading.failed(sent, f"no complete answer within {timeout_s:g} s")
    except Unreachable as error:
        return reading.failed(sent, f"no connection: {error}", refused=True)
    except ConnectionError as error:
        return reading.failed(sent, f"connection: {error}", refused=True)
    except ValueError as error:
        return reading.failed(sent, str(error))
    return reading.judged(sent, response.status)


class _Reading:
    """What one streamed answer has said so far."""

    __slots__ = ("_arrive", "chunks", "excerpt", "stream")

    def __init__(self, arrive: Arrive) -> None:
        self._arrive = arrive
        self.chunks: list[int] = []
        self.stream = Stream()
        self.excerpt = b""

    def take(self, instant_ns: int, status: int, data: bytes) -> None:
        if status != 200:
            self.excerpt = (self.excerpt + data[:EXCERPT])[:EXCERPT]
            return
        found = self.stream.feed(data)
        if found == 1:
            self.chunks.append(instant_ns)
            self._arrive(instant_ns, 1)
        elif found:
            self.chunks.extend([instant_ns] * found)
            self._arrive(instant_ns, found)

    def failed(self, sent_ns: int, failure: str, *, refused: bool = False) -> Exchange:
        return Exchange(sent_ns, tuple(self.chunks), failure=failure[:200], refused=refused)

    def judged(self, sent_ns: int, status: int) -> Exchange:
        """A whole answer: a success only with content, usage and [DONE], and no error in it."""
        stream = self.stream
        if status != 200:
            return self.failed(sent_ns, f"HTTP {status}: {self.excerpt.decode(errors='replace')}")
        if stream.error:
            return self.failed(sent_ns, f"engine error: {stream.error}")
        if not self.chunks:
            return self.failed(sent_ns, "the answer has no content")
        if not stream.done or stream.output_tokens is None:
            return self.failed(sent_ns, "the stream ended without usage or [DONE]")
        return Exchange(sent_ns, tuple(self.chunks), stream.output_tokens, stream.prompt_tokens or 0)
