"""A verification on pods that serve users: their traffic and ours together make the rate."""

import asyncio

import aiohttp
import pytest

CAPACITY = 2 / (0.040 + 3 * 0.010)


async def one_request(session: aiohttp.ClientSession, url: str) -> None:
    body = {"model": "m", "prompt": [1, 2, 3], "max_tokens": 4, "stream": True}
    async with session.post(f"{url}/v1/completions", json=body) as response:
        await response.read()


async def served_beside(url: str, rate_rps: float, over: asyncio.Event) -> None:
    """Somebody else's requests, evenly spaced, until it is over."""
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        while not over.is_set():
            group.create_task(one_request(session, url))
            await asyncio.sleep(1 / rate_rps)


@pytest.fixture
async def busy_engine(start_engine):
    engine, over = await start_engine(), asyncio.Event()
    traffic = asyncio.create_task(served_beside(engine.base_url, 0.5 * CAPACITY, over))
    yield engine
    over.set()
    await traffic


async def test_only_what_is_missing_to_the_rate_is_sent(busy_engine, assign, repeat_void):
    report = await repeat_void(
        assign(busy_engine.base_url, purpose="Verify", rate_rps=0.7 * CAPACITY, top_up=True, slo={"ttft_ms": 3000})
    )
    assert report.probes[0].rate_rps == pytest.approx(0.2 * CAPACITY, abs=0.15 * CAPACITY)
    assert "of other traffic" in report.reason


async def test_a_tenth_is_sent_even_where_others_send_it_all(busy_engine, assign, repeat_void):
    report = await repeat_void(
        assign(busy_engine.base_url, purpose="Verify", rate_rps=0.3 * CAPACITY, top_up=True, slo={"ttft_ms": 3000})
    )
    assert report.probes[0].rate_rps == pytest.approx(0.03 * CAPACITY, rel=1e-3)


async def test_without_other_traffic_the_whole_rate_is_sent(start_engine, assign, repeat_void):
    engine = await start_engine()
    report = await repeat_void(assign(engine.base_url, purpose="Verify", rate_rps=0.3 * CAPACITY, top_up=True))
    assert report.probes[0].rate_rps == pytest.approx(0.3 * CAPACITY, rel=1e-3)
    assert "other traffic" not in report.reason


async def test_engines_that_publish_no_count_are_said(start_engine, assign, repeat_void):
    engine = await start_engine(publish_metrics=False)
    report = await repeat_void(assign(engine.base_url, purpose="Verify", rate_rps=0.3 * CAPACITY, top_up=True))
    assert "other traffic unknown" in report.reason
