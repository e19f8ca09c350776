"""A streamed completion becomes instants and counts, whatever its packets look like; every failure is a value."""

import asyncio
import time

import pytest

from rightsizer_jobs.loadgen.client import complete
from rightsizer_jobs.wire.connection import Connection
from rightsizer_jobs.wire.session import Session

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def text(word, end=b"\n\n"):
    return b'data: {"choices":[{"index":0,"text":"%s"}],"usage":null}%s' % (word, end)


def chat(delta):
    return b'data: {"choices":[{"index":0,"delta":%s}]}\n\n' % delta


async def ask(serve, *writes, close=False, timeout_s=20.0):
    """One request to a server that writes these, turn by turn; the exchange and what arrived live."""

    async def script(body, writer, number):
        for data in writes:
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(0.005)
        if close:
            writer.close()

    _, url = await serve(script)
    heard = []
    async with Session() as session:
        exchange = await complete(
            session, f"{url}/v1/completions", b"{}", timeout_s=timeout_s, arrive=lambda at, n: heard.append((at, n))
        )
    return exchange, heard


async def test_each_chunk_has_its_instant_and_is_told_as_it_comes(serve):
    before = time.monotonic_ns()
    words = (chunk(text(word)) for word in (b"a", b"b", b"c"))
    exchange, heard = await ask(serve, HEAD, *words, chunk(USAGE) + chunk(DONE) + END)
    assert (exchange.failure, exchange.output_tokens, exchange.prompt_tokens) == ("", 3, 7)
    assert sum(count for _, count in heard) == 3 and exchange.chunks_ns == tuple(
        at for at, n in heard for _ in range(n)
    )
    assert before <= exchange.sent_ns <= exchange.chunks_ns[0] <= exchange.chunks_ns[-1] <= time.monotonic_ns()


async def test_several_events_in_one_segment_share_its_instant(serve):
    exchange, _ = await ask(serve, HEAD + chunk(text(b"a") + text(b"b")) + chunk(text(b"c") + USAGE + DONE) + END)
    assert (exchange.failure, len(exchange.chunks_ns), len(set(exchange.chunks_ns))) == ("", 3, 1)


async def test_an_event_split_over_segments_counts_when_it_is_whole(serve):
    whole = chunk(text(b"a")) + chunk(text(b"b")) + chunk(USAGE + DONE) + END
    cut = len(chunk(text(b"a"))) + 20
    exchange, heard = await ask(serve, HEAD, whole[:cut], whole[cut:])
    assert [count for _, count in heard] == [1, 1] and exchange.failure == ""


async def test_line_ends_of_any_kind_and_comments_are_understood(serve):
    stream = b": keep-alive\r\n\r\n" + text(b"a", b"\r\n\r\n") + b": ping\n\nevent: x\nid: 4\n" + text(b"b")
    exchange, _ = await ask(serve, HEAD + chunk(stream) + chunk(USAGE.replace(b"\n", b"\r\n") + DONE) + END)
    assert (exchange.failure, len(exchange.chunks_ns)) == ("", 2)


async def test_a_chats_role_is_no_token_and_its_reasoning_is(serve):
    events = (
        chat(b'{"role":"assistant","content":""}'),
        chat(b'{"reasoning_content":"hm"}'),
        chat(b'{"content":"yes"}'),
        chat(b"{}"),
    )
    exchange, heard = await ask(serve, HEAD, *(chunk(event) for event in events), chunk(USAGE + DONE) + END)
    assert (exchange.failure, sum(count for _, count in heard), len(exchange.chunks_ns)) == ("", 2, 2)


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (b"429 Too Many Requests", b'{"error":"queue full"}', 'HTTP 429: {"error":"queue full"}'),
        (b"503 Service Unavailable", b"", "HTTP 503: "),
        (b"500 Internal Server Error", b"x" * 5000, "HTTP 500: " + "x" * 160),
    ],
)
async def test_a_request_that_is_refused_or_shed_is_a_failure_that_names_the_status(serve, status, body, failure):
    answer = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
    exchange, _ = await ask(serve, answer)
    assert (exchange.failure, exchange.refused, exchange.chunks_ns) == (failure, False, ())


@pytest.mark.parametrize(
    "error",
    [b'data: {"error":{"message":"out of memory"}}\n\n', b'data: {"object": "error", "message": "out of memory"}\n\n'],
)
async def test_an_error_inside_the_stream_is_a_failure_though_tokens_came(serve, error):
    exchange, _ = await ask(serve, HEAD + chunk(text(b"a") + error + USAGE + DONE) + END)
    assert exchange.failure.startswith("engine error: ") and "out of memory" in exchange.failure
    assert len(exchange.chunks_ns) == 1


@pytest.mark.parametrize(
    ("rest", "failure"),
    [
        (chunk(text(b"a")) + END, "the stream ended without usage or [DONE]"),
        (chunk(text(b"a") + USAGE) + END, "the stream ended without usage or [DONE]"),
        (chunk(USAGE + DONE) + END, "the answer has no content"),
        (b"zz\r\n", "no chunk where one must begin: b'zz'"),
        (chunk(text(b"a") + b'data: {"usage":{"completion_tokens":' + b"\n\n"), "a chunk of the stream is no JSON"),
    ],
)
async def test_a_stream_that_is_not_whole_is_a_failure(serve, rest, failure):
    exchange, _ = await ask(serve, HEAD + rest)
    assert exchange.failure.startswith(failure) and not exchange.refused


async def test_a_connection_that_breaks_within_the_stream_is_a_failure_and_counts_as_broken(serve):
    exchange, _ = await ask(serve, HEAD, chunk(text(b"a")), close=True)
    assert exchange.failure == "connection: the server closed the connection within its answer"
    assert exchange.refused and len(exchange.chunks_ns) == 1


async def test_a_stream_that_never_ends_is_cut_at_its_time(serve):
    exchange, _ = await ask(serve, HEAD, chunk(text(b"a")), timeout_s=0.3)
    assert exchange.failure == "no complete answer within 0.3 s" and not exchange.refused


async def test_nobody_listening_is_a_failure_that_says_so(unused_tcp_port):
    async with Session() as session:
        exchange = await complete(session, f"http://127.0.0.1:{unused_tcp_port}/v1/completions", b"{}", timeout_s=20)
    assert exchange.failure == "no connection: Connection refused" and exchange.refused


async def test_stamps_are_taken_before_anything_is_parsed(serve, monkeypatch):
    """Two connections have bytes at once: the second one's stamp does not wait for the first one's parsing."""
    order = []
    parse, receive = Connection.parse, Connection.data_received
    monkeypatch.setattr(Connection, "parse", lambda self, at, data: (order.append("parse"), parse(self, at, data)))
    monkeypatch.setattr(Connection, "data_received", lambda self, data: (order.append("stamp"), receive(self, data)))
    gate = asyncio.Event()

    async def together(body, writer, number):
        await gate.wait()
        writer.write(HEAD + chunk(text(b"a") + USAGE + DONE) + END)

    server, url = await serve(together)
    async with Session() as session:
        asked = [asyncio.create_task(complete(session, url, b"{}", timeout_s=20)) for _ in range(8)]
        while len(server.heads) < 8:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        gate.set()
        await asyncio.gather(*asked)
    assert order.index("parse") >= 8 and order.count("stamp") == order.count("parse") == 8
