"""The demo's demand is measured by the trial's own code: an exploration that must beat the unbeatable ends once it has
saturated the engine.
"""

import pytest

from e2e.stage import objects, traffic
from rightsizer_jobs.contract import Saturation, TrialReport, dump_report
from rightsizer_jobs.loadgen.metrics import Window, output_rate
from rightsizer_jobs.loadgen.records import Exchange, Record
from rightsizer_jobs.trial.run import run

SECOND = 1_000_000_000
IN_FLIGHT, CAPACITY = 4, 4 / (0.040 + (objects.OUTPUT_TOKENS - 1) * 0.010)


def pod(message="", code=0):
    return {"status": {"containerStatuses": [{"state": {"terminated": {"exitCode": code, "message": message}}}]}}


async def test_a_replica_is_saturated_and_nothing_else_is_measured(start_engine, model_path):
    engine = await start_engine(slots=IN_FLIGHT, served_model_name=objects.TARGET)
    wanted = traffic.saturation(engine.base_url, seconds=3)
    short = wanted.measurement.model_copy(update={"warmup_block_s": 0.3, "saturation_concurrency": IN_FLIGHT})
    report = await run(wanted.model_copy(update={"model_path": model_path, "measurement": short}))
    assert report.outcome == "CannotBeat", report.reason
    assert (report.probes, report.answers, report.capacity) == ((), None, None)
    found = traffic.measured([pod(dump_report(report))])
    assert found == report.saturation
    assert 0 < found.rps < 1.1 * CAPACITY


def test_it_is_a_trial_of_the_resource_that_follows():
    wanted = traffic.saturation("http://198.18.0.5:8000", seconds=30)
    asked = objects.inference_deployment(objects.intent(1.0, full=False, questions=900))["spec"]
    steps = asked["search"]["measurement"]
    assert wanted.measurement.saturation_concurrency == steps["saturationConcurrency"]
    assert wanted.measurement.warmup_block_s == steps["warmupSeconds"]
    assert wanted.workload.input_tokens == asked["workload"]["static"]["inputTokens"]
    assert wanted.workload.output_tokens == asked["workload"]["static"]["outputTokens"]


@pytest.mark.parametrize("start_s", [0.0, 0.3, 0.7, 1.1])
def test_answers_in_lockstep_are_counted_by_their_tokens_not_by_waves(start_s):
    """16 requests that end together every 1.13 s: whole answers in 20 s would be 13.6 or 14.4 a second."""
    wave_s, tokens = 1.13, 24
    wave_ns = round(wave_s * SECOND)
    starts = [wave * wave_ns for wave in range(30) for _ in range(16)]
    chunks = {start: tuple(start + step * wave_ns // tokens for step in range(1, tokens + 1)) for start in starts}
    records = [Record(0, start, tokens, Exchange(start, chunks[start], tokens)) for start in starts]
    window = Window(round((start_s + 5) * SECOND), round((start_s + 25) * SECOND))
    assert output_rate(records, window) / tokens == pytest.approx(16 / wave_s, rel=0.005)


def test_a_job_that_left_no_report_or_no_saturation_says_why():
    with pytest.raises(RuntimeError, match=r"no report .exit code 137.*kubectl logs job/saturation"):
        traffic.measured([pod(code=137)])
    failed = traffic.saturation("http://198.18.0.5:8000", seconds=30)
    report = {"purpose": "Explore", "candidate": failed.candidate, "attempt": 1, "seed": 1, "outcome": "EngineFailed"}
    with pytest.raises(RuntimeError, match="measured nothing: EngineFailed: not ready within 60 s"):
        traffic.measured([pod(_report({**report, "reason": "not ready within 60 s"}))])
    whole = _report({**report, "outcome": "CannotBeat", "saturation": {"rps": 2, "output_tps": 48, "concurrency": 16}})
    assert traffic.measured([pod(whole)]) == Saturation(rps=2, output_tps=48, concurrency=16)


def _report(values):
    return dump_report(TrialReport.model_validate(values))
