"""An artefact on the model volume: complete with a valid digest, or not there. Written beside its place and renamed
into it.

``rightsizer-artefact.json`` in its folder says what it is; the digest covers every other file.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

MANIFEST = "rightsizer-artefact.json"
PARTIAL = ".partial"


class Manifest(BaseModel):
    """What the folder holds. ``sha256`` is over the sorted (file name, file sha256) pairs, this file left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    recipe: str
    tool: str
    sha256: str
    size_bytes: int


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
    try:
        manifest = Manifest.model_validate_json((target / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None
    whole = manifest.recipe == recipe and digest(file_digests(target)) == manifest.sha256
    return manifest if whole else None


def partial(target: Path, attempt: int) -> Path:
    """An empty folder beside the target to work in; rests of earlier attempts are removed, they only take room."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for rest in target.parent.glob(f"{target.name}{PARTIAL}-*"):
        shutil.rmtree(rest)
    folder = target.with_name(f"{target.name}{PARTIAL}-{attempt}")
    folder.mkdir()
    return folder


def publish(folder: Path, target: Path, *, recipe: str, tool: str) -> Manifest:
    """Seal ``folder`` and rename it to ``target``, replacing a damaged one; durable when it returns."""
    manifest = Manifest(recipe=recipe, tool=tool, sha256=digest(file_digests(folder)), size_bytes=size(folder))
    (folder / MANIFEST).write_text(json.dumps(manifest.model_dump(), indent=1) + "\n")
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
