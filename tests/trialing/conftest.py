"""Fake engines on loopback, and assignments with steps of a second."""

import importlib.util
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rightsizer_jobs.contract import TrialAssignment, TrialReport
from rightsizer_jobs.trial.run import run


def _load() -> ModuleType:
    """The fake engine as a module: test folders are no packages."""
    path = Path(__file__).parent / "fake_engine.py"
    spec = importlib.util.spec_from_file_location("fake_engine", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


fake = _load()
Start = Callable[..., Awaitable[Any]]


@pytest.fixture
async def start_engine() -> AsyncIterator[Start]:
    """Start a fake engine with the given behaviour; stopped when the test ends."""
    started = []

    async def start(**behaviour: Any) -> Any:
        engine = fake.FakeEngine(fake.Behaviour(**behaviour))
        await engine.start()
        started.append(engine)
        return engine

    yield start
    for engine in started:
        await engine.stop()


@pytest.fixture
def model_path(tmp_path: Path) -> str:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"vocab_size": 2048}))
    return str(folder)


@pytest.fixture
def assign(model_path: str) -> Callable[..., TrialAssignment]:
    """An Explore assignment with short steps; any field can be given. ``urls`` are the engines."""

    def make(*urls: str, engine: str = "VLLM", **fields: Any) -> TrialAssignment:
        short = {
            "sanity_requests": 3,
            "warmup_block_s": 0.3,
            "warmup_max_blocks": 3,
            "saturation_s": 0.8,
            "saturation_concurrency": 16,
            "probe_s": 1.2,
            "block_s": 0.3,
            "max_probes": 3,
            "budget_s": 6,
            "hold_s": 1.5,
            "target_error": 0.03,
        }
        measurement = {**short, **fields.pop("measurement", {})}
        deadlines = {"ready_s": 30, "first_token_s": 20, "request_s": 20, "total_s": 120, **fields.pop("deadlines", {})}
        endpoints = [{"engine": engine, "base_url": url, "served_model_name": "m"} for url in urls]
        values = {
            "purpose": "Explore",
            "run_uid": "run-1",
            "candidate": "as-is",
            "attempt": 1,
            "seed": 7,
            "endpoints": endpoints,
            "model_path": model_path,
            "workload": {"input_tokens": 32, "output_tokens": 4},
            "slo": {"ttft_ms": 300},
            "measurement": measurement,
            "deadlines": deadlines,
        }
        return TrialAssignment.model_validate(values | fields)

    return make


@pytest.fixture
def repeat_void() -> Callable[[TrialAssignment], Awaitable[TrialReport]]:
    """Run a trial as the operator does: a void one, which a busy machine can cause, is repeated as the next attempt."""

    async def run_believed(assignment: TrialAssignment) -> TrialReport:
        report = await run(assignment)
        for attempt in (2, 3):
            if report.outcome != "Void":
                break
            report = await run(assignment.model_copy(update={"attempt": attempt}))
        return report

    return run_believed
