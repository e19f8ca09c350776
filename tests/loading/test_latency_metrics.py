"""Latencies are arithmetic on records: from the scheduled instant, failures infinite, nothing dropped."""

import math

import pytest

from rightsizer_jobs.contract import Slo
from rightsizer_jobs.loadgen.metrics import (
    Window,
    e2e,
    itl,
    joint_share,
    output_rate,
    percentile,
    rounded,
    share_above,
    summarise,
    tokens_per_chunk,
    tpot,
    ttft,
    variance_inflation,
)
from rightsizer_jobs.loadgen.records import Exchange, Record

MS = 1_000_000
SECOND = 1000 * MS


def record(scheduled_ms, chunks_ms, *, sent_ms=None, tokens=None, failure="", asked=4, index=0):
    sent = scheduled_ms if sent_ms is None else sent_ms
    exchange = Exchange(
        sent * MS, tuple(chunk * MS for chunk in chunks_ms), len(chunks_ms) if tokens is None else tokens, 8, failure
    )
    return Record(index, scheduled_ms * MS, asked, exchange)


def test_latency_counts_from_the_scheduled_instant_and_not_from_the_send():
    late = record(1000, [1100, 1120, 1150], sent_ms=1060)
    assert (ttft(late), e2e(late), itl(late), tpot(late)) == ([100.0], [150.0], [20.0, 30.0], [25.0])


def test_time_per_token_uses_the_servers_count_where_chunks_carry_several():
    burst = record(0, [100, 140], tokens=9)
    assert tpot(burst) == [5.0]
    assert itl(burst) == [40.0]
    assert tokens_per_chunk([burst]) == 4.5


def test_a_single_token_has_no_time_per_token():
    assert tpot(record(0, [50])) == []


@pytest.mark.parametrize("chunks_ms", [[900], [900, 900, 900]])
def test_an_answer_that_comes_at_one_instant_has_the_most_that_its_tokens_can_have_taken(chunks_ms):
    held_back = record(100, chunks_ms, tokens=5)
    assert tpot(held_back) == [200.0]
    assert itl(held_back) == [200.0] * 4
    found = summarise([held_back], Window(0, SECOND), rate_rps=1, slo=Slo(itl_ms=199, tpot_ms=199), block_s=1)
    assert found.violations == {"itl": 1.0, "tpot": 1.0}


@pytest.mark.parametrize("formula", [ttft, e2e, tpot, itl])
def test_a_failure_is_infinitely_slow_even_when_tokens_came(formula):
    broken = record(0, [50, 60], failure="broken")
    assert set(formula(broken)) == {math.inf}


def test_a_failure_weighs_as_many_gaps_as_it_should_have_had():
    assert len(itl(record(0, [], failure="x", asked=64))) == 63
    assert len(itl(record(0, [], failure="x", asked=1))) == 1


def test_the_percentile_agrees_with_the_share_that_may_be_above():
    values = list(range(1, 101))
    p95 = percentile(values, 95)
    assert p95 == 95
    assert share_above(values, p95) == 0.05
    assert share_above(values, p95 - 1) > 0.05


def test_the_percentile_of_nothing_is_not_a_number():
    assert math.isnan(percentile([], 95))


def test_a_probe_counts_requests_by_their_scheduled_instant():
    window = Window(1 * SECOND, 3 * SECOND)
    records = [
        record(900, [950], index=0),
        record(1000, [1900], index=1),
        record(2999, [3100], index=2),
        record(3000, [3050], index=3),
        record(2000, [], failure="HTTP 500", index=4),
    ]
    found = summarise(records, window, rate_rps=1.5, slo=Slo(ttft_ms=500, e2e_ms=2000), block_s=1)
    assert (found.requests, found.failed) == (3, 1)
    assert found.violations == {"ttft": rounded(2 / 3), "e2e": rounded(1 / 3)}
    assert found.p_ms == {"ttft": -1.0, "e2e": -1.0}
    assert found.achieved_rps == 1.5


def test_itl_is_pooled_over_all_gaps():
    window = Window(0, SECOND)
    records = [record(0, [10, 20, 30, 90]), record(0, [10, 20, 30, 40])]
    found = summarise(records, window, rate_rps=2, slo=Slo(itl_ms=50), block_s=1)
    assert found.violations["itl"] == rounded(1 / 6)
    assert found.p_ms["itl"] == 60


def test_throughput_counts_the_tokens_that_arrived_in_the_window():
    window = Window(1 * SECOND, 2 * SECOND)
    assert output_rate([record(0, [500, 1000, 1500, 2000])], window) == 2
    assert output_rate([record(0, [1500, 2500], tokens=8)], window) == 4


def block(second, bad, size=20):
    return [record(second * 1000 + n, [second * 1000 + n + (900 if n < bad else 10)]) for n in range(size)]


def test_violations_spread_evenly_have_less_than_binomial_variance_and_clumps_have_more():
    window = Window(0, 4 * SECOND)
    even = [r for second in range(4) for r in block(second, 2)]
    clumped = [r for second in range(4) for r in block(second, 8 if second == 2 else 0)]
    assert variance_inflation(even, window, "ttft", 500, 1) == 0
    assert variance_inflation(clumped, window, "ttft", 500, 1) > 5


def test_variance_cannot_be_told_from_one_block_or_without_violations():
    assert variance_inflation(block(0, 2), Window(0, SECOND), "ttft", 500, 1) == 0
    assert variance_inflation(block(0, 0), Window(0, 2 * SECOND), "ttft", 500, 1) == 0


def test_meeting_all_limits_at_once_is_stricter_than_each_alone():
    slow_start, slow_end = record(0, [600, 700]), record(0, [10, 1900])
    slo = Slo(ttft_ms=500, e2e_ms=1000)
    assert joint_share([slow_start, slow_end, record(0, [10, 20])], slo) == pytest.approx(2 / 3)
