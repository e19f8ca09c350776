"""A broken connection is a failed request while the engine answers; an engine that is gone ends the run at once."""

import asyncio
import time
from dataclasses import replace

import pytest

from rightsizer_jobs.loadgen.load import Live, Run
from rightsizer_jobs.loadgen.metrics import Window
from rightsizer_jobs.trial.bench import Bench
from rightsizer_jobs.trial.findings import Findings, Stop
from rightsizer_jobs.trial.pulse import Pulse
from rightsizer_jobs.trial.run import run
from rightsizer_jobs.trial.search import Saturate
from rightsizer_jobs.trial.steps import saturate
from rightsizer_jobs.wire.session import Session

ROOMY = {"ttft_ms": 60_000, "percentile": 50}


async def test_an_engine_that_broke_some_connections_and_answers_is_measured_to_the_end(
    start_engine, assign, repeat_void
):
    engine = await start_engine(slots=8, resets=5, reset_after=30)
    report = await repeat_void(assign(engine.base_url, purpose="Verify", rate_rps=40.0, slo=ROOMY))
    assert report.outcome == "Succeeded", report.reason
    assert engine.behaviour.resets == 0
    assert report.probes[0].failed == 5 or report.attempt > 1


async def test_a_saturation_run_goes_on_after_broken_connections(start_engine, assign):
    engine = await start_engine(slots=16, resets=3, reset_after=20)
    assignment = assign(engine.base_url)
    findings = Findings(assignment, engine_starts=(None,))
    async with Session() as session:
        bench = Bench.set_up(assignment, session, findings)
        found = await saturate(bench, Saturate(16, 1.5))
    assert engine.behaviour.resets == 0
    assert found.rps > 20  # nothing of a run that ended at the third reset lies in the counted part


async def test_one_of_several_engines_that_goes_away_ends_a_long_run_at_once(start_engine, assign):
    there, gone = await start_engine(slots=8), await start_engine(slots=8, crash_after=10)
    hold = {"hold_s": 60, "warmup_block_s": 0.3}
    began = time.monotonic()
    report = await run(
        assign(there.base_url, gone.base_url, purpose="Verify", rate_rps=40.0, slo=ROOMY, measurement=hold)
    )
    assert report.outcome == "EngineFailed", report.reason
    assert "the engine stopped during verification at 40 requests/s" in report.reason
    assert time.monotonic() - began < 30


class Patient:
    """A bench whose engines answer, until they are said to be gone."""

    def __init__(self):
        self.asked = 0
        self.gone = False

    async def check_alive(self, during, *, must_answer=False):
        self.asked += must_answer
        if self.gone:
            raise Stop("EngineFailed", f"gone during {during}")


async def turn_of_the_loop():
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_the_engines_are_asked_after_every_third_broken_connection_and_the_run_goes_on_while_they_answer():
    bench, live = Patient(), Live()
    async with Pulse(bench, "a run") as pulse:
        watch, asked = pulse.beside(), []
        for broken in range(10):
            assert watch(replace(live, broken=broken)) == ""
            await turn_of_the_loop()
            asked.append(bench.asked)
        bench.gone = True
        watch(replace(live, broken=12))
        await turn_of_the_loop()
        assert watch(replace(live, broken=12)) == "gone during a run"
    assert asked == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    bench.gone = False  # it came back: the run was stopped all the same
    with pytest.raises(Stop, match="EngineFailed: gone during a run"):
        await pulse.settle()


async def test_an_engine_that_does_not_say_that_it_is_healthy_is_gone_only_where_it_must_answer(start_engine, assign):
    engine = await start_engine(ready_after=2)
    assignment = assign(engine.base_url)
    async with Session() as session:
        bench = Bench.set_up(assignment, session, Findings(assignment, engine_starts=(None,)))
        await bench.check_alive("a run")
        with pytest.raises(Stop, match="the engine stopped during a run: /health: HTTP 503"):
            await bench.check_alive("a run", must_answer=True)


async def test_a_saturation_run_that_was_stopped_is_no_measurement(start_engine, assign, monkeypatch):
    async def stopped(*_):
        return Run((), Window(0, 10**9), "it had to end")

    engine = await start_engine()
    assignment = assign(engine.base_url)
    monkeypatch.setattr(Bench, "load", stopped)
    async with Session() as session:
        bench = Bench.set_up(assignment, session, Findings(assignment, engine_starts=(None,)))
        with pytest.raises(Stop, match="Void: saturation: it had to end"):
            await saturate(bench, Saturate(16, 1.5))


async def test_a_run_in_which_no_request_was_due_is_void(start_engine, assign):
    engine = await start_engine()
    slow = {"purpose": "Verify", "rate_rps": 0.001, "slo": ROOMY, "measurement": {"hold_s": 0.3, "warmup_block_s": 0.1}}
    report = await run(assign(engine.base_url, **slow))
    assert (report.outcome, report.probes) == ("Void", ())
    assert "no request was due in 0.3 s: it must be longer" in report.reason
