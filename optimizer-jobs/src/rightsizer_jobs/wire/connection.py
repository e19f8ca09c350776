"""One kept-alive connection, and the inbox that keeps time stamps apart from parsing. Made and pooled by ``session``.

A stamp is taken the moment the transport hands bytes over. They are only put aside then, and parsed when the event loop
has handed over everything that was there to read: no connection's stamp waits for another one's parsing.
"""

import asyncio
import time
from collections.abc import Callable
from typing import cast

from rightsizer_jobs.wire.http1 import ProtocolError, Response

Take = Callable[[int, int, bytes], None]
"""Told of the answer's body as it comes: (instant, HTTP status, bytes). Raises ValueError for what cannot be read."""


class ConnectionBroken(ConnectionError):
    """The connection ended before its answer. ``unanswered``: without a single byte of it."""

    def __init__(self, reason: str, *, unanswered: bool) -> None:
        super().__init__(reason)
        self.unanswered = unanswered


class Inbox:
    """What was received and is not parsed yet, over all connections of a session, in the order of its arrival."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[Connection, int, bytes]] = []

    def put(self, connection: "Connection", instant_ns: int, data: bytes) -> None:
        if not self._waiting:
            self._loop.call_soon(self.empty)
        self._waiting.append((connection, instant_ns, data))

    def empty(self) -> None:
        waiting, self._waiting = self._waiting, []
        for connection, instant_ns, data in waiting:
            connection.parse(instant_ns, data)


class Connection(asyncio.Protocol):
    """One request at a time. It keeps itself in ``open_ones`` from its first to its last moment."""

    __slots__ = ("_answer", "_inbox", "_open_ones", "_response", "_take", "idle_since_ns", "lost", "transport")

    def __init__(self, inbox: Inbox, open_ones: "set[Connection]") -> None:
        self._inbox, self._open_ones = inbox, open_ones
        self._answer: asyncio.Future[Response] | None = None
        self._response = Response()
        self._take: Take = _nothing
        self.transport: asyncio.Transport | None = None
        self.lost = False
        self.idle_since_ns = 0

    @property
    def reusable(self) -> bool:
        """Nothing of the last answer or request is under way any more, and the server keeps the connection."""
        transport = self.transport
        return (
            transport is not None
            and not self.lost
            and self._answer is None
            and self._response.reusable
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0
        )

    def request(self, message: bytes, take: Take) -> "asyncio.Future[Response]":
        """Write one request; the future holds its answer's head once the answer is whole, or ConnectionBroken or
        ValueError.
        """
        assert self.transport is not None and self._answer is None
        self._answer = answer = asyncio.get_running_loop().create_future()
        self._response, self._take = Response(), take
        if self.lost:
            self._fail(ConnectionBroken("the server closed the connection", unanswered=True))
            return answer
        try:
            self.transport.write(message)
        except RuntimeError as closed:  # uvloop's word for a transport that was closed before anybody was told
            self._fail(ConnectionBroken(f"the connection is closed: {closed}", unanswered=True))
        return answer

    def drop(self) -> None:
        """Give the connection up; a request under way is cut."""
        self._answer = None
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._open_ones.add(self)

    def data_received(self, data: bytes) -> None:
        self._inbox.put(self, time.monotonic_ns(), data)

    def parse(self, instant_ns: int, data: bytes) -> None:
        answer, response = self._answer, self._response
        if answer is None:  # bytes nobody asked for
            self.drop()
            return
        try:
            body = response.feed(data)
            if body:
                self._take(instant_ns, response.status, body)
        except ValueError as error:
            self._fail(error)
            self.drop()
            return
        if response.complete:
            self._answer = None
            if not answer.done():
                answer.set_result(response)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._inbox.empty()  # what came before the end belongs to the answer
        self.lost = True
        self._open_ones.discard(self)
        answer, response = self._answer, self._response
        if answer is None:
            return
        if response.end_of_input():
            self._answer = None
            if not answer.done():
                answer.set_result(response)
            return
        told = str(error) if error is not None else "the server closed the connection"
        part = f"{told} within its answer" if response.begun else told
        self._fail(ConnectionBroken(part, unanswered=not response.heard))

    def _fail(self, error: Exception) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)


def _nothing(_instant_ns: int, _status: int, _data: bytes) -> None:
    raise ProtocolError("an answer without a request")
