"""A report fits the termination message in the worst case, readable where it can be."""

import random
import string

import pytest

from rightsizer_jobs.__main__ import fitting
from rightsizer_jobs.contract import (
    REPORT_LIMIT_BYTES,
    Capacity,
    ClientHealth,
    CompressReport,
    EngineUse,
    Probe,
    ReportTooLong,
    Saturation,
    TrialReport,
    dump_report,
    load_report,
)
from rightsizer_jobs.quality.questions import MOST_QUESTIONS
from rightsizer_jobs.stats import encode_answers
from rightsizer_jobs.workload import TraceFacts

METRICS = ("ttft", "itl", "tpot", "e2e")
LETTERS = "abcdefghijklmnopqrstuvwxyz "


def figures(source, scale):
    return {metric: float(f"{source.random() * scale:.4g}") for metric in METRICS}


def some_probe(source):
    def digits(low, high):
        return float(f"{source.uniform(low, high):.4g}")

    return Probe(
        rate_rps=digits(1, 90),
        achieved_rps=digits(1, 90),
        seconds=digits(60, 240),
        requests=source.randrange(1000, 9999),
        failed=source.randrange(100),
        violations=figures(source, 1),
        p_ms=figures(source, 9999),
        output_tps=digits(100, 9000),
        variance_inflation=digits(1, 60),
        aborted=source.random() < 0.3,
    )


def report(questions, probes, seed=1):
    source = random.Random(seed)
    unseen = "".join(source.choices(LETTERS, k=120))
    return TrialReport(
        purpose="Explore",
        candidate="c" * 40,
        attempt=1,
        seed=123456789,
        outcome="Succeeded",
        reason="".join(source.choices(LETTERS, k=400)),
        ready_s=123.4,
        engine_start=1764000000.25,
        engine_s=1234.5,
        idle_ms=figures(source, 999),
        answers=encode_answers([source.random() < 0.79 for _ in range(questions)], "ab" * 32),
        saturation=Saturation(rps=1.234, output_tps=1234, concurrency=256),
        probes=tuple(some_probe(source) for _ in range(probes)),
        capacity=Capacity(rate_rps=1.234, standard_error=0.01234, lower_rps=1.234, slope=10.12),
        trace=TraceFacts(
            sha256="cd" * 32,
            requests=123456,
            seconds=123456.7,
            mean_rps=12.345,
            busiest_minute_rps=123.45,
            input_tokens=12345.6,
            output_tokens=1234.5,
        ),
        use_at_demand=EngineUse(
            rate_rps=0.9876,
            ended=1764000000.1,
            seconds=123.4,
            running=12.34,
            slots=1024,
            waiting=0.1234,
            kv_usage=0.4321,
            gpu_unseen=unseen,
        ),
        use=EngineUse(
            rate_rps=1.234,
            ended=1764000000.1,
            seconds=123.4,
            slots=1024,
            running=123.4,
            waiting=12.34,
            kv_usage=0.9876,
            gpu_unseen=unseen,
        ),
        client=ClientHealth(send_lag_p95_ms=1.234, loop_lag_p95_ms=1.234, throttled_s=0.0),
        records="/rightsizer/volume/runs/0b0e7b1c-3d0a-4c51-9a51-b60f2a3f4f10/" + "c" * 40 + "-explore-1.jsonl.gz",
    )


@pytest.mark.parametrize("seed", range(5))
def test_all_of_mmlu_beside_twelve_probes_fits_and_comes_back_unchanged(seed):
    full = report(14042, 12, seed)
    text = dump_report(full)
    assert len(text.encode()) <= REPORT_LIMIT_BYTES
    assert load_report(text) == full


def incompressible(seed, letters):
    """The longest report that a trial can give, of texts that no packing shortens."""
    full, source = report(MOST_QUESTIONS, 12, seed), random.Random(seed)

    def text(length, of=string.ascii_letters + string.digits):
        return "".join(source.choices(of, k=length))

    answers = encode_answers([source.random() < 0.5 for _ in range(MOST_QUESTIONS)], text(64, "0123456789abcdef"))
    changes = {"candidate": text(40), "reason": text(400, letters), "replayed": text(200, letters), "answers": answers}
    trace = full.trace.model_copy(update={"sha256": text(64, "0123456789abcdef")})
    return full.model_copy(update={**changes, "trace": trace, "source_fingerprint": text(16, "0123456789abcdef")})


@pytest.mark.parametrize("letters", [string.ascii_letters, "".join(chr(code) for code in range(0x4E00, 0x9FFF))])
@pytest.mark.parametrize("seed", range(5))
def test_as_many_questions_as_may_be_asked_always_fit_with_all_evidence(seed, letters):
    full = incompressible(seed, letters)
    with pytest.raises(ReportTooLong):
        dump_report(full)
    told = load_report(dump_report(fitting(full)))
    kept = ("answers", "probes", "capacity", "saturation", "trace", "client", "outcome")
    assert [getattr(told, field) for field in kept] == [getattr(full, field) for field in kept]
    assert told.reason and full.reason.startswith(told.reason)
    assert told.replayed and full.replayed.startswith(told.replayed)


def test_a_report_that_fits_loses_nothing():
    assert fitting(report(900, 4)) == report(900, 4)


def test_an_ordinary_report_stays_readable_json():
    text = dump_report(report(900, 4))
    assert '"outcome":"Succeeded"' in text
    assert load_report(text) == report(900, 4)


def test_a_report_that_cannot_fit_is_an_error():
    with pytest.raises(ReportTooLong, match="4096"):
        dump_report(report(19_200, 12))


def test_a_packed_report_without_probes_or_answers_comes_back_unchanged():
    long = CompressReport(
        artefact="a", attempt=1, outcome="Succeeded", tool="".join(random.Random(1).choices("ab", k=9000))
    )
    assert load_report(dump_report(long)) == long


@pytest.mark.parametrize(
    "damage", ['{"version":1,"kind":"Packed","data":"ab"}', '{"version":1,"kind":"Packed",}', "", "{}"]
)
def test_a_damaged_report_is_a_value_error(damage):
    with pytest.raises(ValueError, match=r".+"):
        load_report(damage)
