"""Server-sent events: content chunks are counted as they come, whatever the packets look like."""

import json

import pytest

from rightsizer_jobs.loadgen.sse import Stream


def event(text=None, usage=None, **more):
    choices = [] if text is None else [{"index": 0, "text": text, "finish_reason": None}]
    return b"data: " + json.dumps({"id": "cmpl-1", "choices": choices, "usage": usage, **more}).encode() + b"\n\n"


USAGE = event(usage={"prompt_tokens": 5, "completion_tokens": 3})
WHOLE = event("a") + event("b") + event("c") + USAGE + b"data: [DONE]\n\n"


@pytest.mark.parametrize("size", [1, 2, 7, 64, len(WHOLE)])
def test_any_packet_size_gives_the_same_counts(size):
    stream = Stream()
    found = sum(stream.feed(WHOLE[at : at + size]) for at in range(0, len(WHOLE), size))
    assert (found, stream.output_tokens, stream.prompt_tokens, stream.done) == (3, 3, 5, True)


def test_an_empty_text_is_no_content():
    assert Stream().feed(event("") + event("x")) == 1


def test_text_that_looks_like_the_protocol_changes_nothing():
    stream = Stream()
    assert stream.feed(event('data: [DONE] {"error": "text":"x"')) == 1
    assert (stream.done, stream.error) == (False, "")


@pytest.mark.parametrize("key", ["content", "reasoning", "reasoning_content"])
def test_chat_and_reasoning_chunks_are_content(key):
    line = json.dumps({"choices": [{"delta": {key: "x"}}]}, separators=(",", ":")).encode()
    assert Stream().feed(b"data: " + line + b"\r\n\r\n") == 1


def test_a_role_only_chunk_is_no_content():
    assert Stream().feed(b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n') == 0


def test_an_error_inside_the_stream_is_kept():
    stream = Stream()
    assert stream.feed(b'data: {"error":{"message":"out of memory"}}\n\n') == 0
    assert "out of memory" in stream.error
