"""The loops send when they should, can be stopped at once, and the client knows when it must not be believed."""

import asyncio
import time

import pytest

from rightsizer_jobs.contract import Slo
from rightsizer_jobs.loadgen.health import Watchman, allowed_lag_ms, believe, caused_share, throttled_seconds
from rightsizer_jobs.loadgen.load import CUT, Run, closed_loop, engine_gone, open_loop
from rightsizer_jobs.loadgen.metrics import Window, output_rate
from rightsizer_jobs.loadgen.records import Exchange, Record

MS = 1_000_000
SLO = Slo(ttft_ms=400)


def ignore(live):
    return ""


def one_token(index):
    return 1


def answering(seconds):
    """A send that answers with one token after so long."""

    async def send(index, arrive):
        sent = time.monotonic_ns()
        await asyncio.sleep(seconds)
        now = time.monotonic_ns()
        arrive(now, 1)
        return Exchange(sent, (now,), 1, 1)

    return send


async def test_an_open_loop_sends_whatever_the_engine_does():
    run = await open_loop(
        answering(0.4),
        [n * 20 * MS for n in range(60)],
        ramp_s=0.1,
        measured_s=0.4,
        asked_tokens=one_token,
        watch=ignore,
    )
    counted = [record for record in run.records if run.window.counts(record)]
    assert len(counted) == 20
    assert not any(record.failed for record in counted)


async def test_arrivals_go_on_until_the_last_counted_request_is_answered():
    run = await open_loop(
        answering(0.3),
        [n * 20 * MS for n in range(500)],
        ramp_s=0,
        measured_s=0.2,
        asked_tokens=one_token,
        watch=ignore,
    )
    behind = [record for record in run.records if record.scheduled_ns >= run.window.stop_ns]
    assert 8 <= len(behind) < 400
    assert {record.exchange.failure for record in behind} <= {"", CUT}


async def test_a_watch_stops_a_run_and_what_is_cut_counts_as_failed():
    def watch(live):
        return "too long a queue" if live.unserved > 5 else ""

    started = time.monotonic()
    run = await open_loop(
        answering(30),
        [n * 10 * MS for n in range(10_000)],
        ramp_s=1,
        measured_s=90,
        asked_tokens=one_token,
        watch=watch,
    )
    assert time.monotonic() - started < 25  # of 90, and each answer takes 30
    assert run.stopped == "too long a queue"
    assert 6 <= len(run.records) < 2500 and all(record.failed for record in run.records)
    assert run.window.seconds < 25


async def test_a_mistake_in_the_client_is_raised_and_not_counted_as_an_engine_failure():
    async def broken(index, arrive):
        raise KeyError("mistake")

    with pytest.raises(KeyError, match="mistake"):
        await open_loop(broken, [0, MS], ramp_s=0, measured_s=0.1, asked_tokens=one_token, watch=ignore)


async def test_a_closed_loop_keeps_its_concurrency():
    seen = []

    def watch(live):
        seen.append(live.sent - live.finished)
        return ""

    run = await closed_loop(answering(0.02), concurrency=4, seconds=0.4, asked_tokens=one_token, watch=watch)
    assert max(seen) <= 4
    assert len([record for record in run.records if not record.failed]) >= 8


async def test_what_arrived_of_a_request_that_is_cut_is_kept():
    async def endless(index, arrive):
        while True:
            await asyncio.sleep(0.02)
            arrive(time.monotonic_ns(), 1)

    run = await closed_loop(endless, concurrency=2, seconds=0.4, asked_tokens=lambda _: 1000, watch=ignore)
    assert [record.exchange.failure for record in run.records] == [CUT, CUT]
    assert output_rate(run.records, run.window) > 20
    assert run.live.unserved == 0


async def test_every_record_says_what_its_own_request_asked_for():
    schedule = [n * 5 * MS for n in range(6)]
    run = await open_loop(
        answering(0.01), schedule, ramp_s=0, measured_s=0.1, asked_tokens=lambda index: 10 + index, watch=ignore
    )
    assert [(record.index, record.asked_tokens) for record in run.records] == [(n, 10 + n) for n in range(6)]


async def test_a_closed_loop_against_refusals_is_no_flood():
    async def refusing(index, arrive):
        return Exchange(time.monotonic_ns(), failure="HTTP 503")

    run = await closed_loop(refusing, concurrency=2, seconds=0.3, asked_tokens=one_token, watch=ignore)
    assert len(run.records) <= 16


async def test_one_broken_connection_is_a_failed_request_and_many_stop_the_run():
    def breaking(first):
        async def send(index, arrive):
            await asyncio.sleep(0.01)
            return Exchange(time.monotonic_ns(), failure="connection reset", refused=index < first)

        return send

    schedule = [n * 10 * MS for n in range(30)]
    for limit, stopped in ((1, ""), (30, "connections broken: connection reset")):
        run = await open_loop(
            breaking(limit), schedule, ramp_s=0, measured_s=0.2, asked_tokens=one_token, watch=engine_gone
        )
        assert stopped in run.stopped and bool(run.stopped) == bool(stopped)


def run_of(lags_ms, *, window_s=1.0, stopped=""):
    count = len(lags_ms)
    records = tuple(
        Record(n, round(n * window_s / count * 1e9), 1, Exchange(round(n * window_s / count * 1e9 + lag * MS)))
        for n, lag in enumerate(lags_ms)
    )
    return Run(records, Window(0, round(window_s * 1e9)), stopped)


def watchman(*, loop_lags_ms=(), throttled_s=None):
    made = Watchman()
    made.loop_lags_ms, made.throttled_s = list(loop_lags_ms), throttled_s
    return made


def test_a_client_on_time_is_believed():
    assert believe(run_of([0.3] * 100), watchman(loop_lags_ms=[1.0] * 50, throttled_s=0.0), SLO) == ""


def test_late_sends_make_a_run_void():
    assert "sent late: p95 25.0 ms, allowed 20.0 ms" in believe(run_of([25.0] * 100), watchman(), SLO)


def test_requests_that_left_after_the_window_make_a_run_void():
    lags = [1.0] * 95 + [900.0] * 5
    assert "did not keep the rate" in believe(run_of(lags), watchman(), SLO)


def test_throttling_makes_a_run_void():
    assert "throttled for 0.2 s" in believe(run_of([0.0] * 100), watchman(throttled_s=0.2), SLO)


def test_one_long_stall_makes_a_run_void_although_few_requests_were_late():
    run = run_of([0.0] * 100, window_s=60)
    assert "stood still" in believe(run, watchman(loop_lags_ms=[1.0] * 2900 + [1000.0]), SLO)


def test_a_stall_of_a_second_is_never_averaged_in_however_long_the_run():
    run = run_of([0.0] * 600, window_s=600)
    assert believe(run, watchman(loop_lags_ms=[990.0]), SLO) == ""
    assert believe(run, watchman(loop_lags_ms=[1.0, 1010.0]), SLO) == "the client stood still: 1.0 s at once"


def test_stalls_that_cannot_have_mattered_are_tolerated():
    run = run_of([0.0] * 100, window_s=60)
    assert believe(run, watchman(loop_lags_ms=[90.0] * 40), SLO) == ""


def test_short_stalls_count_by_the_gaps_they_make_too_long():
    """30 stalls of 45 ms in 10 s: each makes one gap of every stream too long, of 500 gaps of 20 ms each."""
    streams = tuple(
        Record(n, 0, 100, Exchange(0, tuple(20 * MS * chunk for chunk in range(1, 100)), 99)) for n in range(4)
    )
    run = Run(streams, Window(0, 10_000 * MS))
    slo = Slo(itl_ms=60)
    assert caused_share([45.0] * 30, run, slo) == pytest.approx(30 * 20 / 10_000)
    assert caused_share([39.0] * 30, run, slo) == 0
    assert "6.0% violations, 1.0% are permitted" in believe(run, watchman(loop_lags_ms=[45.0] * 30), slo)


def test_a_time_per_token_is_judged_by_the_whole_answer_however_its_tokens_come():
    """1,024 tokens in 9 chunks, limit 4 ms: only a stall of a quarter of 1,023 x 4 ms counts."""
    streams = tuple(
        Record(n, 0, 1024, Exchange(0, tuple(400 * MS * chunk for chunk in range(1, 10)), 1024)) for n in range(4)
    )
    run, slo = Run(streams, Window(0, 10_000 * MS)), Slo(tpot_ms=4)
    assert caused_share([900.0] * 3, run, slo) == 0
    assert caused_share([1100.0], run, slo) == pytest.approx(1100 / 10_000)


def test_a_run_stopped_for_overload_may_have_late_sends_but_no_stall():
    stopped = run_of([25.0] * 100, stopped="overload")
    assert believe(stopped, watchman(), SLO) == ""
    assert "stood still" in believe(stopped, watchman(loop_lags_ms=[400.0]), SLO)


@pytest.mark.parametrize(
    ("slo", "allowed"),
    [(Slo(ttft_ms=800, itl_ms=50), 40), (Slo(e2e_ms=4000), 200), (Slo(itl_ms=50), 25), (Slo(ttft_ms=10), 2)],
)
def test_the_allowed_lag_follows_the_tightest_limit_that_counts_from_the_schedule(slo, allowed):
    assert allowed_lag_ms(slo) == pytest.approx(allowed)


@pytest.mark.parametrize("repeat", range(20))
async def test_an_injected_stall_is_always_noticed(repeat):
    """A client that stands still for 150 ms, at another moment each time, in a run of one second."""

    async def stall():
        await asyncio.sleep(0.1 + 0.035 * repeat)
        time.sleep(0.15)  # noqa: ASYNC251 the stall itself

    async with Watchman() as watching:
        stalled = asyncio.create_task(stall())
        run = await open_loop(
            answering(0.01),
            [n * 20 * MS for n in range(80)],
            ramp_s=0,
            measured_s=0.9,
            asked_tokens=one_token,
            watch=ignore,
        )
        await stalled
    assert believe(run, watching, SLO) != ""


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("cpu.stat", "usage_usec 5\nnr_throttled 3\nthrottled_usec 2500000\n", 2.5),
        ("cpu/cpu.stat", "nr_periods 10\nnr_throttled 3\nthrottled_time 1500000000\n", 1.5),
    ],
)
def test_throttling_is_read_from_both_cgroup_versions(tmp_path, name, content, expected):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    assert throttled_seconds(tmp_path) == expected


def test_missing_cgroup_files_are_not_measured(tmp_path):
    assert throttled_seconds(tmp_path) is None
