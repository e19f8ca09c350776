"""How busy an engine was over a probe: means over the counted window, kept at the largest rate that held."""

import asyncio
import os
import signal
from typing import Any

import pytest

from rightsizer_jobs.contract import EngineUse
from rightsizer_jobs.engines.engine import Sample
from rightsizer_jobs.loadgen.metrics import Window
from rightsizer_jobs.trial import run as trial
from rightsizer_jobs.trial.findings import Findings, Stop
from rightsizer_jobs.trial.use import inside, use_of

PATIENT = {"ttft_ms": 20_000}
"""A limit so wide that a busy machine does not make the client void: nothing here is judged by it."""


def test_means_are_of_what_the_engine_publishes() -> None:
    use = use_of(4.0, [Sample(running=2.0, waiting=0.0), Sample(running=4.0, waiting=1.0), Sample()], [70.0, 90.0], "")
    assert (use.running, use.waiting, use.kv_usage, use.gpu_percent) == (3.0, 0.5, None, 80.0)
    assert use.gpu_unseen == ""


def test_without_samples_nothing_is_guessed_and_the_gpus_absence_has_a_reason() -> None:
    use = use_of(4.0, [], [], "pynvml is not installed")
    assert (use.running, use.waiting, use.kv_usage, use.gpu_percent) == (None, None, None, None)
    assert use.gpu_unseen == "pynvml is not installed"
    assert use_of(4.0, [], [], "").gpu_unseen == "no sample fell into the window"


def test_only_the_counted_window_counts() -> None:
    window = Window(10_000_000_000, 12_000_000_000)
    assert [inside(window, at) for at in (9.9, 10.0, 11.9, 12.0)] == [False, True, True, False]


def test_the_largest_rate_that_held_is_kept_and_a_miss_only_until_one_has() -> None:
    def kept(*probes: tuple[float, bool]) -> float:
        findings = Findings(assignment=None)  # type: ignore[arg-type]
        for rate, held in probes:
            findings.used(EngineUse(rate_rps=rate), held)
        assert findings.use is not None
        return findings.use.rate_rps

    assert kept((3, True), (5, False), (4, True)) == 4
    assert kept((4, True), (3, True), (5, False)) == 4
    assert kept((5, False), (4, False)) == 4
    assert kept((5, False), (3, True)) == 3


async def test_a_trial_reports_how_busy_its_engine_was(start_engine: Any, assign: Any, repeat_void: Any) -> None:
    engine = await start_engine(slots=4)
    report = await repeat_void(assign(engine.base_url, purpose="Certify", rate_rps=20.0, slo=PATIENT))
    assert report.use is not None, report
    assert report.use.rate_rps == 20
    assert report.use.kv_usage == 0.25
    assert 0 <= report.use.running <= 4
    assert report.use.gpu_percent is None
    assert report.use.gpu_unseen == "the engine has no NVIDIA GPU beside this client"


async def test_an_engine_without_metrics_has_no_figures(start_engine: Any, assign: Any, repeat_void: Any) -> None:
    engine = await start_engine(slots=4, publish_metrics=False)
    report = await repeat_void(assign(engine.base_url, purpose="Certify", rate_rps=10.0, slo=PATIENT))
    assert report.use is not None, report
    assert (report.use.running, report.use.kv_usage) == (None, None)


async def test_last_of_all_the_engine_is_watched_at_its_share_of_the_demand(
    start_engine: Any, assign: Any, repeat_void: Any
) -> None:
    engine = await start_engine(slots=4)
    asked = assign(engine.base_url, purpose="Certify", rate_rps=20.0, demand_share_rps=8.0, slo=PATIENT)
    report = await repeat_void(asked)
    assert report.outcome == "Succeeded", report
    assert [probe.rate_rps for probe in report.probes] == [20]  # the verdict rests on nothing else
    assert report.use is not None and report.use.rate_rps == 20
    assert report.use_at_demand is not None, report
    assert report.use_at_demand.rate_rps == 8
    assert report.use_at_demand.seconds == 1.2
    assert report.use.ended < report.use_at_demand.ended - 1


async def test_an_exploration_is_watched_at_the_demand_whatever_its_verdict(
    start_engine: Any, assign: Any, repeat_void: Any
) -> None:
    engine = await start_engine(slots=4)
    report = await repeat_void(assign(engine.base_url, demand_share_rps=8.0, slo={"e2e_ms": 20_000}))
    assert report.outcome == "Succeeded", report
    assert report.use_at_demand is not None and report.use_at_demand.rate_rps == 8


async def test_without_time_for_it_or_without_being_asked_nothing_is_told_of_the_demand(
    start_engine: Any, assign: Any, repeat_void: Any
) -> None:
    engine = await start_engine(slots=4)
    hold = {"purpose": "Certify", "rate_rps": 20.0, "slo": PATIENT}
    assert (await repeat_void(assign(engine.base_url, **hold))).use_at_demand is None
    short = {"total_s": 18.0, "request_s": 17.0}
    report = await repeat_void(assign(engine.base_url, **hold, demand_share_rps=8.0, deadlines=short))
    assert report.outcome == "Succeeded"
    assert report.use_at_demand is None


async def test_a_share_that_the_engine_cannot_hold_is_left_out(
    start_engine: Any, assign: Any, repeat_void: Any
) -> None:
    engine = await start_engine(slots=1, step_s=0.02)
    slow = {"purpose": "Certify", "rate_rps": 2.0, "demand_share_rps": 300.0, "slo": {"ttft_ms": 100}}
    report = await repeat_void(assign(engine.base_url, **slow))
    assert report.use is not None and report.use.rate_rps == 2
    assert report.use_at_demand is None


async def _told_to_stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(60)


async def _engine_failed() -> None:
    raise Stop("EngineFailed", "the engine stopped")


async def _not_believed() -> None:
    raise Stop("Void", "the client sent late")


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (_told_to_stop, "told to stop (SIGTERM)"),
        (lambda: asyncio.sleep(60), "ran past its 0.5 s"),
        (_engine_failed, "the engine stopped"),
        (_not_believed, "the client sent late"),
    ],
)
async def test_a_verdict_outlives_whatever_ends_the_run_at_the_share_of_the_demand(
    assign: Any, monkeypatch: Any, end: Any, told: str
) -> None:
    async def nothing(*_: Any) -> None:
        pass

    async def held_all(_bench: Any) -> Stop:
        return Stop("Succeeded", "every limit held")

    async def ends(*_: Any, **__: Any) -> Any:
        return await end()

    for module, name in ((trial.inputs, "read"), (trial.steps, "ready"), (trial.steps, "first_token")):
        monkeypatch.setattr(module, name, nothing)
    monkeypatch.setattr(trial, "_hold", held_all)
    monkeypatch.setattr(trial, "held", ends)
    deadlines = {"total_s": 0.5, "request_s": 0.01}
    short = {"probe_s": 0.01, "warmup_block_s": 0.01}
    asked = {"purpose": "Certify", "rate_rps": 20.0, "demand_share_rps": 8.0}
    monkeypatch.setattr(Findings, "answer_s", 0.01)
    report = await trial.run(assign("http://127.0.0.1:9", deadlines=deadlines, measurement=short, **asked))
    assert report.outcome == "Succeeded"
    assert report.reason.startswith("every limit held; use at the demand not measured: ") and told in report.reason
    assert report.use_at_demand is None
