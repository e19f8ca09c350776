"""One client process or several: the same requests at the same instants, one watch over all, and no run survives the
death of one of them.
"""

import signal
from dataclasses import replace

import pytest

from rightsizer_jobs.contract import Slo
from rightsizer_jobs.loadgen import crew, order
from rightsizer_jobs.loadgen.crew import WorkerDied, cpus_here, merged, processes_for, run_with, summed
from rightsizer_jobs.loadgen.health import Watchman, believe
from rightsizer_jobs.loadgen.load import CUT, Live, Run
from rightsizer_jobs.loadgen.metrics import Window
from rightsizer_jobs.loadgen.order import Aim, Closed, Open
from rightsizer_jobs.loadgen.prompts import PromptBook
from rightsizer_jobs.loadgen.records import Exchange, Record
from rightsizer_jobs.trial.run import run as run_trial
from rightsizer_jobs.wire.session import Session

MS = 1_000_000


@pytest.fixture
def aim_at():
    def aim(engine, timeout_s=60.0, token_s=0.0):
        book = PromptBook.draw(served_model_name="m", input_tokens=8, output_tokens=4, vocabulary=2048, seed=1)
        return Aim((f"{engine.base_url}/v1/completions",), (book,), 5, timeout_s, token_s=token_s)

    return aim


def ignore(live):
    return ""


async def send(aim, kind, *, processes=2, watch=ignore):
    async with Session() as session:
        return await run_with(session, aim, kind, processes=processes, asked_tokens=lambda index: 4, watch=watch)


@pytest.mark.parametrize("processes", [1, 3])
async def test_every_request_of_a_schedule_is_sent_once_by_whichever_process(start_engine, aim_at, processes):
    engine = await start_engine(slots=64)
    run = await send(aim_at(engine), Open([n * 20 * MS for n in range(400)], 0.1, 0.4), processes=processes)
    counted = [record for record in run.records if run.window.counts(record)]
    assert [record.index for record in counted] == list(range(5, 25))
    assert not any(record.failed for record in counted) and {record.asked_tokens for record in counted} == {4}
    start = run.window.start_ns - 100 * MS
    assert all(record.scheduled_ns - start == record.index * 20 * MS for record in run.records)
    assert len({record.index for record in run.records}) == len(run.records) < 400
    assert len(run.lags_ms) == (0 if processes == 1 else processes)


async def test_a_run_begins_at_the_request_of_the_books_that_it_is_told(monkeypatch):
    class Numbered:
        def body(self, index, nonce):
            return b"%d" % index

    async def answer(session, url, body, *, timeout_s, arrive):
        return body

    monkeypatch.setattr(order, "complete", answer)
    told = Aim(("http://engine",), (Numbered(),), 5, 60.0, first=2560)
    assert await told.sender(None)(3, lambda *_: None) == b"2563"


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_request_is_given_more_time_for_every_token_that_it_asks_for(start_engine, aim_at, processes):
    engine = await start_engine(step_s=0.05)
    schedule = Open([n * 100 * MS for n in range(50)], 0, 0.4)
    cut = await send(aim_at(engine, timeout_s=0.01), schedule, processes=processes)
    assert {record.exchange.failure for record in cut.records} == {"no complete answer within 0.01 s"}
    whole = await send(aim_at(engine, timeout_s=0.01, token_s=15), schedule, processes=processes)
    assert not any(record.failed for record in whole.records if whole.window.counts(record))


async def test_a_closed_loops_concurrency_is_shared_out(start_engine, aim_at):
    engine = await start_engine(slots=3)
    most = 0

    def watch(live):
        nonlocal most
        most = max(most, live.sent - live.finished)
        return ""

    run = await send(aim_at(engine), Closed(3, 0.8), watch=watch)
    assert 1 <= most <= 3 and any(not record.failed for record in run.records)
    assert len({record.index for record in run.records}) == len(run.records)


async def test_one_watch_over_all_processes_stops_the_run(start_engine, aim_at):
    engine = await start_engine(hang=True)
    run = await send(
        aim_at(engine),
        Open([n * 10 * MS for n in range(6000)], 0, 60),
        watch=lambda live: "too many" if live.unserved > 10 else "",
    )
    assert run.stopped == "too many" and 10 < len(run.records) < 6000
    assert {record.exchange.failure for record in run.records} == {CUT}
    assert run.window.seconds < 60


async def test_a_process_that_dies_ends_the_run(start_engine, aim_at, monkeypatch):
    engine = await start_engine(hang=True)
    started, start = [], crew._Worker.start

    async def noted():
        started.append(await start())
        return started[-1]

    monkeypatch.setattr(crew._Worker, "start", noted)

    def kill(live):
        if live.sent and started[0].process.returncode is None:
            started[0].process.send_signal(signal.SIGKILL)
        return ""

    with pytest.raises(WorkerDied, match="exit code -9"):
        await send(aim_at(engine), Open([n * 10 * MS for n in range(6000)], 0, 60), watch=kill)
    assert all(worker.process.returncode is not None for worker in started)


async def test_a_trial_over_several_processes_ends_as_one(start_engine, assign):
    engine = await start_engine()
    report = await run_trial(
        assign(
            engine.base_url,
            rate_to_beat_rps=1000.0,
            measurement={"client_processes": 2, "warmup_max_blocks": 1, "saturation_s": 2},
        )
    )
    assert report.outcome == "CannotBeat", report.reason


@pytest.mark.parametrize(
    ("chunks", "cpus", "asked", "expected"),
    [(0, 4, 0, 1), (12_000, 4, 0, 1), (12_001, 4, 0, 2), (1e6, 4, 0, 4), (1e6, 0.5, 0, 1), (10, 1, 3, 3)],
)
def test_processes_follow_the_load_and_the_cpus_unless_they_are_asked_for(chunks, cpus, asked, expected):
    assert processes_for(chunks, cpus, asked=asked) == expected


def test_a_cpu_quota_counts_below_the_cores_one_may_run_on(tmp_path):
    cores = cpus_here(tmp_path)
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert cpus_here(tmp_path) == 0.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cpus_here(tmp_path) == cores >= 1


@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
def test_the_quota_of_an_older_cgroup_counts_as_well(tmp_path, folder):
    cores = cpus_here(tmp_path)
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "cpu.cfs_quota_us").write_text("50000\n")
    assert cpus_here(tmp_path) == cores  # without its period it says nothing
    (tmp_path / folder / "cpu.cfs_period_us").write_text("100000\n")
    assert cpus_here(tmp_path) == 0.5
    (tmp_path / folder / "cpu.cfs_quota_us").write_text("-1\n")
    assert cpus_here(tmp_path) == cores


def test_counts_and_records_are_put_together():
    exchange = Exchange(10, (20,), 1, 1)
    first = Run((Record(0, 10, 0, exchange), Record(2, 30, 0, exchange)), Window(10, 50), live=Live(sent=2, due=1))
    second = Run((Record(1, 20, 0, exchange),), Window(10, 50), live=Live(sent=1, broken=1, last_broken="reset"))
    run = merged([(first, (1.0,)), (second, (2.0, 3.0))], "")
    assert [record.index for record in run.records] == [0, 1, 2]
    assert (run.live.sent, run.live.due, run.live.broken, run.live.last_broken) == (3, 1, 1, "reset")
    assert run.lags_ms == ((1.0,), (2.0, 3.0))
    assert summed([]) == Live()


def test_one_processs_stall_counts_for_its_share_of_the_requests():
    """A stall of 300 ms in a run of 10 s delays 3 % of one process's requests: 1.5 % of two processes'."""
    records = tuple(Record(n, n * 10 * MS, 1, Exchange(n * 10 * MS, (n * 10 * MS + MS,), 1, 1)) for n in range(1000))
    run, slo = Run(records, Window(0, 10_000 * MS)), Slo(ttft_ms=400)
    alone = believe(replace(run, lags_ms=((300.0,),)), Watchman(), slo)
    shared = believe(replace(run, lags_ms=((300.0,), (1.0,))), Watchman(), slo)
    many = believe(replace(run, lags_ms=((300.0,), *(((1.0,),) * 3))), Watchman(), slo)
    assert "3.0% violations" in alone and "1.5% violations" in shared and many == ""
    assert "1.2 s at once" in believe(replace(run, lags_ms=((1200.0,), *(((1.0,),) * 63))), Watchman(), slo)
