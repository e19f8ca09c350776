"""The demo's traffic: what a line says about an interval, and a clean end."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from e2e.traffic import generate
from rightsizer_jobs.loadgen.records import Exchange, Record

SECOND = 1_000_000_000


def answered(start_s: float, first_s: float, end_s: float) -> Record:
    start, first, end = (round(value * SECOND) for value in (start_s, first_s, end_s))
    return Record(0, start, 2, Exchange(start, (first, end), 2, 3))


def failed(reason: str) -> Record:
    return Record(0, 0, 2, Exchange(0, failure=reason))


def test_a_line_tells_what_ended_in_the_interval() -> None:
    interval = generate.Interval(100.0, sent=3, ended=[answered(1, 1.2, 1.25)])
    assert interval.line(102.0) == {
        "seconds": 2.0, "sent": 3, "ended": 1, "failed": 0, "ttft_p95_ms": 200.0, "itl_p95_ms": 50.0,
    }  # fmt: skip


def test_failures_are_counted_and_the_first_is_quoted() -> None:
    line = generate.Interval(0.0, sent=2, ended=[failed("HTTP 500: x"), failed("other")]).line(10.0)
    assert (line["failed"], line["failure"], line["ttft_p95_ms"]) == (2, "HTTP 500: x", -1.0)


async def completions(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for content in ("a", "b"):
        await response.write(f'data: {{"choices": [{{"text": "{content}"}}]}}\n\n'.encode())
    await response.write(b'data: {"choices": [], "usage": {"prompt_tokens": 200, "completion_tokens": 2}}\n\n')
    await response.write(b"data: [DONE]\n\n")
    return response


@pytest.fixture
async def address(unused_tcp_port: int) -> AsyncIterator[str]:
    """A server that answers every completion with two tokens."""
    application = web.Application()
    application.router.add_post("/v1/completions", completions)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    yield f"http://127.0.0.1:{unused_tcp_port}"
    await runner.cleanup()


async def test_traffic_ends_cleanly_at_sigterm_with_a_last_line(address: str) -> None:
    command = [
        sys.executable, generate.__file__, "--url", address, "--model", "m", "--rate", "50", "--every", "0.5",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    first = json.loads(await process.stdout.readline())
    os.kill(process.pid, signal.SIGTERM)
    rest, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert first["failed"] == 0
    assert first["sent"] > 0
    assert json.loads(rest.splitlines()[-1])["failed"] == 0
