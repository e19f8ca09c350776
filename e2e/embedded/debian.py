"""The Debian packages of the full node and the image build, installed where the user is root. Called by the verbs."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

# What is looked for (a program on the PATH, or a file), and the package that brings it.
NEEDED: dict[str, str] = {
    "buildah": "buildah",
    "conntrack": "conntrack",
    "debootstrap": "debootstrap",
    "gcc": "gcc",
    "ip": "iproute2",
    "iptables": "iptables",
    "mount": "mount",
    "nft": "nftables",
    "pkg-config": "pkg-config",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "/usr/include/seccomp.h": "libseccomp-dev",
    "/usr/include/stdlib.h": "libc6-dev",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
}


def missing(needed: dict[str, str]) -> list[str]:
    """Packages of which something cannot be found."""
    return sorted({package for thing, package in needed.items() if not _is_there(thing)})


def _is_there(thing: str) -> bool:
    return Path(thing).exists() if thing.startswith("/") else shutil.which(thing, path=_PATH) is not None


# Root's tools are not on every user's PATH.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def command(packages: Iterable[str]) -> list[str]:
    return ["apt-get", "install", "--yes", "--no-install-recommends", *packages]


def ensure() -> None:
    """Install what is missing; raises `PermissionError` with the command to run where that is not possible."""
    packages = missing(NEEDED)
    if not packages:
        return
    line = " ".join(command(packages))
    if os.geteuid() != 0:
        raise PermissionError(f"the full node needs Debian packages that are not installed; run: sudo {line}")
    if not shutil.which("apt-get"):
        raise PermissionError(f"no apt-get here; install what brings these Debian packages' programs: {packages}")
    print(f"installing {', '.join(packages)}", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    log = subprocess.run(["apt-get", "update"], env=quiet, capture_output=True, text=True, check=False)
    done = subprocess.run(command(packages), env=quiet, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{line} failed:\n{log.stderr[-1000:]}\n{done.stderr[-2000:]}")
