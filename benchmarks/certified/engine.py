"""A real vLLM engine on one core of this machine: the demo's model, environment and flags.

Ends with its block, and with this process, should that be killed.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.embedded import ports
from e2e.images import environments, rootfs, store
from e2e.model import volume
from e2e.stage import objects

CORE = 0
SIZE = "26M"
END_S = 30


class Unavailable(RuntimeError):
    """The engine cannot be had here."""


@dataclass(frozen=True, slots=True)
class Made:
    """What an engine is started from: folders in the cache."""

    root: Path
    environment: Path
    model: Path


def make() -> Made:
    """Made once, from lock files, under the same names that the demo uses; raises Unavailable."""
    if os.geteuid() != 0:
        raise Unavailable("its environment is entered as root")
    cache = store.cache_root()
    try:
        return Made(rootfs.ensure(cache), environments.ensure("engine-cpu", cache), volume.grown(SIZE, cache))
    except (OSError, rootfs.ToolMissing, subprocess.CalledProcessError, volume.Damaged) as error:
        raise Unavailable(str(error)) from error


@contextmanager
def serving(made: Made, log: Path) -> Iterator[str]:
    """A freshly started engine's URL, before it is ready; at the end its process group is ended."""
    (port,) = ports.free(1)
    words, surroundings = rootfs.entering(
        made.root,
        command(port),
        rootfs.Given(folders={Path(environments.MOUNTS["engine-cpu"]).name: made.environment, "model": made.model}),
        variables(),
    )
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(CORE), *words],
            env=surroundings, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        end(process)


def command(port: int) -> list[str]:
    """As in the demo's Deployment, but for the address."""
    container = objects.engine_container("")
    words = [*container["command"], *container["args"], "--host", "127.0.0.1"]
    places = {"/models/base": "/opt/model", str(objects.ENGINE_PORT): str(port)}
    return [places.get(word, word) for word in words]


def variables() -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in objects.engine_container("")["env"]}


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask, wait, kill; the group is the engine's own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(END_S)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait()
