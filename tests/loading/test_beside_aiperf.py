"""The benchmark that runs aiperf beside the product's client: one truth gives one row, whichever client tells it."""

import math
import signal
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.certified import engine, figures, rate
from rightsizer_cli import witness
from rightsizer_jobs.contract import Slo, TrialAssignment, TrialReport
from rightsizer_jobs.loadgen.arrivals import scaled
from rightsizer_jobs.loadgen.records import Exchange, Record, append_records
from rightsizer_jobs.loadgen.sequence import sequence

MS = 1_000_000
SLO = Slo(ttft_ms=60, itl_ms=25)
TRUTH = [  # due, sent, chunks; milliseconds
    (1000, 1001, (1051, 1061, 1071)),
    (1010, 1010, (1075, 1105, 1115)),
    (1500, 1504, (1540, 1550, 1560)),
]


def records() -> list[Record]:
    return [
        Record(index, due * MS, 3, Exchange(sent * MS, tuple(chunk * MS for chunk in chunks), 3, 64))
        for index, (due, sent, chunks) in enumerate(TRUTH)
    ]


def line(due: int, sent: int, chunks: tuple[int, ...]) -> dict:
    """As aiperf writes it: its latencies count from its own send."""

    def of(value: object, unit: str = "ms") -> dict:
        return {"value": value, "unit": unit}

    metadata = {"credit_issued_ns": due * MS, "request_start_ns": sent * MS, "was_cancelled": False}
    gaps = [later - earlier for earlier, later in pairwise(chunks)]
    metrics = {
        "time_to_first_token": of(chunks[0] - sent),
        "request_latency": of((chunks[-1] - sent) * MS, "ns"),
        "inter_token_latency": of((chunks[-1] - chunks[0]) / 2),
        "inter_chunk_latency": of(gaps),
        "input_sequence_length": of(64, "tokens"),
        "output_sequence_length": of(3, "tokens"),
    }
    return {"metadata": metadata, "metrics": metrics}


def test_both_clients_tell_the_same_of_the_same_requests() -> None:
    ours = figures.of_records("x", records(), 2.0)
    theirs = figures.of_aiperf("x", [line(*one) for one in TRUTH], 2.0, 3)
    assert theirs.values == {metric: pytest.approx(values) for metric, values in ours.values.items()}
    assert (theirs.lags, theirs.prompt_tokens, theirs.output_tokens) == (
        ours.lags, ours.prompt_tokens, ours.output_tokens,
    )  # fmt: skip
    assert figures.row(theirs, SLO) == figures.row(ours, SLO)
    assert figures.apart(ours, theirs).startswith("TTFT +0.0 (+0.0 %)")


def test_a_row_counts_from_the_schedule_and_says_what_is_above_the_limits() -> None:
    cells = [cell.strip() for cell in figures.row(figures.of_records("ours", records(), 2.0), SLO).split("|")]
    assert cells[1:6] == ["ours", "3", "1.50", "0", "51.0/65.0/65.0"]
    assert cells[9:12] == ["ttft 33.3 %, itl 16.7 %", "1.0/4.0/4.0", "64.0/3.0"]


def test_failed_requests_are_infinitely_late_for_either_client() -> None:
    cut = {"metadata": {"credit_issued_ns": 0, "request_start_ns": 0, "was_cancelled": True}, "metrics": {}}
    theirs = figures.of_aiperf("x", [line(*TRUTH[0]), cut], 1.0, 3)
    ours = figures.of_records("x", [records()[0], Record(1, 0, 3, Exchange(0, failure="cut"))], 1.0)
    assert theirs.values == {metric: pytest.approx(values) for metric, values in ours.values.items()}
    assert theirs.failed == ours.failed == 1
    assert math.inf in theirs.values["ttft"]
    assert "ttft 50.0 %" in figures.row(theirs, SLO)


def test_a_single_token_has_no_gap() -> None:
    found = figures.of_aiperf("x", [{**line(*TRUTH[0]), "metrics": {
        "time_to_first_token": {"value": 50, "unit": "ms"}, "request_latency": {"value": 50, "unit": "ms"},
    }}], 1.0, 1)  # fmt: skip
    assert (found.values["itl"], found.values["tpot"], found.values["e2e"]) == ([], [], [51])


def test_aiperfs_instants_are_those_its_requests_were_due_at() -> None:
    assert figures.due([line(*one) for one in reversed(TRUTH)]) == [0, 10 * MS, 500 * MS]


def test_the_engine_is_the_demos_but_for_its_address() -> None:
    words = engine.command(12345)
    assert words[:3] == ["/opt/engine/bin/python", "-m", "vllm.entrypoints.openai.api_server"]
    assert words[words.index("--port") + 1] == "12345" and words[words.index("--model") + 1] == "/opt/model"
    assert engine.variables()["HF_HUB_OFFLINE"] == "1"


def test_an_engine_ends_with_all_that_it_started() -> None:
    """Both are of one group, which nobody is left of."""
    started = subprocess.Popen(["sh", "-c", "sleep 300 & sleep 300"], start_new_session=True)
    engine.end(started)
    assert started.returncode == -signal.SIGTERM


def test_a_client_that_is_told_to_end_measures_no_further_attempt(
    bed: rate.Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def told(assignment: TrialAssignment) -> TrialReport:
        return TrialReport(
            purpose=assignment.purpose, candidate="as-is", attempt=assignment.attempt, seed=1, outcome="Void",
            reason="the client was told to stop (SIGTERM): the pod was disrupted or deleted",
        )  # fmt: skip

    monkeypatch.setattr(rate, "run", told)
    with pytest.raises(SystemExit):
        rate.measured(bed, "http://x", "Explore", 1)


def test_void_trials_are_repeated_and_then_given_up(bed: rate.Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []

    async def late(assignment: TrialAssignment) -> TrialReport:
        attempts.append(assignment.attempt)
        return TrialReport(
            purpose="Explore", candidate="as-is", attempt=assignment.attempt, seed=1, outcome="Void", reason="sent late"
        )

    monkeypatch.setattr(rate, "run", late)
    with pytest.raises(rate.NotCertified, match="3 Explore trials were void, the last: sent late"):
        rate.measured(bed, "http://x", "Explore", 1)
    assert attempts == [1, 2, 3]


def test_no_bound_is_no_certificate(bed: rate.Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    async def missed(assignment: TrialAssignment) -> TrialReport:
        return TrialReport(
            purpose="Explore", candidate="as-is", attempt=1, seed=assignment.seed, outcome="MissedSLO", reason="slow"
        )

    monkeypatch.setattr(rate, "run", missed)
    with pytest.raises(rate.NotCertified, match="MissedSLO: slow"):
        rate.explored(bed, "http://x")


@pytest.fixture
def bed(tmp_path: Path) -> rate.Bed:
    (tmp_path / "config.json").write_text('{"vocab_size": 2048}')
    return rate.Bed.of(tmp_path, tmp_path / "records", 2.0)


def test_the_measured_part_of_a_certification_is_found_in_its_records(bed: rate.Bed) -> None:
    """Scheduled by the seed; the first third of the two held seconds is a ramp."""
    assignment = bed.assignment("http://x", "Certify", 3, 20.0, 1)
    instants = scaled(sequence(assignment.workload, 3).gaps(3, 0), 20.0, 3.0)
    made = [
        Record(index, 5_000_000_000 + at, 24, Exchange(5_000_000_000 + at, (5_100_000_000 + at,), 24, 64))
        for index, at in enumerate(instants)
    ]
    path = bed.records / "held.jsonl.gz"
    append_records(path, "sane", made[:2])
    append_records(path, "certification", made)
    report = TrialReport(
        purpose="Certify", candidate="as-is", attempt=1, seed=3, outcome="Succeeded",
        records=str(path), idle_ms={"e2e": 300.0},
    )  # fmt: skip
    ramp = round(2 / 3 * 1e9)
    expected = [one for one, at in zip(made, instants, strict=True) if ramp <= at < ramp + 2e9]
    assert rate.counted(bed, report, 20.0) == expected


def test_rates_step_down_as_the_operators_do() -> None:
    assert list(rate.steps(10.0)) == [10.0, 9.6, 9.216, 8.847]


def test_aiperf_waits_as_long_for_an_answer_as_the_product_does(bed: rate.Bed) -> None:
    words = witness.command(
        served_model_name="m", tokenizer="DIR", url="http://x", api="Completions", load=bed.load,
        slo=Slo(ttft_ms=1500, itl_ms=200), rate_rps=12.5, seconds=90, seed=4,
    )  # fmt: skip
    given = dict(pairwise(words))
    assert given["--benchmark-grace-period"] == "133"
    assert given["--synthetic-input-tokens-mean"] == "64" and given["--output-tokens-mean"] == "24"
    assert given["--request-rate"] == given["--warmup-request-rate"] == "12.5"
