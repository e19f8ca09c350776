"""The two heavy Python environments, engine and compressor: several GB each, made once in the cache, never baked into
an image.

They are made with the images' own interpreter at the path where pods mount them read-only (``MOUNTS``), so they work
there and only there.
Called by the demo and by ``python -m e2e.images``; the locks are ``requirements/<name>.txt``.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from e2e.images import hostpip, rootfs, store

MOUNTS: Mapping[str, str] = {"engine-cpu": "/opt/engine", "compress": "/opt/compress"}
"""Environment name -> where it is mounted in containers."""

CHECKS: Mapping[str, str] = {
    "engine-cpu": "import vllm, vllm._C; print('vllm', vllm.__version__)",
    "compress": "import llmcompressor, torch; print('llmcompressor', llmcompressor.__version__, torch.__version__)",
}
PASSED_PREFIXES = ("UV_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


def path(name: str, cache: Path) -> Path:
    """Where the environment of this lock is, whether or not it has been made. Comments of the lock do not count."""
    lines = (store.REPOSITORY / "requirements" / f"{name}.txt").read_text().splitlines()
    pins = [line for line in lines if not line.lstrip().startswith("#")]
    return cache / "env" / f"{name}-{store.digest([*pins, MOUNTS[name]])}"


def ensure(name: str, cache: Path) -> Path:
    """The environment, made when missing. An interrupted download goes on from the package cache."""
    root, uv = rootfs.ensure(cache), find_uv(cache)
    return store.made(path(name, cache), lambda partial: _make(name, partial, root=root, uv=uv, cache=cache))


def _make(name: str, target: Path, *, root: Path, uv: Path, cache: Path) -> None:
    target.mkdir(parents=True)
    mount, lock = MOUNTS[name], store.REPOSITORY / "requirements" / f"{name}.txt"
    # The cache is one mount and the environment a link into it: hard links between package cache and environment stay
    # possible.
    files, variables = _network()
    given = rootfs.Given(
        files={"uv": uv, "lock.txt": lock, **files},
        folders={"cache": cache},
        links={Path(mount).name: f"cache/{target.relative_to(cache)}"},
    )
    variables |= {"UV_CACHE_DIR": "/opt/cache/uv", "UV_LINK_MODE": "hardlink", "UV_NO_PROGRESS": "1"}
    python = f"{mount}/bin/python"
    for command in (
        ["/opt/uv", "venv", "--quiet", "--allow-existing", "--python", rootfs.PYTHON, mount],
        ["/opt/uv", "pip", "sync", "--python", python, "--require-hashes", "--compile-bytecode", "/opt/lock.txt"],
        [python, "-c", CHECKS[name]],
    ):
        rootfs.run_inside(root, command, given, variables)


def run(
    name: str, cache: Path, command: Sequence[str], folders: Mapping[str, Path], variables: Mapping[str, str]
) -> None:
    """Run the environment's Python with ``command`` as its arguments, as root and outside any container.

    ``folders`` are seen under ``/opt`` by their names, and the repository as ``/opt/repository``; raises
    CalledProcessError on failure.
    """
    mount = MOUNTS[name]
    given = rootfs.Given(folders={Path(mount).name: ensure(name, cache), "repository": store.REPOSITORY, **folders})
    inside = {"PYTHONPATH": "/opt/repository", "PYTHONDONTWRITEBYTECODE": "1", **variables}
    rootfs.run_inside(rootfs.ensure(cache), [f"{mount}/bin/python", *command], given, inside)


def _network() -> tuple[dict[str, Path], dict[str, str]]:
    """This machine's way to its package index: files given under /opt, and variables for uv."""
    bundle, stated = hostpip.certificates(), hostpip.settings()
    variables = {"UV_DEFAULT_INDEX": stated["index-url"]} if "index-url" in stated else {}
    variables |= {key: value for key, value in os.environ.items() if key.startswith(PASSED_PREFIXES)}
    return ({"ca.pem": bundle}, variables | {"SSL_CERT_FILE": "/opt/ca.pem"}) if bundle else ({}, variables)


def find_uv(cache: Path) -> Path:
    """uv of this Python environment, else an own one in the cache from ``requirements/bootstrap.txt``."""
    beside = Path(sys.executable).with_name("uv")
    if beside.exists():
        return beside
    home = store.made(cache / f"uv-{store.tree_digest([_bootstrap_lock()])}", _make_uv)
    return home / "bin" / "uv"


def _bootstrap_lock() -> Path:
    return store.REPOSITORY / "requirements" / "bootstrap.txt"


def _make_uv(target: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(target)], check=True)
    pip = [str(target / "bin" / "python"), "-m", "pip", "install", "--quiet", "--require-hashes"]
    subprocess.run([*pip, "-r", str(_bootstrap_lock())], check=True)
