"""Where the volume runs short, a compress Job deletes what only its own user made and no longer keeps, oldest first."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from rightsizer_jobs.compress import artefact
from rightsizer_jobs.compress.run import compress
from rightsizer_jobs.contract import CompressAssignment

NEEDED = 64 * 2**20 + 2**12
"""More than the small model of these tests needs."""


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    base = tmp_path / "base"
    base.mkdir()
    header = json.dumps({"w.weight": {"dtype": "BF16", "shape": [4, 4], "data_offsets": [0, 32]}}).encode()
    (base / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(32))
    (base / "config.json").write_text("{}")
    (tmp_path / "calibration.jsonl").write_text('{"text": "hello"}\n')
    return tmp_path


def asked(volume: Path, name: str, user: str = "chat", **changes: Any) -> CompressAssignment:
    return CompressAssignment(
        run_uid="u",
        artefact=name,
        attempt=1,
        recipe="int8-w8a8",
        source_path=str(volume / "base"),
        target_path=str(volume / "artefacts" / name),
        calibration_path=str(volume / "calibration.jsonl"),
        user=user,
        **changes,
    )


def made(volume: Path, name: str, user: str = "chat", *, places: int = 9, age: int = 0, **changes: Any) -> Any:
    """Make an artefact on a volume that has room for ``places`` of them in all."""

    def free(_: Path) -> int:
        return NEEDED * (places - len(whole(volume)))

    report = compress(asked(volume, name, user, **changes), quantize=quantize, free=free)
    manifest = volume / "artefacts" / name / artefact.MANIFEST
    if age and manifest.exists():
        os.utime(manifest, (1_000_000 - age, 1_000_000 - age))
    return report


def quantize(work: Any) -> None:
    Path(work.target, "model.safetensors").write_bytes(b"quantized")


def whole(volume: Path) -> set[str]:
    folder = volume / "artefacts"
    return {path.name for path in folder.iterdir() if (path / artefact.MANIFEST).exists()} if folder.exists() else set()


def test_with_room_nothing_is_deleted(volume: Path) -> None:
    for name in ("old", "older", "new"):
        made(volume, name)
    assert whole(volume) == {"old", "older", "new"}


def test_the_longest_unused_goes_first_and_no_more_than_needed(volume: Path) -> None:
    made(volume, "older", age=20)
    made(volume, "old", age=10)
    assert made(volume, "new", places=2).outcome == "Succeeded"
    assert whole(volume) == {"old", "new"}


def test_what_is_asked_for_again_counts_as_used(volume: Path) -> None:
    made(volume, "older", age=20)
    made(volume, "old", age=10)
    made(volume, "older")
    made(volume, "new", places=2)
    assert whole(volume) == {"older", "new"}


def test_what_is_kept_stays_and_a_full_volume_is_named(volume: Path) -> None:
    made(volume, "serves")
    report = made(volume, "new", places=1, keep=("serves",))
    assert report.outcome == "VolumeFull"
    assert whole(volume) == {"serves"}


@pytest.mark.parametrize("others", [("search",), ("search", "chat")])
def test_what_somebody_else_asked_for_stays(volume: Path, others: tuple[str, ...]) -> None:
    for user in others:
        made(volume, "shared", user)
    assert made(volume, "new", places=1).outcome == "VolumeFull"
    assert whole(volume) == {"shared"}


def test_folders_that_are_no_artefacts_stay(volume: Path) -> None:
    (volume / "artefacts" / "of-the-user").mkdir(parents=True)
    (volume / "artefacts" / "of-the-user" / "model.safetensors").write_bytes(b"x")
    assert made(volume, "new", places=0).outcome == "VolumeFull"
    assert (volume / "artefacts" / "of-the-user" / "model.safetensors").exists()


def test_rests_of_an_attempt_that_was_killed_are_no_reason_to_be_full(volume: Path) -> None:
    rest = volume / "artefacts" / "new.partial-1"
    rest.mkdir(parents=True)
    (rest / "model.safetensors").write_bytes(b"half")

    def free(_: Path) -> int:
        return 0 if (rest / "model.safetensors").exists() else NEEDED

    assert compress(asked(volume, "new"), quantize=quantize, free=free).outcome == "Succeeded"


def test_a_damaged_artefact_that_is_made_again_keeps_its_users(volume: Path) -> None:
    made(volume, "shared", "search")
    (volume / "artefacts" / "shared" / "model.safetensors").write_bytes(b"damaged")
    made(volume, "shared")
    manifest = artefact.existing(volume / "artefacts" / "shared", "int8-w8a8")
    assert manifest is not None
    assert manifest.users == ("chat", "search")


def test_other_samples_under_the_same_path_are_refused_and_the_artefact_stays(volume: Path) -> None:
    made(volume, "old")
    (volume / "calibration.jsonl").write_text('{"text": "good bye"}\n')
    report = made(volume, "old")
    assert report.outcome == "Failed"
    assert "spec.model.calibrationPath" in report.reason
    assert whole(volume) == {"old"}


def test_an_artefact_outlives_its_calibration_file(volume: Path) -> None:
    made(volume, "old")
    (volume / "calibration.jsonl").unlink()
    assert made(volume, "old").outcome == "Succeeded"
