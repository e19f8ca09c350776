"""An artefact on the model volume: complete with a valid digest, or not there. Written beside its place and renamed
into it.

``rightsizer-artefact.json`` in its folder says what it is; the digest covers every other file.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

MANIFEST = "rightsizer-artefact.json"
PARTIAL = ".partial"


class Manifest(BaseModel):
    """What the folder holds. ``sha256`` is over the sorted (file name, file sha256) pairs, this file left out.

    ``calibration_sha256``: of the file it was made with, empty where none was; ``source_fingerprint``: of the weights
    it was made from, empty where it was made before that was kept; ``users``: who asked for it so far.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    recipe: str
    tool: str
    sha256: str
    size_bytes: int
    calibration_sha256: str = ""
    source_fingerprint: str = ""
    users: tuple[str, ...] = ()


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file by its name relative to the folder, the manifest left out."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    digests = {}
    for path in files:
        with path.open("rb") as opened:
            digests[path.relative_to(folder).as_posix()] = hashlib.file_digest(opened, "sha256").hexdigest()
    return digests


def digest(files: Mapping[str, str]) -> str:
    """One SHA-256 over the sorted (name, digest) pairs; pure."""
    pairs = "".join(f"{name}\0{value}\n" for name, value in sorted(files.items()))
    return hashlib.sha256(pairs.encode()).hexdigest()


def size(folder: Path) -> int:
    """Bytes of all files of the artefact, the manifest left out."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)


def existing(target: Path, recipe: str) -> Manifest | None:
    """The manifest of a complete artefact of this recipe whose files have the digest it states."""
    manifest = _manifest(target)
    whole = manifest and manifest.recipe == recipe and digest(file_digests(target)) == manifest.sha256
    return manifest if whole else None


def claim(target: Path, user: str) -> None:
    """Note in the artefact, if there is one, that ``user`` needs it, now: nobody else sweeps it from here on.

    Raises PermissionError where Jobs of another uid made it.
    """
    manifest = _manifest(target)
    if manifest is None or not user:
        return
    users = tuple(sorted({*manifest.users, user}))
    beside = target.with_name(f".{target.name}-{hashlib.sha256(user.encode()).hexdigest()[:8]}")
    try:
        _write(beside, manifest.model_copy(update={"users": users}))
        beside.chmod(0o644)
        beside.rename(target / MANIFEST)
    except PermissionError as error:
        beside.unlink(missing_ok=True)
        raise PermissionError(
            f"artefact {target.name} belongs to another uid, so it cannot be shared safely: let the targets run as one "
            "user (securityContext.runAsUser), or name the model otherwise"
        ) from error


def sweep(folder: Path, user: str, keep: Collection[str], enough: Callable[[], bool]) -> None:
    """Delete what only ``user`` asked for and no longer keeps, longest unused first, until there is ``enough`` room."""
    found = {path: manifest for path in folder.iterdir() if (manifest := _manifest(path)) is not None}
    free = [path for path, manifest in found.items() if manifest.users == (user,) and path.name not in keep]
    for path in sorted(free, key=lambda path: (path / MANIFEST).stat().st_mtime):
        if enough():
            return
        swept = path.with_name(f"{path.name}{PARTIAL}-swept")  # never half an artefact under its name
        path.rename(swept)
        shutil.rmtree(swept)


def _manifest(target: Path) -> Manifest | None:
    try:
        return Manifest.model_validate_json((target / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None


def _write(path: Path, manifest: Manifest) -> None:
    path.write_text(json.dumps(manifest.model_dump(), indent=1) + "\n")
    _sync(path)


def partial(target: Path, attempt: int) -> Path:
    """An empty folder beside the target to work in; rests of earlier attempts are removed, they only take room."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for rest in target.parent.glob(f"{target.name}{PARTIAL}-*"):
        shutil.rmtree(rest)
    folder = target.with_name(f"{target.name}{PARTIAL}-{attempt}")
    folder.mkdir()
    return folder


def publish(
    folder: Path,
    target: Path,
    *,
    recipe: str,
    tool: str,
    calibration_sha256: str,
    source_fingerprint: str,
    user: str,
) -> Manifest:
    """Seal ``folder`` and rename it to ``target``, replacing a damaged one; durable when it returns."""
    before = _manifest(target)  # a damaged one may be needed by others as well
    manifest = Manifest(
        recipe=recipe,
        tool=tool,
        sha256=digest(file_digests(folder)),
        size_bytes=size(folder),
        calibration_sha256=calibration_sha256,
        source_fingerprint=source_fingerprint,
        users=before.users if before else (user,) if user else (),
    )
    _write(folder / MANIFEST, manifest)
    for path in sorted(folder.rglob("*"), reverse=True):
        path.chmod(0o755 if path.is_dir() else 0o644)  # engines may run as another user than compress Jobs
        _sync(path)
    folder.chmod(0o755)
    _sync(folder)
    if target.exists():
        shutil.rmtree(target)
    folder.rename(target)
    _sync(target.parent)
    return manifest


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
