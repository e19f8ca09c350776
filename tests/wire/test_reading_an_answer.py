"""One HTTP/1.1 answer comes out the same however the network cuts it, and what is no answer is refused."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rightsizer_jobs.wire import http1
from rightsizer_jobs.wire.http1 import ProtocolError, Response

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6;x=y\r\n world\r\n1a\r\n" + b"z" * 26 + b"\r\n0\r\nX-Trailer: t\r\n\r\n"
)
COUNTED = b"HTTP/1.1 404 Not Found\r\ncontent-LENGTH: 5\r\n\r\nnever"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + COUNTED


def read(*pieces):
    response = Response()
    body = b"".join(response.feed(piece) for piece in pieces)
    return response, body


def cut(whole, places):
    edges = sorted({0, len(whole), *(place % len(whole) for place in places)})
    return [whole[a:b] for a, b in pairwise(edges)]


@given(st.lists(st.integers(0, 10_000), max_size=30))
def test_an_answer_reads_the_same_wherever_it_is_cut(places):
    for whole, status, body in (
        (CHUNKED, 200, b"hello world" + b"z" * 26),
        (COUNTED, 404, b"never"),
        (INTERIM, 404, b"never"),
    ):
        response, found = read(*cut(whole, places))
        assert (response.status, found, response.complete, response.reusable) == (status, body, True, True)


def test_byte_by_byte_is_no_exception():
    response, found = read(*(CHUNKED[at : at + 1] for at in range(len(CHUNKED))))
    assert (found[:11], response.complete) == (b"hello world", True)


def test_an_answer_of_untold_length_ends_with_the_connection_and_cannot_be_followed():
    response, found = read(b"HTTP/1.1 200 OK\r\n\r\nabc", b"def")
    assert (found, response.complete, response.end_of_input()) == (b"abcdef", False, True)
    assert not response.reusable


def test_a_connection_that_ends_within_a_told_length_or_a_chunk_leaves_the_answer_incomplete():
    for whole in (CHUNKED, COUNTED):
        response, _ = read(whole[:-3])
        assert not response.end_of_input()


@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\nConnection: Close\r\n"])
def test_a_server_that_says_so_gets_no_second_request(head):
    response, _ = read(head + b"Content-Length: 0\r\n\r\n")
    assert response.complete and not response.reusable


def test_bytes_after_the_end_make_the_connection_unfit():
    assert not read(CHUNKED + b"HTTP")[0].reusable
    assert not read(COUNTED + b"x")[0].reusable
    assert not read(CHUNKED, b"late")[0].reusable


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_an_answer_without_a_body_is_complete_at_once(status):
    assert read(b"HTTP/1.1 " + status + b"\r\nContent-Length: 9\r\n\r\n")[0].complete


@pytest.mark.parametrize(
    "wire",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello6\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 2000,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * http1.HEAD_LIMIT,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * http1.HEAD_LIMIT + b"\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_refused(wire):
    with pytest.raises(ProtocolError):
        read(wire)


def test_a_body_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(http1, "BODY_LIMIT", 100)
    with pytest.raises(ProtocolError, match="longer than 100 bytes"):
        read(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 99, b"xx")
