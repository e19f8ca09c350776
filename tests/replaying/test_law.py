"""The law of one replica, values in, values out: closed loops give the recordings back, queues and rates behave."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2e.replay import exhaustive, virtual
from e2e.replay.law import Replica
from e2e.replay.recordings import Curve, Lengths, Served, load
from rightsizer_jobs.contract import Slo
from rightsizer_jobs.loadgen.metrics import tpot, ttft

FLAT = Curve((4,), (100.0,), (10.0,))
SLOPED = Curve((1, 4), (100.0, 400.0), (10.0, 40.0))
CHAT = Lengths(1024, 1024)


def test_a_single_request_takes_the_first_token_and_then_one_gap_for_each_further_one() -> None:
    replica = Replica()
    replica.arrive(7, FLAT, 5)
    assert [(event.at_ms, event.key, event.tokens, event.kind) for event in replica.advance(1000)] == [
        (100.0, 7, 1, "First"),
        (140.0, 7, 5, "Last"),
    ]


def test_an_answer_of_one_token_ends_with_its_first() -> None:
    replica = Replica()
    replica.arrive(0, FLAT, 1)
    assert [(event.at_ms, event.kind) for event in replica.advance(1000)] == [(100.0, "Last")]


def test_chunks_of_several_tokens_come_when_their_last_token_does() -> None:
    replica = Replica(interval=3)
    replica.arrive(0, FLAT, 6)
    assert [(event.at_ms, event.tokens) for event in replica.advance(1000)] == [(100.0, 1), (130.0, 4), (150.0, 6)]


def test_a_second_request_slows_the_first_from_the_moment_it_is_admitted() -> None:
    two = Curve((1, 2), (100.0, 100.0), (10.0, 20.0))
    replica = Replica()
    replica.arrive(0, two, 11)
    assert replica.advance(150)[0].at_ms == 100.0  # five of its ten gaps have passed
    replica.arrive(1, two, 100)
    ends = {event.key: event.at_ms for event in replica.advance(10_000) if event.kind == "Last"}
    assert ends[0] == pytest.approx(150 + 5 * 20)


@pytest.mark.parametrize("concurrency", [4, 16, 32, 64])
def test_a_closed_loop_gives_the_recorded_means_back(concurrency: int) -> None:
    curve = load()[Served("meta-llama/Llama-3.1-70B", "h200_sxm", "fp8", "VLLM", 1)][CHAT]
    records = virtual.closed_loop(curve, concurrency=concurrency, tokens=1024, until_ms=400_000)
    ended = [record for record in records if not record.failed][concurrency:]
    waits, gaps = [ttft(one)[0] for one in ended], [tpot(one)[0] for one in ended]
    assert sum(waits) / len(waits) == pytest.approx(curve.ttft_at(concurrency), rel=0.01)
    assert sum(gaps) / len(gaps) == pytest.approx(curve.tpot_at(concurrency), rel=0.01)


def test_beyond_the_highest_recorded_concurrency_requests_queue() -> None:
    replica = Replica()
    for key in range(6):
        replica.arrive(key, FLAT, 2)
    assert (replica.running, replica.waiting) == (4, 2)
    firsts = {event.key: event.at_ms for event in replica.advance(1000) if event.kind == "First"}
    assert firsts == {0: 100.0, 1: 100.0, 2: 100.0, 3: 100.0, 4: 210.0, 5: 210.0}


def test_a_batch_limit_below_the_recorded_concurrency_queues_earlier() -> None:
    replica = Replica(batch_limit=1)
    replica.arrive(0, SLOPED, 2)
    replica.arrive(1, SLOPED, 2)
    assert (replica.running, replica.waiting) == (1, 1)
    assert [event.at_ms for event in replica.advance(1000)] == [100.0, 110.0, 210.0, 220.0]


def test_a_client_that_leaves_frees_its_place() -> None:
    replica = Replica(batch_limit=1)
    for key in range(3):
        replica.arrive(key, FLAT, 2)
    replica.leave(1)
    replica.leave(0)
    assert (replica.running, replica.waiting) == (1, 0)
    assert [event.key for event in replica.advance(1000)] == [2, 2]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 500), st.integers(1, 40)), min_size=1, max_size=30))
def test_every_request_is_answered_once_in_order_and_never_faster_than_alone(asked: list[tuple[float, int]]) -> None:
    replica, sent, events = Replica(interval=7), {}, []
    moment = 0.0
    for key, (gap, tokens) in enumerate(asked):
        moment += gap
        events += replica.advance(moment)
        replica.arrive(key, SLOPED, tokens)
        sent[key] = moment, tokens
    while (event := replica.step()) is not None:
        events.append(event)
    assert [event.at_ms for event in events] == sorted(event.at_ms for event in events)
    for key, (began, tokens) in sent.items():
        mine = [event for event in events if event.key == key]
        assert [event.kind for event in mine].count("Last") == 1
        assert mine[-1].tokens == tokens
        assert mine[-1].at_ms >= began + 100 + (tokens - 1) * 10 - 1e-6
    assert (replica.running, replica.waiting) == (0, 0)


def test_an_open_loop_ends_when_what_counts_is_answered() -> None:
    played = virtual.open_loop(FLAT, [0.0, 1000.0, 2000.0, 3000.0], tokens=2, until_ms=1500)
    assert [record.scheduled_ns for record in played.records] == [0, 1_000_000_000]
    assert [ttft(record) for record in played.records] == [[100.0], [100.0]]


def test_an_open_loop_is_stopped_at_a_queue_that_cannot_recover() -> None:
    played = virtual.open_loop(FLAT, [float(one) for one in range(100)], tokens=100, until_ms=100, most_unserved=20)
    assert played.stopped_ms is not None
    assert len(played.records) == 21
    assert all(record.failed for record in played.records)


def test_the_exhaustive_capacity_is_where_the_limit_is_reached() -> None:
    curve = load()[Served("meta-llama/Llama-3.1-70B", "h200_sxm", "fp8", "TensorRTLLM", 2)][CHAT]
    known = exhaustive.Capacities(curve, 1024, requests=4000)
    slo = Slo(ttft_ms=1200, tpot_ms=35)
    capacity = known.at(slo)
    assert 0.8 < capacity / exhaustive.saturation_rps(curve, 1024) < 1
    for factor, held in ((0.97, True), (1.03, False)):
        instants = virtual.poisson_ms(capacity * factor, 4000, exhaustive.SEED)
        found = virtual.latencies(curve, instants, 1024)[400:]
        above = sum(wait > 1200 or gap > 35 for wait, gap, _ in found) / len(found)
        assert (above <= 0.05) is held


def test_a_limit_below_what_a_single_request_needs_has_no_capacity() -> None:
    known = exhaustive.Capacities(SLOPED, 10, requests=500)
    assert known.at(Slo(ttft_ms=99)) == 0
    assert known.at(Slo(tpot_ms=9.9)) == 0


def test_the_best_plan_has_the_fewest_gpus_for_the_demand() -> None:
    small = exhaustive.Choice(Served("m", "g", "", "VLLM", 1), 1.0)
    large = exhaustive.Choice(Served("m", "g", "", "TensorRTLLM", 4), 5.0)
    assert (small.gpus(1.0), large.gpus(1.0)) == (1, 4)
    assert exhaustive.best([large, small], 1.0) == small
    assert exhaustive.best([small, large], 5.0) == large
    assert exhaustive.best([], 5.0) is None
