"""The root file system under every image where no registry can be reached: Debian's own Python, made by debootstrap.

``ensure`` makes it once; ``run_inside`` runs one command in it, as environments need, without leaving a trace in it.
"""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from e2e.images import store

SUITE = "bookworm"
PACKAGES = ("python3", "python3-venv", "ca-certificates", "libnuma1")
PYTHON = "/usr/bin/python3"
REVISION = "1"
"""Raise it when the making of the root file system changes."""

UNNEEDED = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale", "var/log")
HOST_FILES = ("etc/resolv.conf", "etc/hostname")

ENTER = """
mount -t tmpfs tmpfs "$ROOT/opt"
mount -t tmpfs tmpfs "$ROOT/tmp"
mount --bind /dev "$ROOT/dev"
mount --bind /proc "$ROOT/proc"
mount --bind /sys "$ROOT/sys"
while [ "$1" != -- ]; do
  case $1 in
    file) cp "$2" "$ROOT/opt/$3" ;;
    folder) mkdir -p "$ROOT/opt/$3"; mount --bind "$2" "$ROOT/opt/$3" ;;
    link) ln -s "$2" "$ROOT/opt/$3" ;;
  esac
  shift 3
done
shift
[ ! -e "$ROOT/opt/resolv.conf" ] || mount --bind "$ROOT/opt/resolv.conf" "$ROOT/etc/resolv.conf"
exec chroot "$ROOT" "$@"
"""
"""Arguments: kind, source, name (kinds: file, folder, link), ..., ``--``, command. The mounts end with the command's
mount namespace.
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
    return store.made(cache / f"rootfs-{SUITE}-{key()}", _make)


def key() -> str:
    """Digest of what the root file system is made from."""
    return store.digest([SUITE, *PACKAGES, REVISION])


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


@dataclass(frozen=True)
class Given:
    """What a command inside finds under ``/opt``: copies of files, bound folders, and links; each by its name there."""

    files: Mapping[str, Path] = field(default_factory=dict)
    folders: Mapping[str, Path] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)

    def arguments(self) -> list[str]:
        """As ``ENTER`` reads them."""
        host = Path("/etc/resolv.conf")
        files = {"resolv.conf": host, **self.files} if host.is_file() else self.files
        kinds: list[tuple[str, Mapping[str, Path | str]]] = [
            ("file", files),
            ("folder", self.folders),
            ("link", self.links),
        ]
        return [word for kind, named in kinds for name, source in named.items() for word in (kind, str(source), name)]


def run_inside(root: Path, command: Sequence[str], given: Given, variables: Mapping[str, str]) -> None:
    """Run ``command`` in ``root`` without leaving a trace in it; raises CalledProcessError when it fails."""
    words, surroundings = entering(root, command, given, variables)
    subprocess.run(words, check=True, env=surroundings)


def entering(
    root: Path, command: Sequence[str], given: Given, variables: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Words and environment that run ``command`` in ``root``: each word executes the next, so the process that is
    started becomes the command. Needs root; raises ToolMissing.
    """
    unshare = require("unshare", "util-linux")
    outer = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", "ROOT": str(root)}
    words = [unshare, "--mount", "sh", "-ec", ENTER, "enter", *given.arguments(), "--", *command]
    return words, {**variables, **outer}
