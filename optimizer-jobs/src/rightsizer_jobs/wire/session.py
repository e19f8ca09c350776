"""A pool of connections to engines, and plain requests over them. Used by ``engines``, ``quality`` and ``loadgen``.

A request is sent a second time in one case only: it went out on a kept connection that the server had closed meanwhile,
and not a byte of an answer came.
"""

import asyncio
import os
import time
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

from rightsizer_jobs.wire.connection import Connection, ConnectionBroken, Inbox, Take
from rightsizer_jobs.wire.http1 import Response

IDLE_NS = 3_000_000_000
"""Idle connections are given up before the engines' servers do it (uvicorn: 5 s)."""

ANSWER_LIMIT = 16 * 1024 * 1024
"""Bytes of an answer that is read whole; metrics of an engine are some 100 kB."""


class Unreachable(ConnectionError):
    """No connection could be made."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a URL points, taken apart once."""

    host: str
    port: int
    path: str
    authority: str

    @classmethod
    def of(cls, url: str) -> "Address":
        """Raises ValueError for what is no plain http address."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or any(ord(letter) <= 32 for letter in url):
            raise ValueError(f"{url[:120]} is no http:// address")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.hostname, parts.port or 80, path, parts.netloc.rpartition("@")[2])

    def message(self, method: str, body: bytes, accept: str) -> bytes:
        head = f"{method} {self.path} HTTP/1.1\r\nHost: {self.authority}\r\nAccept: {accept}\r\n"
        if method == "POST":
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return head.encode("ascii") + b"\r\n" + body


class Session:
    """Connections to engines, kept alive, without a limit on their number: the load decides, not the pool.

    ``keep=False``: a new connection for each request, as it takes to spread them over a Service's replicas.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._idle: dict[tuple[str, int], list[Connection]] = {}
        self._open: set[Connection] = set()
        self._addresses: dict[str, Address] = {}

    async def __aenter__(self) -> "Session":
        self._inbox = Inbox()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in [*self._open]:
            connection.drop()
        while self._open:  # noqa: ASYNC110 transports close within a few turns of the loop, without waiting for anyone
            await asyncio.sleep(0)

    async def get(self, url: str, *, timeout_s: float) -> Answer:
        """Raises Unreachable, ConnectionBroken, TimeoutError or ValueError."""
        return await self._whole("GET", url, b"", timeout_s)

    async def post(self, url: str, body: bytes, *, timeout_s: float) -> Answer:
        """A JSON body; raises as ``get`` does."""
        return await self._whole("POST", url, body, timeout_s)

    async def _whole(self, method: str, url: str, body: bytes, timeout_s: float) -> Answer:
        parts: list[bytes] = []
        size = 0

        def take(_instant_ns: int, _status: int, data: bytes) -> None:
            nonlocal size
            size += len(data)
            if size > ANSWER_LIMIT:
                raise ValueError(f"the answer is longer than {ANSWER_LIMIT} bytes")
            parts.append(data)

        async with asyncio.timeout(timeout_s):
            response = await self.exchange(method, url, body, take, accept="*/*")
        return Answer(response.status, b"".join(parts))

    async def exchange(self, method: str, url: str, body: bytes, take: Take, *, accept: str) -> Response:
        """Send and wait for the whole answer; its body goes to ``take`` as it comes. Cancelling cuts the connection."""
        address = self._addresses.get(url)
        if address is None:
            address = self._addresses[url] = Address.of(url)
        message = address.message(method, body, accept)
        kept = self._kept(address)
        if kept is not None:
            try:
                return await self._on(kept, address, message, take)
            except ConnectionBroken as broken:
                if not broken.unanswered:
                    raise
        return await self._on(await self._connect(address), address, message, take)

    async def _on(self, connection: Connection, address: Address, message: bytes, take: Take) -> Response:
        try:
            response = await connection.request(message, take)
        except BaseException:
            connection.drop()
            raise
        if self._keep and connection.reusable:
            connection.idle_since_ns = time.monotonic_ns()
            self._idle.setdefault((address.host, address.port), []).append(connection)
        else:
            connection.drop()
        return response

    def _kept(self, address: Address) -> Connection | None:
        """The connection that was used last, if it still lives; those that idled too long are given up."""
        idle = self._idle.get((address.host, address.port))
        while idle:
            connection = idle.pop()
            if connection.reusable and time.monotonic_ns() - connection.idle_since_ns < IDLE_NS:
                return connection
            connection.drop()
        return None

    async def _connect(self, address: Address) -> Connection:
        made = Connection(self._inbox, self._open)
        try:
            await asyncio.get_running_loop().create_connection(lambda: made, address.host, address.port)
        except OSError as error:
            number = error.errno or 0  # a name that is not found has a negative one of its own
            raise Unreachable(os.strerror(number) if number > 0 else str(error)) from error
        except asyncio.CancelledError:
            # uvloop closes a connection that was made just then, and tells nobody that it is lost.
            self._open.discard(made)
            raise
        return made
