"""Engines' metrics: read whatever the release calls them, and do without where there are none."""

import pytest

from rightsizer_jobs.contract import Endpoint
from rightsizer_jobs.engines import connect
from rightsizer_jobs.engines.engine import first_of, read_prometheus
from rightsizer_jobs.engines.vllm import NAMES
from rightsizer_jobs.wire.session import Session

TEXT = """
# HELP vllm:num_requests_running Number of requests.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a {b} c"} 3.0
vllm:num_requests_running{engine="1",model_name="a {b} c"} 4.0 1700000000000
process_start_time_seconds 1.7e+09
vllm:gpu_cache_usage_perc{engine="0"} 0.5
broken_line
broken{engine="0"}
worse{engine="0"} many
"""


def test_samples_are_summed_over_labels_and_broken_lines_passed_over():
    assert read_prometheus(TEXT) == {
        "vllm:num_requests_running": 7.0,
        "process_start_time_seconds": 1.7e9,
        "vllm:gpu_cache_usage_perc": 0.5,
    }


def test_a_renamed_metric_is_found_by_its_former_name_and_a_missing_one_is_none():
    samples = read_prometheus(TEXT)
    assert first_of(samples, NAMES["kv_usage"]) == 0.5
    assert first_of(samples, NAMES["waiting"]) is None


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
