"""The line that every benchmark prints first: when, where and with what its figures were measured.

Called by the other files here; no benchmark itself (``make bench`` leaves it out).
"""

import datetime
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path


def heading(*packages: str) -> str:
    """Date, commit, command, versions, machine and its load."""
    versions = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
    load = "/".join(f"{one:.1f}" for one in os.getloadavg())
    machine = f"{processor()}, {os.cpu_count()} cores, {memory_gib():.0f} GiB, {platform.system()} {platform.release()}"
    return f"{datetime.date.today()}, {commit()}: {command()}\n{', '.join(versions)}; {machine}; load {load}\n"


def command() -> str:
    module = getattr(sys.modules["__main__"], "__spec__", None)
    program = ["-m", module.name] if module else [sys.argv[0]]
    return shlex.join(["python", *program, *sys.argv[1:]])


def commit() -> str:
    told = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return told.stdout.strip() or "no commit"


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
