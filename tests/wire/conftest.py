"""A server that answers by script: what it writes, and when it closes, is said connection by connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], object]]:
    """The tests' usual loop, and the one of Jobs: their transports differ."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


Script = Callable[[bytes, asyncio.StreamWriter, int], Awaitable[None]]
"""(request body, writer, number of the request) -> writes; it may close the writer."""


class Scripted:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.heads: list[bytes] = []
        self.left = asyncio.Event()
        """A client has left, or was sent away."""
        self._writers: list[asyncio.StreamWriter] = []
        self._turns: list[asyncio.Task[None]] = []

    async def start(self, host: str) -> str:
        self._server = await asyncio.start_server(self._serve, host, 0)
        port = self._server.sockets[0].getsockname()[1]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        turn = asyncio.current_task()
        assert turn is not None
        self._turns.append(turn)
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                length = next(
                    (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
                )
                await self.script(await reader.readexactly(length), writer, len(self.heads))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.left.set()
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    async def hang_up(self) -> None:
        """Close every connection, as servers do with idle ones."""
        for writer in self._writers:
            writer.close()
            await writer.wait_closed()

    async def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for turn in self._turns:
            await turn
        await self._server.wait_closed()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[tuple[Scripted, str]]]]:
    """Start a server with this script; its address comes with it."""
    started: list[Scripted] = []

    async def start(script: Script, host: str = "127.0.0.1") -> tuple[Scripted, str]:
        server = Scripted(script)
        url = await server.start(host)
        started.append(server)
        return server, url

    yield start
    for server in started:
        await server.stop()
