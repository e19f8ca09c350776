"""Certify and Verify hold one rate: it stands or it does not."""

import pytest

from rightsizer_jobs.trial.run import run

CAPACITY = 2 / (0.040 + 3 * 0.010)


async def test_a_rate_well_below_capacity_is_certified(start_engine, assign, repeat_void):
    engine = await start_engine()
    report = await repeat_void(assign(engine.base_url, purpose="Certify", rate_rps=0.3 * CAPACITY))
    assert report.outcome == "Succeeded", report.reason
    assert len(report.probes) == 1 and report.probes[0].rate_rps == pytest.approx(0.3 * CAPACITY, rel=1e-3)
    assert report.capacity is None


async def test_a_rate_above_capacity_is_not_certified(start_engine, assign, repeat_void):
    engine = await start_engine()
    report = await repeat_void(assign(engine.base_url, purpose="Certify", rate_rps=2.5 * CAPACITY))
    assert report.outcome == "MissedSLO", report.reason
    assert "ttft" in report.reason and "against 300 ms" in report.reason


async def test_an_overloaded_run_is_stopped_before_its_time(start_engine, assign, repeat_void):
    engine = await start_engine()
    report = await repeat_void(
        assign(
            engine.base_url,
            purpose="Certify",
            rate_rps=4 * CAPACITY,
            slo={"ttft_ms": 150},
            measurement={"hold_s": 600, "warmup_block_s": 0.3},
        )
    )
    assert report.outcome == "MissedSLO", report.reason
    assert report.probes[0].aborted
    assert report.probes[0].seconds < 60


async def test_verification_spreads_its_arrivals_over_all_endpoints(start_engine, assign, repeat_void):
    engines = [await start_engine() for _ in range(3)]
    report = await repeat_void(
        assign(*(engine.base_url for engine in engines), purpose="Verify", rate_rps=0.9 * CAPACITY)
    )
    assert report.outcome == "Succeeded", report.reason
    counts = [engine.completions for engine in engines]
    assert max(counts) - min(counts) <= 2


@pytest.mark.parametrize(("tokens", "said"), [(1, None), (2, 2.0)])
async def test_several_tokens_a_chunk_are_reported(start_engine, assign, repeat_void, tokens, said):
    engine = await start_engine(tokens_per_chunk=tokens)
    roomy = {"ttft_ms": 60_000}
    report = await repeat_void(assign(engine.base_url, purpose="Certify", rate_rps=0.3 * CAPACITY, slo=roomy))
    assert (report.outcome, report.tokens_per_chunk) == ("Succeeded", said), report.reason


async def test_a_rate_to_hold_must_be_given(start_engine, assign):
    engine = await start_engine()
    report = await run(assign(engine.base_url, purpose="Verify"))
    assert (report.outcome, report.reason) == ("Void", "a Verify assignment needs rate_rps")
