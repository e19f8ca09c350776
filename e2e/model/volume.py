"""Lay out a model volume as the operator's Jobs expect it, from the shipped base. Called by the demo and the scenarios;
needs root.

``base/`` weights, ``questions/support.jsonl``, ``calibration/support.jsonl``; ``artefacts/`` and ``runs/`` belong to
the Jobs' user.
"""

import hashlib
import os
import shutil
from pathlib import Path

from e2e.images import environments, store
from e2e.model import questions

SHIPPED = Path(__file__).with_name("base")
SHA256 = {
    "model.safetensors": "b50b701baec59304db5aad5cbcdeec3f51a7e53a6ff94565f46c39587c3accee",
    "tokenizer.json": "95fb3b37ccfd4ffa6ec9fea76bacb7f4410f734d1e9400faacadc5fdd27032f3",
}
QUESTIONS = 900
CALIBRATION_SAMPLES = 192
JOB_USER = 1000
TORCH = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE", "TRANSFORMERS_OFFLINE": "1"}


class Damaged(RuntimeError):
    """A shipped file is not the one that was published."""


def check_shipped() -> None:
    """Raises Damaged when the shipped weights or tokenizer have another digest than the model card states."""
    for name, expected in SHA256.items():
        found = hashlib.sha256((SHIPPED / name).read_bytes()).hexdigest()
        if found != expected:
            raise Damaged(
                f"{SHIPPED / name}: SHA-256 is {found}, expected {expected}; take the file from the repository again"
            )


def lay_out(volume: Path, size: str, cache: Path) -> None:
    """Fill ``volume`` with the model grown to ``size`` (26M or 94M), its questions and calibration; what is there is
    kept.
    """
    check_shipped()
    if not (volume / "base").exists():
        shutil.copytree(grown(size, cache), volume / "base.partial", dirs_exist_ok=True)
        _readable(volume / "base.partial")
        (volume / "base.partial").rename(volume / "base")
    questions.write_lines(volume / "questions" / "support.jsonl", questions.question_set(QUESTIONS))
    questions.write_lines(volume / "calibration" / "support.jsonl", questions.calibration_set(CALIBRATION_SAMPLES))
    for name in ("artefacts", "runs"):
        (volume / name).mkdir(exist_ok=True)
        os.chown(volume / name, JOB_USER, JOB_USER)


def grown(size: str, cache: Path) -> Path:
    """The grown model in the cache, made when missing (about 15 s)."""
    scripts = [Path(__file__).with_name(name) for name in ("grow.py", "architecture.py")]
    target = cache / f"model-{size}-{store.digest([*SHA256.values(), store.tree_digest(scripts)])}"
    return store.made(target, lambda partial: _inside("grow", SHIPPED, partial, cache, size))


def damaged(source: Path, target: Path, cache: Path) -> None:
    """Write the model of ``source`` with its weights rounded to 3 bits to ``target``: it must fail a quality gate."""
    store.made(target, lambda partial: _inside("damage", source, partial, cache))


def train(target: Path, cache: Path) -> None:
    """Train the base model again into ``target`` (about four minutes)."""
    store.made(target, lambda partial: _inside("train", None, partial, cache))


def _inside(script: str, source: Path | None, target: Path, cache: Path, *arguments: str) -> None:
    """Run one of this folder's torch scripts; it finds its source at /opt/source and leaves its result in /opt/out."""
    target.mkdir(parents=True)
    folders = {"out": target.resolve()} if source is None else {"source": source.resolve(), "out": target.resolve()}
    places = [f"/opt/{name}" for name in folders]
    environments.run("compress", cache, ["-m", f"e2e.model.{script}", *places, *arguments], folders, TORCH)
    _readable(target)


def _readable(folder: Path) -> None:
    """Pods of other users read these files; the libraries write some for their owner only."""
    for path in folder.iterdir():
        path.chmod(0o644)
