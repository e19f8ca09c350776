"""Artefacts that are garbage, placed where a run will look for them, with the right digest: only measuring finds out.

``damaged`` loads and answers badly, ``hanging`` never answers, ``cut`` does not load. Called by the scenarios; needs
root.
"""

import os
import shutil
from pathlib import Path

from e2e.images import store
from e2e.model import volume
from e2e.scenarios import hang
from rightsizer_jobs.compress import artefact
from rightsizer_operator.manifests.artefacts import FOLDER

TOOL = "nobody 0"
SCRIPT = Path(volume.__file__).with_name("damage.py")
PLUGINS = "plugins"
"""Folder of the volume that the target has on its PYTHONPATH."""
ENTRY_POINT = "[vllm.general_plugins]\nscenario_hang = scenario_hang:register\n"


def damaged_weights(size: str, cache: Path) -> Path:
    """The grown model with its weights rounded to 3 bits, in the cache; made when missing (about 15 s)."""
    source = volume.grown(size, cache)
    target = cache / f"{source.name}-damaged-{store.tree_digest([SCRIPT])}"
    volume.damaged(source, target, cache)
    return target


def place_damaged(models: Path, name: str, recipe: str, weights: Path) -> None:
    """Weights that every engine serves and that must fail the quality gate."""
    _publish(_copied(models, name, weights), models, name, recipe)


def place_hanging(models: Path, name: str, recipe: str) -> None:
    """Good weights with the mark at which the fault makes their engine hang."""
    work = _copied(models, name, models / "base")
    (work / hang.MARK).touch()
    _publish(work, models, name, recipe)


def place_cut(models: Path, name: str, recipe: str) -> None:
    """Weights whose file ends too early: no engine loads them."""
    work = _copied(models, name, models / "base")
    for file in work.glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:4096])
    _publish(work, models, name, recipe)


def place_fault(models: Path) -> None:
    """The plugin that ``hanging`` weights need, as an installed distribution."""
    described = models / PLUGINS / "scenario_hang-1.dist-info"
    described.mkdir(parents=True, exist_ok=True)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: scenario-hang\nVersion: 1\n")
    (described / "entry_points.txt").write_text(ENTRY_POINT)
    shutil.copyfile(hang.__file__, models / PLUGINS / "scenario_hang.py")


def _copied(models: Path, name: str, weights: Path) -> Path:
    work = models / f"{name}.work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(weights, work)
    return work


def _publish(work: Path, models: Path, name: str, recipe: str) -> None:
    """With the digest that is right, and as the user whose artefacts a compress Job trusts."""
    target = models / FOLDER / name
    artefact.publish(work, target, recipe=recipe, tool=TOOL, calibration_sha256="", source_fingerprint="", user="")
    for path in (target, *target.rglob("*")):
        os.chown(path, volume.JOB_USER, volume.JOB_USER)
