"""Engines' metrics: read whatever the release calls them, and do without where there are none."""

import asyncio

import pytest

from rightsizer_jobs.contract import Endpoint
from rightsizer_jobs.engines import connect, tensorrt_llm, vllm
from rightsizer_jobs.engines.engine import sample_of
from rightsizer_jobs.wire.session import Session

PAGE = b"""
# HELP vllm:num_requests_running Number of requests.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a {b} c"} 3.0
vllm:num_requests_running{engine="1",model_name="a {b} c"} 4.0 1700000000000
vllm:num_requests_running_of_another_kind{engine="0"} 9.0
process_start_time_seconds 1.7e+09
vllm:gpu_cache_usage_perc{engine="0"} 0.5
vllm:gpu_cache_usage_perc{engine="1"} 0.75
vllm:num_preemptions_total{engine="0"}
vllm:prefix_cache_hits_total{engine="0"} many
broken_line
"""

TRTLLM_PAGE = b"""
trtllm_kv_cache_reused_blocks_total{engine_type="trtllm"} 30.0
trtllm_kv_cache_missed_blocks_total{engine_type="trtllm"} 70.0
trtllm_num_requests_waiting{engine_type="trtllm"} 2.0
trtllm_max_num_active_requests{engine_type="trtllm"} 64.0
"""


def test_requests_add_up_over_engines_and_shares_do_not():
    sample = sample_of(PAGE, vllm.NAMES)
    assert (sample.running, sample.kv_usage, sample.process_start) == (7.0, 0.75, 1.7e9)


def test_a_renamed_metric_is_found_by_its_former_name_and_a_missing_or_broken_one_is_none():
    sample = sample_of(PAGE, vllm.NAMES)
    assert sample.kv_usage == 0.75  # vllm:gpu_cache_usage_perc until late 2025
    assert (sample.waiting, sample.preemptions, sample.prefix_hits) == (None, None, None)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "1e999"])
def test_what_is_no_finite_number_is_no_figure(value):
    page = f'vllm:kv_cache_usage_perc{{engine="0"}} {value}\nprocess_start_time_seconds {value}\n'
    sample = sample_of(f"{page}vllm:num_requests_running 3\n".encode(), vllm.NAMES)
    assert (sample.kv_usage, sample.process_start, sample.running) == (None, None, 3.0)


@pytest.mark.parametrize("names", [vllm.NAMES, tensorrt_llm.NAMES])
def test_every_known_figure_is_read_under_each_of_its_names(names):
    for figure, known in names.items():
        for name in known:
            assert getattr(sample_of(f'{name}{{model_name="m"}} 5\n'.encode(), names), figure) == 5.0


@pytest.mark.parametrize("engine", ["VLLM", "TensorRTLLM"])
async def test_both_engines_are_read_and_ready(start_engine, engine):
    running = await start_engine()
    async with Session() as session:
        seen = connect(session, Endpoint(engine=engine, base_url=running.base_url, served_model_name="m"))
        assert (await seen.health()).ready
        assert (await seen.sample()).process_start == 1000.0
        assert seen.completions_url == f"{running.base_url}/v1/completions"


async def test_what_nobody_listens_to_is_refused_and_has_no_figures(unused_tcp_port):
    async with Session() as session:
        url = f"http://127.0.0.1:{unused_tcp_port}"
        seen = connect(session, Endpoint(engine="VLLM", base_url=url, served_model_name="m"))
        health, sample = await seen.health(), await seen.sample()
    assert (health.ready, health.refused) == (False, True)
    assert sample.process_start is None and sample.running is None


async def test_tensorrt_llms_hits_and_misses_are_told_as_hits_and_look_ups(serve_page):
    url = await serve_page("/prometheus/metrics", TRTLLM_PAGE)
    async with Session() as session:
        seen = connect(session, Endpoint(engine="TensorRTLLM", base_url=url, served_model_name="m"))
        sample = await seen.sample()
    assert (sample.prefix_hits, sample.prefix_queries, sample.waiting, sample.running) == (30.0, 100.0, 2.0, None)


@pytest.fixture
async def serve_page(unused_tcp_port):
    """A server with one page."""
    servers = []

    async def start(path, page):
        async def answer(reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            body = page if head.startswith(f"GET {path} ".encode()) else b""
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            writer.close()
            await writer.wait_closed()

        servers.append(await asyncio.start_server(answer, "127.0.0.1", unused_tcp_port))
        return f"http://127.0.0.1:{unused_tcp_port}"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()
