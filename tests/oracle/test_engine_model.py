"""The engine model: the fast bookkeeping gives what the plain rules give, and the rules are those of an engine."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.oracle.cases import CASES
from benchmarks.oracle.demand import Arrival, Demand, Tokens
from benchmarks.oracle.engine import EngineShape, alone, closed_loop, open_loop
from tests.oracle.naive_engine import play

SHAPE = EngineShape(weights_s=0.01, token_s=1e-5, context_s=1e-7, overhead_s=0.0, batched_tokens=64, sequences=8)
KV = EngineShape(
    weights_s=0.01,
    token_s=1e-5,
    context_s=1e-7,
    pair_s=1e-8,
    batched_tokens=40,
    sequences=6,
    kv_blocks=12,
    block_tokens=8,
)


def never(_live):
    return ""


def run(shape, arrivals):
    return open_loop(shape, arrivals, ramp_s=0.0, measured_s=1000.0, watch=never)


requests = st.lists(st.tuples(st.floats(0, 0.2), st.integers(1, 60), st.integers(1, 36)), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None)
@given(requests, st.integers(12, 40), st.sampled_from([4, 8]), st.integers(1, 6))
def test_the_fast_bookkeeping_gives_the_instants_of_the_plain_rules(gaps, blocks, size, sequences):
    shape = replace(KV, kv_blocks=blocks * 8 // size, block_tokens=size, sequences=sequences)
    elapsed, arrivals = 0.0, []
    for gap, prompt, output in gaps:
        elapsed += gap
        arrivals.append(Arrival(elapsed, prompt, output))
    found = [list(record.exchange.chunks_ns) for record in run(shape, arrivals).records]
    assert found == play(shape, arrivals)


def test_a_single_request_takes_its_prefill_and_one_step_a_token():
    (record,) = alone(SHAPE, iter([(100, 5)]), 1)
    steps = [later - earlier for earlier, later in pairwise((0, *record.exchange.chunks_ns))]
    assert steps[0] == pytest.approx(20e6, rel=1e-3)  # 100 tokens are two steps of at most 64
    assert steps[1:] == pytest.approx([10e6] * 4, rel=0.01)


def test_a_long_prompt_delays_the_tokens_of_those_who_decode():
    shape = replace(SHAPE, batched_tokens=1000, token_s=1e-3)
    short, _ = run(shape, [Arrival(0, 5, 10), Arrival(0.03, 500, 2)]).records
    gaps = [later - earlier for earlier, later in pairwise(short.exchange.chunks_ns)]
    assert max(gaps) > 0.5e9
    assert sorted(gaps)[-2] < 0.02e9


def test_more_in_the_batch_and_longer_contexts_make_a_step_longer():
    assert SHAPE.step_s(64, 0, 0) == SHAPE.step_s(1, 0, 0)
    assert SHAPE.step_s(5000, 0, 0) > SHAPE.step_s(1000, 0, 0)
    assert SHAPE.step_s(8, 9000, 0) > SHAPE.step_s(8, 0, 0)


def test_a_full_cache_makes_the_last_comer_start_again_and_nobody_loses_a_token():
    arrivals = [Arrival(0, 30, 40), Arrival(0.001, 30, 40)]
    first, second = run(KV, arrivals).records
    roomy_first, roomy_second = run(replace(KV, kv_blocks=100), arrivals).records
    assert len(second.exchange.chunks_ns) == 40
    assert second.exchange.chunks_ns[-1] > roomy_second.exchange.chunks_ns[-1]
    assert second.exchange.chunks_ns[0] == roomy_second.exchange.chunks_ns[0]
    assert first.exchange.chunks_ns[-1] <= roomy_first.exchange.chunks_ns[-1]


def test_a_request_that_can_never_fit_is_refused():
    with pytest.raises(ValueError, match="larger than the cache"):
        run(KV, [Arrival(0, 90, 10)])


def test_several_tokens_a_chunk_give_fewer_chunks_and_the_same_ends():
    arrivals = [Arrival(0, 30, 20)]
    (single,) = run(SHAPE, arrivals).records
    (chunked,) = run(replace(SHAPE, chunk_tokens=8), arrivals).records
    assert chunked.exchange.chunks_ns == tuple(single.exchange.chunks_ns[n] for n in (0, 8, 16, 19))
    assert chunked.exchange.output_tokens == 20


def test_no_more_run_at_once_than_the_limit():
    shape = replace(SHAPE, sequences=2)
    three = run(shape, [Arrival(0, 4, 10)] * 3).records
    assert three[2].exchange.chunks_ns[0] > min(one.exchange.chunks_ns[-1] for one in three[:2])


def test_a_watch_stops_a_run_and_what_was_in_flight_has_failed():
    def watch(live):
        return "enough" if live.unserved > 5 else ""

    stopped = open_loop(
        SHAPE, [Arrival(0.001 * n, 60, 20) for n in range(100)], ramp_s=0.0, measured_s=10.0, watch=watch
    )
    assert stopped.stopped == "enough"
    assert stopped.window.seconds < 0.2
    assert {record.exchange.failure for record in stopped.records} == {"cut: the run was stopped"}


def test_only_what_is_scheduled_after_the_ramp_counts_and_arrivals_go_on_until_it_is_answered():
    demand = Demand(Tokens(20), Tokens(30))
    found = open_loop(SHAPE, demand.arrivals(20, 1), ramp_s=1.0, measured_s=2.0, watch=never)
    counted = [record for record in found.records if found.window.counts(record)]
    assert 20 < len(counted) < 65
    assert all(not record.failed for record in counted)
    assert found.live.sent > sum(record.scheduled_ns < 3e9 for record in found.records)


def test_a_closed_loop_keeps_the_number_in_flight():
    found, _ = closed_loop(SHAPE, Demand(Tokens(20), Tokens(30)).lengths(1), concurrency=4, seconds=5.0)
    cut = [record for record in found.records if record.failed]
    assert len(cut) == 4
    assert found.window.start_ns == pytest.approx(5e9 / 3)


def test_one_seed_gives_the_same_requests_and_gaps_at_every_rate():
    demand = CASES[3].demand
    slow, fast = (
        [next(arrivals) for _ in range(50)] for arrivals in (demand.arrivals(1.0, 7), demand.arrivals(4.0, 7))
    )
    assert [one.input_tokens for one in slow] == [one.input_tokens for one in fast]
    assert [one.at for one in slow] == pytest.approx([4 * one.at for one in fast])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_asked_rate_is_offered(case):
    arrivals = case.demand.arrivals(5.0, 3)
    last = [next(arrivals) for _ in range(8_000)][-1]
    assert last.at == pytest.approx(1600, rel=0.05)
