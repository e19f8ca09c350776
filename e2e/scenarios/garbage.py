"""Artefacts that are garbage, placed where a run will look for them, with the right digest: only measuring finds out.

``damaged`` loads and answers badly, ``cut`` does not load. Called by the scenarios; needs root.
"""

import os
import shutil
from pathlib import Path

from e2e.images import store
from e2e.model import volume
from rightsizer_jobs.compress import artefact
from rightsizer_operator.manifests.artefacts import FOLDER

TOOL = "nobody 0"
SCRIPT = Path(volume.__file__).with_name("damage.py")


def damaged_weights(size: str, cache: Path) -> Path:
    """The grown model with its weights rounded to 3 bits, in the cache; made when missing (about 15 s)."""
    source = volume.grown(size, cache)
    target = cache / f"{source.name}-damaged-{store.tree_digest([SCRIPT])}"
    volume.damaged(source, target, cache)
    return target


def place_damaged(models: Path, name: str, recipe: str, weights: Path) -> None:
    """Weights that every engine serves and that must fail the quality gate."""
    work = models / f"{name}.work"
    shutil.copytree(weights, work)
    artefact.publish(work, models / FOLDER / name, recipe=recipe, tool=TOOL, calibration_sha256="", user="")


def place_cut(models: Path, name: str, recipe: str) -> None:
    """Weights whose file ends too early: no engine loads them."""
    work = models / f"{name}.work"
    shutil.copytree(models / "base", work)
    for file in work.glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:4096])
    artefact.publish(work, models / FOLDER / name, recipe=recipe, tool=TOOL, calibration_sha256="", user="")
