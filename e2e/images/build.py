"""Build the project's own Dockerfiles with buildah into OCI archives, which the embedded node imports.

An archive is named by the digest of what went in, so it is built again only when that changes. Called by the demo and
the scenarios.
"""

import functools
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from e2e.images import hostpip, rootfs, store

BASE_DOCKERFILE = "FROM scratch\nCOPY . /\nENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
ARCHIVES_KEPT = 3
JOBS = ("optimizer-jobs/pyproject.toml", "optimizer-jobs/src")
OPERATOR = ("operator/pyproject.toml", "operator/src")


@dataclass(frozen=True)
class Image:
    """``inputs`` are the files and folders the Dockerfile copies, relative to the repository; ``stage`` where not the
    last.
    """

    dockerfile: str
    inputs: tuple[str, ...] = ()
    stage: str | None = None
    uses_pip: bool = True


REPLAY = Image("e2e/replay/Dockerfile", ("e2e/replay", "benchmarks/data/measured.csv"), uses_pip=False)

IMAGES = {
    "operator": Image(
        "operator/Dockerfile", ("requirements/image-build.txt", "requirements/operator.txt", *JOBS, *OPERATOR)
    ),
    "trial": Image(
        "optimizer-jobs/images/trial/Dockerfile", ("requirements/image-build.txt", "requirements/trial.txt", *JOBS)
    ),
    "compress": Image(
        "optimizer-jobs/images/compress/Dockerfile", ("requirements/image-build.txt", *JOBS), stage="mounted"
    ),
    "engine-cpu": Image("optimizer-jobs/images/engine-cpu/Dockerfile", uses_pip=False),
    # The same thing under two names: quality is kept by image, and each engine has to answer for itself.
    "replay-vllm": REPLAY,
    "replay-tensorrt-llm": REPLAY,
}


@functools.cache
def tag(name: str) -> str:
    """Twelve digits over what the image is made from; fixed for the process, so that built, loaded and named agree."""
    image = IMAGES[name]
    paths = [store.REPOSITORY / path for path in (image.dockerfile, *image.inputs)]
    return store.digest([store.tree_digest(paths), rootfs.key(), image.stage or ""])


def reference(name: str) -> str:
    """The image's name for pod specs, e.g. ``rightsizer.dev/trial:0123456789ab``."""
    return f"rightsizer.dev/{name}:{tag(name)}"


def ensure(name: str, cache: Path) -> Path:
    """The image as an OCI archive in the cache, built when its inputs have changed."""
    named = reference(name)  # once: sources may be edited while the build runs
    target = cache / "images" / f"{name}-{named.rpartition(':')[2]}.tar"
    return store.made(target, lambda partial: _build(IMAGES[name], named, partial, cache))


def _build(image: Image, named: str, archive: Path, cache: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        settings = _pip_mounts(Path(scratch)) if image.uses_pip else []
        stage = [f"--target={image.stage}"] if image.stage else []
        _buildah(
            cache, "build", "--isolation=chroot", "--layers", "--quiet", *settings, *stage,
            f"--build-arg=BASE={_base(cache)}",
            "-f", str(store.REPOSITORY / image.dockerfile), "-t", named, str(store.REPOSITORY),
        )  # fmt: skip
    _buildah(cache, "push", "--quiet", named, f"oci-archive:{archive}:{named}")
    _forget_old(named, cache)


def _forget_old(named: str, cache: Path) -> None:
    """Keep the newest archives of an image and its newest tag in buildah's store; cached layers under it stay."""
    name, _, current = named.rpartition(":")
    archives = sorted((cache / "images").glob(f"{name.rpartition('/')[2]}-{'?' * len(current)}.tar"), key=_age)
    for old in archives[ARCHIVES_KEPT:]:
        old.unlink()
    known = _buildah(cache, "images", "--format", "{{.Name}}:{{.Tag}}", "--filter", f"reference={name}").split()
    old_tags = [tag for tag in known if tag.startswith(f"{name}:") and tag != named]
    if old_tags:
        _buildah(cache, "rmi", *old_tags)


def _age(archive: Path) -> float:
    return -archive.stat().st_mtime


def _base(cache: Path) -> str:
    """The base image in buildah's own store, made from the root file system when missing."""
    name = f"localhost/rightsizer-base:{rootfs.key()}"
    if not _buildah(cache, "images", "--quiet", "--filter", f"reference={name}").strip():
        with tempfile.NamedTemporaryFile("w", suffix=".Dockerfile") as written:
            written.write(BASE_DOCKERFILE)
            written.flush()
            _buildah(
                cache,
                "build",
                "--isolation=chroot",
                "--quiet",
                "-f",
                written.name,
                "-t",
                name,
                str(rootfs.ensure(cache)),
            )
    return name


def _pip_mounts(scratch: Path) -> list[str]:
    """This machine's way to its package index, seen by the build's commands only."""
    (scratch / "pip.conf").write_text(hostpip.configuration())
    mounts = [f"--volume={scratch / 'pip.conf'}:/etc/pip.conf:ro"]
    bundle = hostpip.certificates()
    return [*mounts, f"--volume={bundle.resolve()}:{hostpip.CA_INSIDE}:ro"] if bundle else mounts


def _buildah(cache: Path, *arguments: str) -> str:
    """Run buildah on a store of our own in the cache; its standard output. Raises CalledProcessError."""
    buildah = rootfs.require("buildah", "buildah")
    stores = ["--root", str(cache / "buildah" / "store"), "--runroot", str(cache / "buildah" / "run")]
    return subprocess.run([buildah, *stores, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout
