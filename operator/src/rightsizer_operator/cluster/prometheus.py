"""Reading Prometheus behind our own limits, for the peak demand. Called by ``observe`` and ``gpu_reader``; decides
nothing.

Where Prometheus is, is operator configuration. The client library (prometheus-api-client) waits for ever, follows
redirects and takes proxies from the environment unless its session does not: ``_Bounded`` does not. What an answer says
beyond a number is never told to anybody.
"""

import asyncio
import contextlib
import datetime
import logging
import pathlib
import time
from collections.abc import Callable
from typing import Any, TypeVar

import requests
from prometheus_api_client.exceptions import PrometheusApiClientException
from prometheus_api_client.prometheus_connect import PrometheusConnect
from urllib3 import Retry

from rightsizer_operator.resource import reasons
from rightsizer_operator.resource.base import quantity
from rightsizer_operator.resource.conditions import rfc3339
from rightsizer_operator.resource.status import PeakReading
from rightsizer_operator.settings import PrometheusEndpoint
from rightsizer_operator.sizing import demand, gpus
from rightsizer_operator.sizing.demand import Question
from rightsizer_operator.world import Unread

log = logging.getLogger(__name__)
T = TypeVar("T")

LIMIT_BYTES = 64 * 1024
CHUNK_BYTES = 16 * 1024
AT_ONCE = 2
AGAIN_S = 60.0
"""After a question that failed; an answer is kept for ``every_s``."""
NOT_CONFIGURED = Unread(
    reasons.PROMETHEUS_NOT_CONFIGURED,
    "spec.workload.prometheus: the operator's configuration names no Prometheus (prometheus.url of the chart); have it "
    "set, or state the demand in spec.workload.static.requestRate.",
)


class TooMuch(Exception):
    """The answer is longer, or took longer, than allowed."""


class DemandReader:
    """Asks at most once per ``every_s`` and target, and never more than AT_ONCE questions at a time."""

    def __init__(self, endpoint: PrometheusEndpoint | None) -> None:
        self._endpoint = endpoint
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._known: dict[Question, tuple[float, PeakReading | Unread]] = {}

    def question(self, namespace: str, deployment: str, window_hours: int, average_minutes: int) -> Question:
        labels = self._endpoint or PrometheusEndpoint(url="http://none")
        return Question(
            namespace=namespace,
            deployment=deployment,
            window_hours=window_hours,
            average_minutes=average_minutes,
            namespace_label=labels.namespace_label,
            pod_label=labels.pod_label,
        )

    async def read(self, asked: Question, now: datetime.datetime) -> PeakReading | Unread:
        """The peak, or why there is none."""
        endpoint, at = self._endpoint, now.timestamp()
        if endpoint is None:
            return NOT_CONFIGURED
        async with self._slots:
            known = self._known.get(asked)
            if known is not None and 0 <= at - known[0] < _kept_s(known[1], endpoint):
                return known[1]
            found = await self._ask(endpoint, asked, now)
            self._known[asked] = (at, found)
            return found

    async def _ask(self, endpoint: PrometheusEndpoint, asked: Question, now: datetime.datetime) -> PeakReading | Unread:
        try:
            return await in_time(endpoint, lambda: _peak(endpoint, asked, now))
        except TimeoutError:
            return _unreachable("no answer in time")


async def in_time(endpoint: PrometheusEndpoint, ask: Callable[[], T]) -> T:
    """What a blocking question gives, asked in a thread; raises TimeoutError. The thread ends by its own deadline, this
    one is for a name server that does not answer.
    """
    return await asyncio.wait_for(asyncio.to_thread(ask), 3 * endpoint.timeout_s)


def _kept_s(found: PeakReading | Unread, endpoint: PrometheusEndpoint) -> float:
    return AGAIN_S if isinstance(found, Unread) else endpoint.every_s


def _peak(endpoint: PrometheusEndpoint, asked: Question, now: datetime.datetime) -> PeakReading | Unread:
    query = demand.peak_query(asked)
    try:
        with contextlib.closing(connected(endpoint)) as prometheus:
            rate = demand.single(instant(prometheus, endpoint, query, now))
            if rate is None:
                return _nothing(asked, query, "no data")
            steps = demand.single(instant(prometheus, endpoint, demand.coverage_query(asked), now)) or 0.0
    except PrometheusApiClientException as error:
        log.warning("Prometheus refused a query", extra={"query": query, "error": str(error)[:300]})
        return _unreachable(words(error))
    except (requests.RequestException, TooMuch, OSError) as error:
        log.warning("Prometheus could not be read", extra={"error": f"{type(error).__name__}: {error}"[:300]})
        return _unreachable(words(error))
    except UNREADABLE as error:
        return _nothing(asked, query, f"an answer that is no demand ({str(error)[:60]})")
    return PeakReading(
        rate_rps=gpus.written(gpus.bar(rate)),
        window_hours=asked.window_hours,
        average_minutes=asked.average_minutes,
        query=query,
        read_at=rfc3339(now),
        coverage_percent=quantity(demand.coverage_percent(steps, asked), 1),
    )


def instant(prometheus: Any, endpoint: PrometheusEndpoint, query: str, now: datetime.datetime) -> object:
    """The result of an instant query at a time. Prometheus gives up itself a little earlier than we do."""
    params = {"time": f"{now.timestamp():.0f}", "timeout": f"{endpoint.timeout_s}s"}
    return prometheus.custom_query(query, params=params)


def connected(endpoint: PrometheusEndpoint) -> Any:
    """The library's client behind our limits, to be closed after use; raises OSError where the token cannot be read."""
    headers = {"Accept-Encoding": "identity"}
    if endpoint.bearer_token_file:  # read anew each time: tokens are rotated
        token = pathlib.Path(endpoint.bearer_token_file).read_text(encoding="ascii").strip()
        headers["Authorization"] = f"Bearer {token}"
    return PrometheusConnect(
        url=endpoint.url.rstrip("/"),
        headers=headers,
        session=_Bounded(endpoint.timeout_s, endpoint.ca_file),
        retry=Retry(0, redirect=False),
    )


class _Bounded(requests.Session):
    """No proxy and no netrc of the environment, no redirect, so many bytes, so many seconds in all."""

    def __init__(self, timeout_s: float, ca_file: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.trust_env = False
        self.verify = ca_file or True
        self._timeout_s, self._clock = timeout_s, clock

    def send(self, request: Any, **options: Any) -> Any:
        deadline = self._clock() + self._timeout_s
        bounds = {"allow_redirects": False, "stream": True, "timeout": self._timeout_s}
        response = super().send(request, **{**options, **bounds})
        body = bytearray()
        while chunk := response.raw.read1(CHUNK_BYTES):
            body += chunk
            if len(body) > LIMIT_BYTES:
                raise TooMuch(f"more than {LIMIT_BYTES} bytes")
            if self._clock() > deadline:
                raise TooMuch(f"longer than {self._timeout_s:g} s")
        response._content, response._content_consumed = bytes(body), True
        response.close()
        return response


UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)
"""What reading an answer of another shape raises."""
FAILURES = (PrometheusApiClientException, requests.RequestException, TooMuch, OSError, *UNREADABLE)
"""Everything that asking and reading an answer raises."""


def words(error: Exception) -> str:
    """What went wrong, in words of our own."""
    if isinstance(error, TooMuch):
        return f"its answer was {error}"
    if isinstance(error, PrometheusApiClientException):
        return "it refused the query; the operator's log has its words"
    kinds: tuple[tuple[type[Exception], str], ...] = (
        (requests.exceptions.SSLError, "its certificate is not trusted (prometheus.ca of the chart)"),
        (requests.Timeout, "no answer in time"),
        (requests.ConnectionError, "no connection"),
        (requests.exceptions.JSONDecodeError, "its answer is not JSON"),
        (FileNotFoundError, "the file of its bearer token is missing"),
        (UnicodeDecodeError, "the file of its bearer token is not ASCII"),
    )
    told = next((said for kind, said in kinds if isinstance(error, kind)), "")
    return told or (str(error)[:60] if isinstance(error, ValueError) else type(error).__name__)


def _unreachable(why: str) -> Unread:
    return Unread(
        reasons.PROMETHEUS_UNREACHABLE,
        f"spec.workload.prometheus: the peak demand could not be read from the operator's Prometheus: {why}. It is "
        "tried again; or state the demand in spec.workload.static.requestRate.",
    )


def _nothing(asked: Question, query: str, what: str) -> Unread:
    return Unread(
        reasons.DEMAND_UNKNOWN,
        f"spec.workload.prometheus: Prometheus has {what} for the target's requests in the last "
        f"{asked.window_hours} h. Have the engine's metrics of its pods scraped with the labels "
        f"{asked.namespace_label} and {asked.pod_label}, or state the demand in spec.workload.static.requestRate. "
        f"Query: {query}",
    )
