"""Removes a throw-away control plane once its owner is gone, however that one ended: also by SIGKILL, which nobody can
answer.

`python -m e2e.embedded.keeper FOLDER` is one of the control plane's own processes, recorded as the others are. It waits
on the owner by a handle of the kernel's, so it costs nothing meanwhile. Started by `controlplane`.
"""

import os
import select
import shutil
import sys
from pathlib import Path

from e2e.embedded import places, processes

NAME = "keeper"
OWNER = "owner.json"


def own(folder: Path) -> None:
    """This process owns the folder from now on."""
    me = processes.identity(os.getpid())
    assert me is not None
    processes.write(folder / OWNER, me)


def start(folder: Path) -> None:
    """A keeper beside the folder's other processes."""
    command = [sys.executable, "-m", __name__, str(folder.absolute())]
    processes.start(folder, NAME, command, {**os.environ, "PYTHONPATH": str(places.REPOSITORY)})


def sweep(parent: Path) -> None:
    """Remove every control plane there whose owner is gone."""
    for record in parent.glob(f"*/{OWNER}"):
        owner = processes.read(record)
        if owner is not None and not processes.is_alive(owner):
            remove(record.parent)


def remove(folder: Path) -> None:
    """End the folder's processes, all but this one, and remove it."""
    me = processes.identity(os.getpid())
    processes.stop(folder, [name for name, one in processes.recorded(folder).items() if one != me], grace_s=0)
    shutil.rmtree(folder, ignore_errors=True)


def wait_for_end(owner: processes.Identity) -> None:
    """Return when that process is gone."""
    try:
        handle = os.pidfd_open(owner.pid)
    except ProcessLookupError:
        return
    try:
        # The handle pins whoever has the pid now; if that is another process already, the owner is gone.
        if processes.is_alive(owner):
            ended = select.poll()
            ended.register(handle, select.POLLIN)
            ended.poll()
    finally:
        os.close(handle)


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    if owner := processes.read(folder / OWNER):
        wait_for_end(owner)
        remove(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
