"""What goes wrong becomes a named outcome with its reason; there is always a report."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from rightsizer_jobs.trial.run import run


async def test_an_engine_that_never_listens_is_engine_failed(assign, unused_tcp_port):
    report = await run(assign(f"http://127.0.0.1:{unused_tcp_port}", deadlines={"ready_s": 0.6}))
    assert (report.outcome, report.ready_s) == ("EngineFailed", None)
    assert "not ready within 0.6 s: connection refused" in report.reason


async def test_an_engine_that_becomes_ready_late_is_waited_for(start_engine, assign):
    engine = await start_engine(ready_after=1, hang=True)
    report = await run(assign(engine.base_url, deadlines={"first_token_s": 0.2}))
    assert report.ready_s is not None and report.ready_s >= 0.5


async def test_an_engine_that_serves_another_model_is_engine_failed_at_once(start_engine, assign):
    engine = await start_engine(served_model_name="other")
    report = await run(assign(engine.base_url, deadlines={"ready_s": 30}))
    assert report.outcome == "EngineFailed"
    assert "lists other, not m" in report.reason


async def test_a_healthy_engine_without_a_token_is_hung(start_engine, assign):
    engine = await start_engine(hang=True)
    report = await run(assign(engine.base_url, deadlines={"first_token_s": 0.3}))
    assert report.outcome == "EngineHung"
    assert "no token within 0.3 s" in report.reason and "healthy" in report.reason


async def test_an_engine_that_ignores_the_asked_length_is_engine_failed(start_engine, assign):
    engine = await start_engine(output_tokens=2)
    report = await run(assign(engine.base_url))
    assert (report.outcome, report.reason) == ("EngineFailed", "asked for 4 tokens, got 2")


async def test_an_engine_that_goes_away_while_it_is_measured_is_engine_failed(start_engine, assign):
    engine = await start_engine(crash_after=30)
    report = await run(assign(engine.base_url))
    assert report.outcome == "EngineFailed"
    assert "stopped during" in report.reason and "refused" in report.reason


async def test_an_engine_that_restarted_while_it_was_measured_is_engine_failed(start_engine, assign):
    engine = await start_engine(restart_after=30)
    report = await run(assign(engine.base_url))
    assert report.outcome == "EngineFailed"
    assert "restarted" in report.reason
    assert report.engine_start == 1000.0


async def test_an_engine_that_refuses_requests_under_load_is_engine_failed(start_engine, assign):
    engine = await start_engine(fail_every=7)
    report = await run(assign(engine.base_url))
    assert report.outcome == "EngineFailed"
    assert "HTTP 500" in report.reason


async def test_a_limit_that_a_single_request_misses_is_missed_at_any_rate(start_engine, assign):
    engine = await start_engine()
    report = await run(assign(engine.base_url, slo={"ttft_ms": 20, "itl_ms": 500}))
    assert report.outcome == "MissedSLO"
    assert "idle engine already misses: p50 ttft" in report.reason and "itl" not in report.reason
    assert report.saturation is None


async def test_a_saturation_below_the_rate_to_beat_ends_the_trial(start_engine, assign):
    engine = await start_engine()
    report = await run(assign(engine.base_url, rate_to_beat_rps=100.0))
    assert report.outcome == "CannotBeat"
    assert "below the 100 needed to win" in report.reason
    assert report.probes == ()


async def test_the_trial_ends_at_its_own_deadline_with_what_it_has(start_engine, assign):
    engine = await start_engine()
    report = await run(assign(engine.base_url, deadlines={"total_s": 1.5}))
    assert report.outcome == "Void"
    assert "1.5 s" in report.reason
    assert report.idle_ms is not None


async def test_a_told_stop_is_a_void_report_and_not_a_lost_one(start_engine, assign):
    engine = await start_engine(hang=True)
    asyncio.get_running_loop().call_later(0.3, os.kill, os.getpid(), signal.SIGTERM)
    report = await run(assign(engine.base_url, deadlines={"first_token_s": 10}))
    assert report.outcome == "Void"
    assert "SIGTERM" in report.reason


async def test_a_model_folder_without_a_vocabulary_is_void_and_says_where(start_engine, assign, tmp_path):
    engine = await start_engine()
    report = await run(assign(engine.base_url, model_path=str(tmp_path / "nowhere")))
    assert report.outcome == "Void"
    assert "nowhere/config.json" in report.reason


async def test_records_that_cannot_be_written_cost_no_trial(start_engine, assign, tmp_path):
    (tmp_path / "file").write_text("")
    engine = await start_engine()
    report = await run(assign(engine.base_url, rate_to_beat_rps=100.0, records_dir=str(tmp_path / "file")))
    assert (report.outcome, report.records) == ("CannotBeat", None)


@pytest.mark.parametrize("publish_metrics", [True, False])
async def test_an_engine_without_metrics_is_measured_all_the_same(start_engine, assign, publish_metrics):
    engine = await start_engine(publish_metrics=publish_metrics)
    report = await run(assign(engine.base_url, engine="TensorRTLLM", rate_to_beat_rps=100.0))
    assert report.outcome == "CannotBeat"
    assert report.engine_start == (1000.0 if publish_metrics else None)


async def test_a_question_set_that_cannot_be_read_is_said_before_the_engine_is_waited_for(assign, tmp_path):
    report = await run(assign("http://127.0.0.1:9", questions={"path": str(tmp_path / "none.jsonl")}))
    assert (report.outcome, report.ready_s) == ("Void", None)
    assert report.reason.startswith("question set ")


def place_weights(model_path):
    Path(model_path, "model.safetensors").write_bytes(b"other weights")


async def test_weights_that_are_not_those_of_the_baseline_make_a_trial_void(assign, model_path):
    before = await run(assign("http://127.0.0.1:9", deadlines={"ready_s": 0.1}))
    assert before.outcome == "EngineFailed"
    same = await run(
        assign("http://127.0.0.1:9", deadlines={"ready_s": 0.1}, source_fingerprint=before.source_fingerprint)
    )
    assert same.outcome == "EngineFailed"
    place_weights(model_path)
    other = await run(assign("http://127.0.0.1:9", source_fingerprint=before.source_fingerprint))
    assert (other.outcome, other.ready_s) == ("Void", None)
    assert other.reason.startswith("source weights changed during the run")
    assert other.source_fingerprint not in (None, before.source_fingerprint)
