"""Reading Prometheus within limits. The server is a stand-in on loopback that speaks the documented HTTP API
(``GET /api/v1/query``: status, data.resultType, data.result); a real Prometheus is not part of these tests.
"""

import asyncio
import datetime
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from rightsizer_operator import settings
from rightsizer_operator.cluster import prometheus
from rightsizer_operator.cluster.prometheus import DemandReader
from rightsizer_operator.resource.status import PeakReading
from rightsizer_operator.settings import PrometheusEndpoint
from rightsizer_operator.sizing.demand import Question
from rightsizer_operator.world import Unread

NOON = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def vector(*values: str) -> web.Response:
    series = [{"metric": {}, "value": [NOON.timestamp(), value]} for value in values]
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": series}})


@dataclass
class StandIn:
    """``peak`` and ``steps`` are the values of the two queries; ``answer`` takes the place of both."""

    peak: str | None = "7.4101"
    steps: str = "2016"
    answer: Answer | None = None
    queries: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def query(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(dict(request.query))
        self.headers.append(dict(request.headers))
        if self.answer is not None:
            return await self.answer(request)
        if request.query["query"].startswith("count_over_time"):
            return vector(self.steps)
        return vector(*([self.peak] if self.peak is not None else []))


@pytest.fixture
async def server() -> AsyncIterator[tuple[StandIn, str]]:
    stand_in = StandIn()
    app = web.Application()
    app.router.add_get("/prom/api/v1/query", stand_in.query)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield stand_in, f"http://127.0.0.1:{runner.addresses[0][1]}/prom"
    await runner.cleanup()


def a_reader(url: str, **changes: Any) -> DemandReader:
    return DemandReader(PrometheusEndpoint(**{"url": url, "timeout_s": 2, **changes}))


def asked(reader: DemandReader) -> Question:
    return reader.question("ml", "support-chat", 168, 5)


async def read(url: str, **changes: Any) -> PeakReading | Unread:
    reader = a_reader(url, **changes)
    return await reader.read(asked(reader), NOON)


async def test_the_peak_comes_with_its_query_its_window_and_how_much_of_it_has_data(
    server: tuple[StandIn, str],
) -> None:
    stand_in, url = server
    stand_in.steps = "504"
    found = await read(url)
    assert isinstance(found, PeakReading)
    assert (found.rate_rps, found.window_hours, found.average_minutes) == ("7.411", 168, 5)  # never less than read
    assert (found.read_at, found.coverage_percent) == ("2026-03-01T12:00:00Z", "25")
    assert found.query == stand_in.queries[0]["query"]
    assert 'namespace="ml"' in found.query
    assert all(query["time"] == f"{NOON.timestamp():.0f}" for query in stand_in.queries)


async def test_an_answer_is_kept_and_a_failure_is_tried_again_sooner(server: tuple[StandIn, str]) -> None:
    stand_in, url = server
    reader = a_reader(url, every_s=900)
    question = asked(reader)

    async def after(seconds: float) -> PeakReading | Unread:
        return await reader.read(question, NOON + datetime.timedelta(seconds=seconds))

    assert await after(0) == await after(899)
    assert len(stand_in.queries) == 2
    stand_in.peak = None
    assert isinstance(await after(901), Unread)
    stand_in.peak = "9"
    assert isinstance(await after(950), Unread)
    again = await after(962)
    assert isinstance(again, PeakReading) and again.rate_rps == "9"


async def test_without_an_endpoint_nothing_is_asked() -> None:
    reader = DemandReader(None)
    found = await reader.read(asked(reader), NOON)
    assert isinstance(found, Unread)
    assert found.reason == "PrometheusNotConfigured"


@pytest.mark.parametrize(
    ("peak", "says"), [(None, "no data"), ("NaN", "it is nan"), ("+Inf", "it is inf"), ("-3", "it is -3")]
)
async def test_no_figure_is_told_with_the_query(server: tuple[StandIn, str], peak: str | None, says: str) -> None:
    stand_in, url = server
    stand_in.peak = peak
    found = await read(url)
    assert isinstance(found, Unread)
    assert found.reason == "DemandUnknown"
    assert says in found.message
    assert stand_in.queries[0]["query"] in found.message
    assert "spec.workload.static.requestRate" in found.message


async def answer_error(_: web.Request) -> web.Response:
    body = {"status": "error", "errorType": "bad_data", "error": "secret-in-the-body"}
    return web.json_response(body, status=400)


async def answer_elsewhere(_: web.Request) -> web.Response:
    raise web.HTTPFound("http://169.254.169.254/latest/meta-data")


async def answer_page(_: web.Request) -> web.Response:
    return web.Response(text="<html>secret-in-the-body</html>")


async def answer_other(_: web.Request) -> web.Response:
    return web.json_response({"status": "success", "secret-in-the-body": 1})


async def answer_long(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(64):
        await response.write(b" " * 65536)
    return response


async def answer_drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(400):
        await response.write(b" ")
        await asyncio.sleep(0.1)
    return response


@pytest.mark.parametrize(
    ("answer", "reason", "says"),
    [
        (answer_error, "PrometheusUnreachable", "it refused the query"),
        (answer_elsewhere, "PrometheusUnreachable", "it refused the query"),
        (answer_page, "PrometheusUnreachable", "not JSON"),
        (answer_other, "DemandUnknown", "an answer that is no demand"),
        (answer_long, "PrometheusUnreachable", "more than 65536 bytes"),
        (answer_drip, "PrometheusUnreachable", "longer than 2 s"),
    ],
)
async def test_a_bad_answer_has_a_reason_and_is_never_quoted(
    server: tuple[StandIn, str], answer: Answer, reason: str, says: str
) -> None:
    stand_in, url = server
    stand_in.answer = answer
    found = await read(url)
    assert isinstance(found, Unread)
    assert found.reason == reason
    assert says in found.message
    assert "body" not in found.message
    assert len(stand_in.queries) == 1  # neither followed nor repeated


async def test_nobody_listening_is_no_connection(unused_tcp_port: int) -> None:
    found = await read(f"http://127.0.0.1:{unused_tcp_port}")
    assert isinstance(found, Unread)
    assert (found.reason, "no connection" in found.message) == ("PrometheusUnreachable", True)


async def test_the_token_is_read_anew_and_its_absence_is_told(server: tuple[StandIn, str], tmp_path: Path) -> None:
    stand_in, url = server
    token = tmp_path / "token"
    missing = await read(url, bearer_token_file=str(token))
    assert isinstance(missing, Unread) and "bearer token is missing" in missing.message
    for text in ("first\n", "second"):
        token.write_text(text)
        await read(url, bearer_token_file=str(token))
    assert [one["Authorization"] for one in stand_in.headers[::2]] == ["Bearer first", "Bearer second"]


async def test_proxies_of_the_environment_are_not_used(
    server: tuple[StandIn, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url = server
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert isinstance(await read(url), PeakReading)


async def test_few_questions_are_asked_at_a_time(server: tuple[StandIn, str]) -> None:
    stand_in, url = server
    running, most = 0, 0

    async def slow(request: web.Request) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1
        return vector("1")

    stand_in.answer = slow
    reader = a_reader(url)
    questions = [reader.question("ml", f"chat-{number}", 168, 5) for number in range(8)]
    found = await asyncio.gather(*(reader.read(question, NOON) for question in questions))
    assert all(isinstance(one, PeakReading) for one in found)
    assert most <= prometheus.AT_ONCE


@pytest.mark.parametrize(
    "url", ["ftp://p", "http://user:pass@p", "http://p?x=1", "http://p#x", "prometheus:9090", "http://", "http://a b"]
)
def test_a_url_with_more_than_a_place_is_refused(url: str) -> None:
    profile = {"image": "i"}
    with pytest.raises(settings.SettingsError, match=r"prometheus\.url"):
        settings.parsed({"trial": profile, "compress": profile, "prometheus": {"url": url}})
