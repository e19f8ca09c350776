"""Start, watch and end background processes that are known by more than their pid.

A process is recorded in a file as pid, start time and boot, so that no run, now or later, signals a recycled pid.
Called by `controlplane` and `node`. It must not end anything that it did not record.
"""

import json
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One process of one boot: no other process ever has all three."""

    pid: int
    start_ticks: int  # clock ticks after boot
    boot: str


# Popen objects of our own children: they must live on until the child is reaped.
_children: dict[int, subprocess.Popen[bytes]] = {}


def state_and_start(stat: str) -> tuple[str, int]:
    """State letter and start time (ticks after boot) from /proc/<pid>/stat; the name in it may hold brackets."""
    fields = stat.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def identity(pid: int) -> Identity | None:
    """Who runs under this pid now; None when nobody does, or only a zombie."""
    try:
        state, start_ticks = state_and_start(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None
    if state in "ZX":
        _reap(pid)
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return Identity(pid=pid, start_ticks=start_ticks, boot=boot)


def is_alive(process: Identity) -> bool:
    return identity(process.pid) == process


def write(record: Path, process: Identity) -> None:
    record.parent.mkdir(parents=True, exist_ok=True)
    partial = record.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(process)))
    partial.replace(record)


def read(record: Path) -> Identity | None:
    try:
        return Identity(**json.loads(record.read_text()))
    except FileNotFoundError:
        return None


def start(folder: Path, name: str, command: Sequence[str | Path], environ: Mapping[str, str] | None = None) -> Identity:
    """Run `command` in a session of its own; record in folder/pid, output in folder/log. A live one is left alone."""
    record = folder / "pid" / f"{name}.json"
    if (running := read(record)) and is_alive(running):
        return running
    log = folder / "log" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=None if environ is None else dict(environ),
        )
    _children[child.pid] = child
    started = identity(child.pid)
    if started is None:
        raise Died(name, log)
    write(record, started)
    return started


def recorded(folder: Path) -> dict[str, Identity]:
    """Every process on record in this folder, alive or not."""
    found = {record.stem: read(record) for record in sorted((folder / "pid").glob("*.json"))}
    return {name: process for name, process in found.items() if process is not None}


def check(folder: Path) -> None:
    """Raise `Died` for the first recorded process that no longer runs."""
    for name, process in recorded(folder).items():
        if not is_alive(process):
            raise Died(name, folder / "log" / f"{name}.log")


def forget_dead(folder: Path) -> None:
    """Drop the records of processes that no longer run, so that `check` asks only about those started since."""
    for name, process in recorded(folder).items():
        if not is_alive(process):
            (folder / "pid" / f"{name}.json").unlink()


def stop(folder: Path, names: Sequence[str] | None = None, grace_s: float = 10.0) -> None:
    """End the named (default: all) recorded processes in turn: ask, wait up to `grace_s`, kill; remove the records."""
    on_record = recorded(folder)
    for name in on_record if names is None else names:
        if process := on_record.get(name):
            _end(process, grace_s)
            (folder / "pid" / f"{name}.json").unlink(missing_ok=True)


def _end(process: Identity, grace_s: float) -> None:
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        # The handle pins the process before its identity is checked: its pid cannot change hands before the signal.
        if is_alive(process):
            _signal_until_gone(handle, grace_s)
            _reap(process.pid)
    finally:
        os.close(handle)


def _reap(pid: int) -> None:
    if child := _children.pop(pid, None):
        child.wait()


def _signal_until_gone(handle: int, grace_s: float) -> None:
    ended = select.poll()
    ended.register(handle, select.POLLIN)
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 10.0)):
        if wait_s > 0:
            try:
                signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                return
            if ended.poll(wait_s * 1000):
                return


class Died(RuntimeError):
    """A process of the cluster ended by itself; carries the last lines of its log."""

    def __init__(self, name: str, log: Path) -> None:
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        self.tail = "\n".join(lines[-15:])
        super().__init__(f"{name} ended by itself; the last lines of {log}:\n{self.tail}")
