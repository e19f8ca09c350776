"""Where made things are kept and how they are named: one cache folder, names that carry the digest of their inputs.

A thing is made under a name with the suffix ``.partial`` and renamed when complete, so a name without it is always
whole.
"""

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PARTIAL = ".partial"


def cache_root() -> Path:
    """``$RIGHTSIZER_CACHE``, else ``rightsizer`` under the user's cache folder."""
    stated = os.environ.get("RIGHTSIZER_CACHE")
    if stated:
        return Path(stated)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rightsizer"


def digest(parts: Iterable[str | bytes]) -> str:
    """Twelve hex digits over the parts, each with its length so that boundaries count."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(f"{len(data)}:".encode() + data)
    return total.hexdigest()[:12]


def tree_digest(paths: Iterable[Path]) -> str:
    """Digest over names and contents of files and folders; bytecode is left out."""
    files = sorted(file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
    kept = [file for file in files if "__pycache__" not in file.parts]
    return digest(part for file in kept for part in (str(file.relative_to(REPOSITORY)), file.read_bytes()))


def made(target: Path, make: Callable[[Path], None]) -> Path:
    """``target``, made by ``make(partial)`` when it is not there yet. A rest of an interrupted run is removed first."""
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + PARTIAL)
    with _alone(target):
        if not target.exists():
            discard(partial)
            started = time.monotonic()
            say(f"making {target.name}")
            make(partial)
            partial.rename(target)
            say(f"made {target.name} in {time.monotonic() - started:.0f} s")
    return target


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One process at a time makes a target; the lock ends with its holder."""
    locks = cache_root() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / digest([str(target.absolute())])).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def discard(path: Path) -> None:
    """Remove a file or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def say(text: str) -> None:
    """One progress line."""
    print(f"[images] {text}", file=sys.stderr, flush=True)
