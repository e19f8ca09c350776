"""Connections are kept and reused; one that the server closed while idle costs a second try, nothing else does."""

import asyncio

import pytest

from rightsizer_jobs.wire import session as sessions
from rightsizer_jobs.wire.connection import ConnectionBroken
from rightsizer_jobs.wire.http1 import ProtocolError
from rightsizer_jobs.wire.session import Address, Session, Unreachable

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def answer(body, writer, number):
    writer.write(OK)


async def test_requests_one_after_the_other_share_a_connection(serve):
    server, url = await serve(answer)
    async with Session() as session:
        for _ in range(3):
            assert (await session.get(url, timeout_s=20)).text == "ok"
    assert (server.connections, len(server.heads)) == (1, 3)


async def test_requests_at_once_have_connections_of_their_own_and_keep_them(serve):
    server, url = await serve(answer)
    async with Session() as session:
        for _ in range(2):
            await asyncio.gather(*(session.post(url, b"{}", timeout_s=20) for _ in range(4)))
    assert 2 <= server.connections <= 4 and len(server.heads) == 8


async def test_a_session_may_be_told_to_keep_nothing(serve):
    server, url = await serve(answer)
    async with Session(keep=False) as session:
        await session.get(url, timeout_s=20)
        await session.get(url, timeout_s=20)
    assert server.connections == 2


async def test_a_connection_closed_while_idle_is_not_used_again(serve):
    server, url = await serve(answer)
    async with Session() as session:
        await session.get(url, timeout_s=20)
        await server.hang_up()
        assert (await session.get(url, timeout_s=20)).status == 200
    assert server.connections == 2


async def test_a_request_that_meets_a_closing_kept_connection_is_sent_once_more(serve):
    """The server closes just as the second request leaves: it may not have seen it."""

    async def close_at_the_second(body, writer, number):
        if number == 2:
            writer.close()
        else:
            writer.write(OK)

    server, url = await serve(close_at_the_second)
    async with Session() as session:
        await session.get(url, timeout_s=20)
        assert (await session.get(url, timeout_s=20)).status == 200
    assert (server.connections, len(server.heads)) == (2, 3)


async def test_a_fresh_connection_that_is_closed_is_broken_and_not_tried_again(serve):
    async def close(body, writer, number):
        writer.close()

    server, url = await serve(close)
    async with Session() as session:
        with pytest.raises(ConnectionBroken) as caught:
            await session.get(url, timeout_s=20)
    assert caught.value.unanswered and server.connections == 1


async def test_an_answer_that_has_begun_is_never_asked_for_again(serve):
    async def begin(body, writer, number):
        writer.write(OK if number == 1 else OK[:-1])
        if number == 2:
            writer.close()

    server, url = await serve(begin)
    async with Session() as session:
        await session.get(url, timeout_s=20)
        with pytest.raises(ConnectionBroken, match="within its answer"):
            await session.get(url, timeout_s=20)
    assert len(server.heads) == 2


async def test_a_connection_that_idled_too_long_is_given_up(serve, monkeypatch):
    server, url = await serve(answer)
    monkeypatch.setattr(sessions, "IDLE_NS", 0)
    async with Session() as session:
        await session.get(url, timeout_s=20)
        await session.get(url, timeout_s=20)
    assert server.connections == 2


async def test_a_late_answer_is_a_time_out_and_its_connection_is_cut(serve):
    async def never(body, writer, number):
        pass

    server, url = await serve(never)
    async with Session() as session:
        with pytest.raises(TimeoutError):
            await session.get(url, timeout_s=0.05)
        await asyncio.wait_for(server.left.wait(), 20)


async def test_nobody_listening_is_unreachable(unused_tcp_port):
    async with Session() as session:
        with pytest.raises(Unreachable, match="refused"):
            await session.get(f"http://127.0.0.1:{unused_tcp_port}", timeout_s=20)


async def test_an_answer_larger_than_allowed_is_refused(serve, monkeypatch):
    monkeypatch.setattr(sessions, "ANSWER_LIMIT", 1)
    _, url = await serve(answer)
    async with Session() as session:
        with pytest.raises(ValueError, match="longer than 1 bytes"):
            await session.get(url, timeout_s=20)


async def test_what_is_no_http_is_refused(serve):
    async def shout(body, writer, number):
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")

    _, url = await serve(shout)
    async with Session() as session:
        with pytest.raises(ProtocolError):
            await session.get(url, timeout_s=20)


@pytest.mark.parametrize("url", ["https://x", "ftp://x", "http://", "http://a b/", "http://x/\r\nEvil: 1"])
async def test_only_plain_http_addresses_are_taken(url):
    async with Session() as session:
        with pytest.raises(ValueError):
            await session.get(url, timeout_s=20)


@pytest.mark.parametrize(
    ("url", "host", "port", "named"),
    [
        ("http://[fd00::7]:8000/v1/models", "fd00::7", 8000, "[fd00::7]:8000"),
        ("http://[::1]/v1/models", "::1", 80, "[::1]"),
        ("http://10.0.0.7:8000/v1/models", "10.0.0.7", 8000, "10.0.0.7:8000"),
    ],
)
def test_an_ipv6_address_is_connected_to_without_its_brackets_and_named_with_them(url, host, port, named):
    address = Address.of(url)
    assert (address.host, address.port) == (host, port)
    assert address.message("GET", b"", "*/*").startswith(f"GET /v1/models HTTP/1.1\r\nHost: {named}\r\n".encode())


@pytest.mark.parametrize("turns", range(12))
async def test_a_session_ends_whenever_its_requests_were_cut_while_they_connected(serve, turns):
    """Cut after every number of turns of the event loop: before, while and after a connection is made."""
    _, url = await serve(answer)
    async with Session() as session:
        requests = [asyncio.create_task(session.post(url, b"{}", timeout_s=20)) for _ in range(8)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
        assert (await session.get(url, timeout_s=20)).text == "ok"


async def test_a_kept_connection_that_was_closed_untold_costs_a_second_try_and_no_crash(serve):
    server, url = await serve(answer)
    async with Session() as session:
        await session.get(url, timeout_s=20)
        (kept,) = session._open
        kept.transport = Untold(kept.transport)
        assert (await session.get(url, timeout_s=20)).text == "ok"
    assert server.connections == 2


class Untold:
    """A transport whose write fails as uvloop's does once it is closed."""

    def __init__(self, transport):
        self.transport = transport

    def write(self, data):
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    def __getattr__(self, name):
        return getattr(self.transport, name)
