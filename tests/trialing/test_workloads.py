"""Trials with lengths that vary and with a recorded trace."""

import gzip
import json
import math

import pytest

from rightsizer_jobs.trial import steps
from rightsizer_jobs.trial.bench import Bench
from rightsizer_jobs.trial.findings import Findings
from rightsizer_jobs.trial.probing import most_within, queue_limit
from rightsizer_jobs.trial.run import run
from rightsizer_jobs.trial.search import Saturate
from rightsizer_jobs.wire.session import Session

HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens"
ROWS = [(0.0, 20, 2), (0.1, 40, 6), (0.1, 33, 4), (0.9, 8, 3), (1.5, 50, 5)]


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "chat.csv"
    lines = [f"2023-11-16 18:00:{at:010.7f},{given},{made}" for at, given, made in ROWS]
    path.write_text("\n".join([HEAD, *lines]))
    return path


@pytest.fixture
async def benched(assign, tmp_path):
    """A bench whose engine is ready; its steps can be made one by one, whatever else the machine does."""
    async with Session() as session:

        async def make(url, **fields):
            assignment = assign(url, records_dir=str(tmp_path / "records"), **fields)
            bench = Bench.set_up(assignment, session, Findings(assignment))
            await steps.ready(bench)
            return bench

        yield make


def kept(bench):
    with gzip.open(bench.findings.records, "rt") as file:
        return [line for line in map(json.loads, file) if "index" in line]


def lengths(records):
    whole = [record["exchange"] for record in records if not record["exchange"]["failure"]]
    return [(exchange["prompt_tokens"], exchange["output_tokens"]) for exchange in whole]


async def test_the_requests_of_a_trace_are_sent_with_their_own_lengths_in_their_order(start_engine, benched, trace):
    engine = await start_engine()
    workload = {"arrivals": "Trace", "trace": {"path": str(trace)}}
    bench = await benched(engine.base_url, workload=workload, measurement={"sanity_requests": 7})
    await steps.sane(bench)
    begin = bench.requests.ask(0).input_tokens
    order = [row[1:] for row in ROWS]
    first = next(number for number, row in enumerate(order) if row[0] == begin)
    assert lengths(kept(bench)) == [order[(first + n) % 5] for n in range(7)]
    assert [record["asked_tokens"] for record in kept(bench)] == [order[(first + n) % 5][1] for n in range(7)]


async def test_a_report_says_what_the_trace_holds(start_engine, benched, trace):
    engine = await start_engine()
    bench = await benched(engine.base_url, workload={"arrivals": "Trace", "trace": {"path": str(trace)}})
    facts = bench.findings.report("Void", "told to stop").trace
    assert facts is not None
    assert (facts.requests, facts.input_tokens, facts.output_tokens) == (5, 30.2, 4)
    assert facts.mean_rps == pytest.approx(5 / (1.5 * 5 / 4), rel=1e-4)


async def test_saturation_counts_requests_of_the_mean_length(start_engine, benched, trace):
    engine = await start_engine(slots=8)
    bench = await benched(
        engine.base_url,
        workload={"arrivals": "Trace", "trace": {"path": str(trace)}},
    )
    found = await steps.saturate(bench, Saturate(8, 4.0))
    assert found.rps == pytest.approx(found.output_tps / 4, rel=1e-3)


async def test_lengths_that_vary_are_sent_exactly(start_engine, benched):
    engine = await start_engine()
    workload = {
        "input_tokens": {"mean": 40, "at_percentile": 90},
        "output_tokens": {"bins": [{"tokens": 2, "weight": 1}, {"tokens": 6, "weight": 1}]},
        "arrivals": "Gamma",
        "burstiness": 0.8,
    }
    bench = await benched(engine.base_url, workload=workload, measurement={"sanity_requests": 16})
    await steps.sane(bench)
    records = kept(bench)
    assert {record["asked_tokens"] for record in records} == {2, 6}
    assert [record["asked_tokens"] for record in records] == [made for _, made in lengths(records)]
    assert len({given for given, _ in lengths(records)}) > 5
    assert bench.findings.trace is None


async def test_an_engine_that_gives_one_length_for_all_is_engine_failed(start_engine, assign, trace):
    engine = await start_engine(output_tokens=2)
    report = await run(assign(engine.base_url, workload={"arrivals": "Trace", "trace": {"path": str(trace)}}))
    assert report.outcome == "EngineFailed"
    assert "asked for" in report.reason and "got 2" in report.reason


async def test_a_trace_that_cannot_be_read_is_void_before_the_engine_is_asked(start_engine, assign, tmp_path):
    engine = await start_engine()
    path = tmp_path / "bad.csv"
    path.write_text(f"{HEAD}\n2023-11-16 18:00:00,20,2\n2023-11-16 17:00:00,20,2\n")
    report = await run(assign(engine.base_url, workload={"arrivals": "Trace", "trace": {"path": str(path)}}))
    assert report.outcome == "Void"
    assert report.reason.startswith(f"trace {path}, line 3: its time lies 3600 s before the line above")
    assert (engine.completions, report.trace) == (0, None)


@pytest.mark.parametrize(("arrivals", "balanced"), [("Poisson", True), ("Trace", False)])
async def test_a_probe_says_whether_its_arrivals_were_balanced(
    start_engine, assign, repeat_void, trace, arrivals, balanced
):
    engine = await start_engine()
    stated = {"input_tokens": 16, "output_tokens": 4, "arrivals": "Poisson"}
    workload = stated if arrivals == "Poisson" else {"arrivals": "Trace", "trace": {"path": str(trace)}}
    report = await repeat_void(assign(engine.base_url, purpose="Certify", rate_rps=5, workload=workload))
    assert [probe.balanced for probe in report.probes] == [balanced]


@pytest.mark.parametrize("seed", [3, 11])
async def test_a_certification_sends_a_part_of_the_trace_that_carries_its_rate(
    start_engine, assign, repeat_void, tmp_path, seed
):
    """Of a day with ten times as many requests at its peak as in its night."""
    engine, path, at, lines = await start_engine(), tmp_path / "day.csv", 0.0, [HEAD]
    for number in range(2000):
        at += (1 + 0.82 * math.sin(2 * math.pi * number / 2000)) / 2
        lines.append(f"2023-11-16 18:{int(at // 60):02}:{at % 60:010.7f},16,2")
    path.write_text("\n".join(lines))
    workload = {"arrivals": "Trace", "trace": {"path": str(path)}}
    report = await repeat_void(
        assign(engine.base_url, purpose="Certify", rate_rps=30, workload=workload, seed=seed, measurement={"hold_s": 3})
    )
    (probe,) = report.probes
    assert probe.achieved_rps == pytest.approx(30, rel=0.06)


def test_the_queue_of_a_burst_is_no_overload_yet(assign):
    slo = assign("http://127.0.0.1:1").slo
    burst = [0] * 40 + [10**9 * n for n in range(1, 40)]
    assert most_within(burst, 0.3) == 40
    assert queue_limit(2, slo, 50) == 16
    assert queue_limit(2, slo, 50, burst) == 160
    assert queue_limit(100, slo, 50, ()) == 120


@pytest.mark.parametrize(
    ("idle", "tokens"),
    [
        (None, 1.0),
        ({"ttft": 11.0}, 1.0),
        ({"itl": 1.8, "tpot": 2.0}, 1.0),
        ({"itl": 288.0, "tpot": 1.125}, 256.0),
    ],
)
async def test_the_idle_engine_tells_how_many_tokens_a_chunk_carries(start_engine, benched, idle, tokens):
    """By which the processes that send are counted: chunks cost the client, not tokens."""
    engine = await start_engine()
    bench = await benched(engine.base_url)
    bench.findings.idle_ms = idle
    assert bench.tokens_a_chunk == tokens
