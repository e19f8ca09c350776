"""Processes are ended by identity, never by a pid alone."""

import dataclasses
import os
import signal
from pathlib import Path

import pytest

from e2e.embedded import processes


def test_start_time_is_read_past_a_name_with_brackets_and_spaces() -> None:
    fields = " ".join(str(number) for number in range(4, 22))
    assert processes.state_and_start(f"77 (a) b (c)) S {fields} 4242 9 9") == ("S", 4242)


def test_a_recycled_pid_is_another_process_and_is_not_ended(tmp_path: Path) -> None:
    process = processes.start(tmp_path, "sleeper", ["sleep", "300"])
    record = tmp_path / "pid" / "sleeper.json"
    processes.write(record, dataclasses.replace(process, start_ticks=process.start_ticks - 1))
    processes.stop(tmp_path, grace_s=0)
    assert processes.is_alive(process)
    processes.write(record, process)
    processes.stop(tmp_path, grace_s=5)
    assert not processes.is_alive(process)
    assert not record.exists()


def test_a_pid_of_an_earlier_boot_is_not_alive() -> None:
    me = processes.identity(os.getpid())
    assert me is not None
    assert processes.is_alive(me)
    assert not processes.is_alive(dataclasses.replace(me, boot="an earlier one"))


def test_starting_what_already_runs_starts_nothing(tmp_path: Path) -> None:
    first = processes.start(tmp_path, "sleeper", ["sleep", "300"])
    assert processes.start(tmp_path, "sleeper", ["sleep", "300"]) == first
    processes.stop(tmp_path)


def test_a_process_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    stubborn = processes.start(tmp_path, "stubborn", ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
    processes.stop(tmp_path, grace_s=0.2)
    assert not processes.is_alive(stubborn)


def test_a_death_is_told_with_the_last_words_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(processes.Died, match="the reason"):
        processes.start(tmp_path, "short", ["sh", "-c", "echo the reason; exit 3"])
        while True:
            processes.check(tmp_path)


def test_a_child_that_ends_while_it_is_looked_at_is_reaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = processes.start(tmp_path, "sleeper", ["sleep", "300"]).pid

    def ending(stat: str) -> tuple[str, int]:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return "Z", 0

    monkeypatch.setattr(processes, "state_and_start", ending)
    assert processes.identity(pid) is None
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)


def test_stopping_where_nothing_was_started_is_no_error(tmp_path: Path) -> None:
    processes.stop(tmp_path)
    assert processes.recorded(tmp_path) == {}
