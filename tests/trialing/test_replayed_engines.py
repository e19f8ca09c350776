"""An engine that says that it replays recordings: the report carries its words, on either engine."""

import pytest

from rightsizer_jobs.contract import dump_report, load_report
from rightsizer_jobs.trial.findings import Findings


@pytest.mark.parametrize("engine", ["VLLM", "TensorRTLLM"])
async def test_the_report_carries_what_the_engine_says_it_replays(start_engine, assign, repeat_void, engine):
    replay = await start_engine(replayed="recorded latencies of a table")
    report = await repeat_void(assign(replay.base_url, engine=engine, purpose="Certify", rate_rps=2))
    assert report.replayed == "recorded latencies of a table"


async def test_a_long_statement_is_cut_to_what_a_report_takes(start_engine, assign, repeat_void):
    replay = await start_engine(replayed="r" * 900)
    report = await repeat_void(assign(replay.base_url, purpose="Certify", rate_rps=2))
    assert report.replayed == "r" * 200


def test_half_a_character_in_an_engines_words_costs_no_report(assign):
    findings = Findings(assign("http://127.0.0.1:1"), replayed="a table \ud800")
    report = load_report(dump_report(findings.report("EngineFailed", "HTTP 500: \udfff")))
    assert (report.replayed, report.reason) == ("a table ?", "HTTP 500: ?")


async def test_a_real_engine_says_nothing(start_engine, assign, repeat_void):
    real = await start_engine()
    report = await repeat_void(assign(real.base_url, purpose="Certify", rate_rps=2))
    assert report.replayed is None
