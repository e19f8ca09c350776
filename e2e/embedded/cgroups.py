"""The control group that holds every pod of a full node, on version 1 and 2.

Called by `node`; touches only groups of the name it is given.
"""

import time
from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def roots(root: Path = ROOT) -> list[Path]:
    """Where a group has to exist: once on version 2, in every controller's hierarchy on version 1."""
    if (root / "cgroup.controllers").exists():
        return [root]
    return [child for child in sorted(root.iterdir()) if child.is_dir() and (child / "cgroup.procs").exists()]


def make(name: str, root: Path = ROOT) -> None:
    """Create the group with all controllers, each with every cpu and memory node of its parent."""
    for parent in roots(root):
        _delegate(parent)
        group = parent / name
        group.mkdir(exist_ok=True)
        for inherited in ("cpuset.cpus", "cpuset.mems"):
            if (parent / inherited).exists() and not (group / inherited).read_text().strip():
                (group / inherited).write_text((parent / inherited).read_text())


def _delegate(parent: Path) -> None:
    """Version 2 only: a child has the controllers that its parent hands down."""
    controllers = parent / "cgroup.controllers"
    if controllers.exists():
        for controller in controllers.read_text().split():
            with suppress(OSError):  # one that cannot be handed down is missed by the kubelet, which says so
                (parent / "cgroup.subtree_control").write_text(f"+{controller}")


def remove(name: str, root: Path = ROOT, limit_s: float = 10.0) -> None:
    """Remove the group and those below it; the kernel lets go of one a moment after its last process has ended."""
    deadline = time.monotonic() + limit_s
    for parent in roots(root):
        group = parent / name
        while group.exists():
            try:
                for folder in sorted((f for f in group.rglob("*") if f.is_dir()), reverse=True):
                    folder.rmdir()
                group.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
