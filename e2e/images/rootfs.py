"""The root file system under every image where no registry can be reached: Debian's own Python, made by debootstrap.

``ensure`` makes it once; ``run_inside`` runs one command in it, as environments need, without leaving a trace in it.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from e2e.images import store

SUITE = "bookworm"
PACKAGES = ("python3", "python3-venv", "ca-certificates", "libnuma1")
PYTHON = "/usr/bin/python3"
REVISION = "1"
"""Raise it when the making of the root file system changes."""

UNNEEDED = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale", "var/log")
HOST_FILES = ("etc/resolv.conf", "etc/hostname")

# The caller's folder is seen at /mnt, files it needs at /opt. Both mounts live in a mount namespace that ends with the command.
# One mount for the cache as a whole keeps hard links possible between the package cache and an environment in it.
ENTER = """
mount --bind "$SHARED" "$ROOT/mnt"
mount -t tmpfs tmpfs "$ROOT/opt"
mount --bind /dev "$ROOT/dev"
mount --bind /proc "$ROOT/proc"
touch "$ROOT/opt/resolv.conf"
[ ! -e /etc/resolv.conf ] || cp /etc/resolv.conf "$ROOT/opt/resolv.conf"
mount --bind "$ROOT/opt/resolv.conf" "$ROOT/etc/resolv.conf"
for given in $GIVEN; do cp "${given%%:*}" "$ROOT/opt/${given##*:}"; done
[ -z "$LINK" ] || ln -s "$LINK_TO" "$ROOT/opt/$LINK"
exec chroot "$ROOT" "$@"
"""


class ToolMissing(RuntimeError):
    """A program of the host is missing; the message names the package to install."""


def require(program: str, package: str) -> str:
    """Path of the program; raises ToolMissing with the command that installs it."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        raise ToolMissing(f"{program} is missing: apt-get install {package}")
    return found


def ensure(cache: Path) -> Path:
    """The root file system in the cache, made when missing (about a minute)."""
    name = f"rootfs-{SUITE}-{store.digest([SUITE, *PACKAGES, REVISION])}"
    return store.made(cache / name, _make)


def _make(target: Path) -> None:
    debootstrap = require("debootstrap", "debootstrap")
    command = [debootstrap, "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(target)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for path in UNNEEDED:
        for rest in (target / path).glob("*"):
            store.discard(rest)
    for path in HOST_FILES:
        (target / path).unlink(missing_ok=True)
        (target / path).touch()


def run_inside(
    root: Path,
    command: Sequence[str],
    *,
    shared: Path,
    given: Mapping[str, Path],
    link: tuple[str, str] | None = None,
    environment: Mapping[str, str],
) -> None:
    """Run ``command`` in ``root``; raises CalledProcessError when it fails.

    ``shared`` is seen as ``/mnt``; the files of ``given`` are copied to ``/opt/<name>``; ``link`` is (name under /opt, what it points to).
    """
    name, points_to = link or ("", "")
    inner = {
        "SHARED": str(shared), "ROOT": str(root), "LINK": name, "LINK_TO": points_to,
        "GIVEN": " ".join(f"{path}:{name}" for name, path in given.items()),
    }  # fmt: skip
    outer = {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", **environment}
    subprocess.run(["unshare", "--mount", "sh", "-ec", ENTER, "enter", *command], check=True, env={**outer, **inner})
