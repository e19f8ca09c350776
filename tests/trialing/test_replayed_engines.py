"""An engine that says that it replays recordings: the report carries its words, on either engine."""

import pytest


@pytest.mark.parametrize("engine", ["VLLM", "TensorRTLLM"])
async def test_the_report_carries_what_the_engine_says_it_replays(start_engine, assign, repeat_void, engine):
    replay = await start_engine(replayed="recorded latencies of a table")
    report = await repeat_void(assign(replay.base_url, engine=engine, purpose="Certify", rate_rps=2))
    assert report.replayed == "recorded latencies of a table"


async def test_a_long_statement_is_cut_to_what_a_report_takes(start_engine, assign, repeat_void):
    replay = await start_engine(replayed="r" * 900)
    report = await repeat_void(assign(replay.base_url, purpose="Certify", rate_rps=2))
    assert report.replayed == "r" * 200


async def test_a_real_engine_says_nothing(start_engine, assign, repeat_void):
    real = await start_engine()
    report = await repeat_void(assign(real.base_url, purpose="Certify", rate_rps=2))
    assert report.replayed is None
