"""A compress Job with a quantizer that only writes files: an assignment and a folder in, a report and a folder out."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rightsizer_jobs.compress import artefact, source
from rightsizer_jobs.compress.quantize import DeadlinePassed, QuantizeFailed, Work
from rightsizer_jobs.compress.run import compress
from rightsizer_jobs.contract import CompressAssignment, dump_report

PLENTY = 2**40


def write_safetensors(path: Path, tensors: dict[str, tuple[int, ...]]) -> None:
    header, offset = {}, 0
    for name, shape in tensors.items():
        size = 2
        for dimension in shape:
            size *= dimension
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(offset))


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    base = tmp_path / "base"
    base.mkdir()
    write_safetensors(
        base / "model.safetensors", {"model.layers.0.mlp.up_proj.weight": (64, 32), "lm_head.weight": (16, 32)}
    )
    (base / "config.json").write_text('{"vocab_size": 16}')
    (base / "tokenizer.json").write_text('{"a tokenizer": 1}')
    (base / "chat_template.jinja").write_text("{{ messages }}")
    (tmp_path / "calibration.jsonl").write_text('{"tokens": [1, 2, 3]}\n{"text": "hello"}\n')
    return tmp_path


@pytest.fixture
def assignment(volume: Path) -> CompressAssignment:
    return CompressAssignment(
        run_uid="u",
        artefact="base-int8",
        attempt=1,
        recipe="int8-w8a8",
        source_path=str(volume / "base"),
        target_path=str(volume / "artefacts" / "base-int8"),
        calibration_path=str(volume / "calibration.jsonl"),
    )


def writes(content: bytes = b"quantized") -> Callable[[Work], None]:
    def quantize(work: Work) -> None:
        Path(work.target, "model.safetensors").write_bytes(content)
        Path(work.target, "config.json").write_text('{"quantization_config": {}}')

    return quantize


def never(work: Work) -> None:
    raise AssertionError("the quantizer must not run")


def fails(error: Exception) -> Callable[[Work], None]:
    def quantize(work: Work) -> None:
        writes()(work)
        raise error

    return quantize


def run(assignment: CompressAssignment, quantize: Callable[[Work], None], free: int = PLENTY, **more: Any) -> Any:
    return compress(assignment, quantize=quantize, free=lambda _: free, **more)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_an_artefact_holds_weights_tokenizer_and_a_manifest_with_its_digest(
    assignment: CompressAssignment, volume: Path
) -> None:
    report = run(assignment, writes())
    target = Path(assignment.target_path)
    assert report.outcome == "Succeeded"
    assert names(target) == {
        "model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "rightsizer-artefact.json",
    }  # fmt: skip
    assert (target / "model.safetensors").read_bytes() == b"quantized"
    assert "quantization_config" in (target / "config.json").read_text(), "the source's config must not overwrite it"
    assert report.sha256 == artefact.digest(artefact.file_digests(target))
    assert report.size_bytes == artefact.size(target)
    assert names(volume / "artefacts") == {"base-int8"}


def test_files_are_readable_by_other_users(assignment: CompressAssignment) -> None:
    run(assignment, writes())
    target = Path(assignment.target_path)
    assert target.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in target.iterdir()} == {0o644}


def test_a_complete_artefact_is_used_again(assignment: CompressAssignment) -> None:
    first = run(assignment, writes())
    again = run(assignment, never)
    assert (again.outcome, again.sha256, again.size_bytes) == ("Succeeded", first.sha256, first.size_bytes)


@pytest.mark.parametrize("damage", ["model.safetensors", "rightsizer-artefact.json"])
def test_a_damaged_artefact_is_made_again(assignment: CompressAssignment, damage: str) -> None:
    first = run(assignment, writes())
    Path(assignment.target_path, damage).write_text("{}")
    assert artefact.existing(Path(assignment.target_path), "int8-w8a8") is None
    again = run(assignment, writes())
    assert (again.outcome, again.sha256) == ("Succeeded", first.sha256)


def test_an_artefact_of_another_recipe_is_not_mistaken(assignment: CompressAssignment) -> None:
    run(assignment, writes(b"eight bits"))
    other = assignment.model_copy(update={"recipe": "int4-w4a16"})
    run(other, writes(b"four bits"))
    assert Path(assignment.target_path, "model.safetensors").read_bytes() == b"four bits"


def test_rests_of_a_killed_attempt_are_removed_before_the_next(assignment: CompressAssignment, volume: Path) -> None:
    rest = volume / "artefacts" / "base-int8.partial-1"
    rest.mkdir(parents=True)
    (rest / "half.safetensors").write_bytes(b"x")
    report = run(assignment.model_copy(update={"attempt": 2}), writes())
    assert report.outcome == "Succeeded"
    assert names(volume / "artefacts") == {"base-int8"}


@pytest.mark.parametrize(
    ("error", "outcome", "words"),
    [
        (QuantizeFailed("ValueError: no such layer"), "Failed", "no such layer"),
        (DeadlinePassed("not done after 60 s"), "Failed", "not done after 60 s"),
        (OSError(errno.ENOSPC, "No space left on device"), "VolumeFull", "No space left"),
        (QuantizeFailed("SafetensorError: No space left on device (os error 28)"), "VolumeFull", "No space left"),
        (OSError(errno.EACCES, "Permission denied"), "Failed", "Permission denied"),
    ],
)
def test_a_failure_leaves_nothing_behind_and_says_why(
    assignment: CompressAssignment, volume: Path, error: Exception, outcome: str, words: str
) -> None:
    report = run(assignment, fails(error))
    assert report.outcome == outcome
    assert words in report.reason
    assert report.sha256 is None
    assert names(volume / "artefacts") == set()


def test_a_full_volume_is_named_before_work_starts(assignment: CompressAssignment, volume: Path) -> None:
    report = run(assignment, never, free=10 * 2**20)
    assert report.outcome == "VolumeFull"
    assert "0.01 GiB free" in report.reason
    assert "enlarge the claim" in report.reason
    assert names(volume / "artefacts") == set()


def test_a_full_volume_does_not_matter_when_the_artefact_is_there(assignment: CompressAssignment) -> None:
    run(assignment, writes())
    assert run(assignment, never, free=0).outcome == "Succeeded"


def test_the_deadline_left_is_handed_to_the_quantizer_and_checked_after_it(assignment: CompressAssignment) -> None:
    seen: list[float] = []

    def quantize(work: Work) -> None:
        seen.append(work.deadline_s)
        writes()(work)

    times = iter([0.0, 40.0, 101.0, 102.0])
    report = run(assignment.model_copy(update={"deadline_s": 100.0}), quantize, clock=lambda: next(times))
    assert seen == [60.0]
    assert (report.outcome, report.seconds) == ("Failed", 102.0)
    assert "not done after 100 s" in report.reason
    assert not Path(assignment.target_path).exists()


def test_a_long_reason_still_fits_the_termination_message(assignment: CompressAssignment) -> None:
    report = run(assignment, fails(QuantizeFailed("a line\n" * 5000)))
    assert len(dump_report(report)) < 1024
    assert "\n" not in report.reason


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"recipe": "int3"}, "recipe 'int3' is unknown; there are fp8-dynamic, int4-w4a16, int8-w8a16, int8-w8a8"),
        ({"source_path": "/nowhere/model"}, "source_path /nowhere/model: no readable model"),
        ({"calibration_path": None}, "calibration_path is missing: recipe int8-w8a8 needs"),
        ({"calibration_path": "/nowhere/lines"}, "calibration_path /nowhere/lines"),
    ],
)
def test_a_wrong_assignment_names_its_field(
    assignment: CompressAssignment, changed: dict[str, Any], words: str
) -> None:
    report = run(assignment.model_copy(update=changed), never)
    assert report.outcome == "Failed"
    assert words in report.reason


def test_a_recipe_without_calibration_asks_for_none(assignment: CompressAssignment) -> None:
    free_of_data = assignment.model_copy(update={"recipe": "fp8-dynamic", "calibration_path": None})
    assert run(free_of_data, writes()).outcome == "Succeeded"


def test_a_folder_without_safetensors_is_refused(assignment: CompressAssignment, volume: Path) -> None:
    (volume / "base" / "model.safetensors").rename(volume / "base" / "pytorch_model.bin")
    report = run(assignment, never)
    assert "holds no *.safetensors" in report.reason


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x10\0\0\0\0\0\0\0not json at all."])
def test_damaged_source_weights_are_named(assignment: CompressAssignment, volume: Path, content: bytes) -> None:
    (volume / "base" / "model.safetensors").write_bytes(content)
    report = run(assignment, never)
    assert report.outcome == "Failed"
    assert "model.safetensors is not a valid safetensors file" in report.reason


def rewritten(path: Path, offset: int) -> None:
    """One byte of it is another one."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_other_source_weights_under_the_same_path_do_not_pass_for_the_old_artefact(
    assignment: CompressAssignment, volume: Path
) -> None:
    run(assignment, writes())
    before = names(Path(assignment.target_path))
    rewritten(volume / "base" / "model.safetensors", -1)
    report = run(assignment, never)
    assert report.outcome == "Failed"
    assert report.reason.startswith("SourceChanged")
    assert "spec.model.revision" in report.reason
    assert names(Path(assignment.target_path)) == before


def test_a_copy_of_the_source_weights_is_the_same_source(assignment: CompressAssignment, volume: Path) -> None:
    first = run(assignment, writes())
    os.utime(volume / "base" / "model.safetensors", (1, 1))
    assert run(assignment, never).sha256 == first.sha256


def test_an_artefact_of_before_fingerprints_were_kept_is_still_used(assignment: CompressAssignment) -> None:
    first = run(assignment, writes())
    manifest = Path(assignment.target_path, artefact.MANIFEST)
    kept = json.loads(manifest.read_text())
    assert len(kept.pop("source_fingerprint")) == 16
    manifest.write_text(json.dumps(kept))
    assert run(assignment, never).sha256 == first.sha256


def test_weights_that_are_not_those_of_the_baseline_are_not_compressed(assignment: CompressAssignment) -> None:
    report = run(assignment.model_copy(update={"source_fingerprint": "0" * 16}), never)
    assert report.outcome == "Failed"
    assert "changed during the run" in report.reason
    assert not Path(assignment.target_path).exists()


SIZE = 10_000_000
A_SAMPLE = (SIZE - source.SAMPLE_BYTES) * 7 // (source.SAMPLES - 1)


@pytest.mark.parametrize("offset", [0, A_SAMPLE, -1])
def test_a_fingerprint_sees_a_change_of_a_large_file_in_any_sample(tmp_path: Path, offset: int) -> None:
    (tmp_path / "config.json").write_text("{}")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(SIZE))
    before = source.fingerprint(tmp_path)
    rewritten(weights, offset)
    assert source.fingerprint(tmp_path) != before


def test_a_fingerprint_leaves_out_what_is_no_weight(volume: Path) -> None:
    before = source.fingerprint(volume / "base")
    (volume / "base" / "README.md").write_text("another text")
    assert source.fingerprint(volume / "base") == before
    (volume / "base" / "config.json").write_text('{"vocab_size": 17}')
    assert source.fingerprint(volume / "base") != before
