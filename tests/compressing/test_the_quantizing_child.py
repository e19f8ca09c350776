"""The child of a compress Job, with a small script in the place of the quantizer: deadline, exit code, reason."""

import sys
from pathlib import Path

import pytest

from rightsizer_jobs.compress import quantize
from rightsizer_jobs.compress.quantize import DeadlinePassed, QuantizeFailed, Work, in_child


def work(deadline_s: float = 30.0) -> Work:
    return Work(
        recipe="int8-w8a8", source="/s", target="/t", calibration=None,
        samples=1, sequence_length=8, deadline_s=deadline_s,
    )  # fmt: skip


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that is started instead of ``oneshot``; tests write its text."""
    monkeypatch.setattr(quantize, "CHILD", "quantizer_stand_in")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "quantizer_stand_in.py"


def test_the_reason_a_child_leaves_is_the_reason_reported(child: Path) -> None:
    child.write_text(
        "import sys, pathlib\npathlib.Path(sys.argv[2]).write_text('ValueError: bad layer')\nsys.exit(1)\n"
    )
    with pytest.raises(QuantizeFailed, match=r"^ValueError: bad layer$"):
        in_child(work())


def test_a_child_that_is_killed_is_explained(child: Path) -> None:
    child.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    with pytest.raises(QuantizeFailed, match="out of memory"):
        in_child(work())


def test_a_child_is_ended_at_the_deadline(child: Path, tmp_path: Path) -> None:
    child.write_text("import time\ntime.sleep(600)\n")
    with pytest.raises(DeadlinePassed, match="not done after 1 s"):
        in_child(work(deadline_s=1.0))


def test_a_child_gets_its_work_as_it_was_given(child: Path, tmp_path: Path) -> None:
    child.write_text(f"import sys, pathlib\npathlib.Path({str(tmp_path / 'seen')!r}).write_text(sys.argv[1])\n")
    in_child(work())
    assert '"recipe": "int8-w8a8"' in (tmp_path / "seen").read_text()


def test_without_the_compress_environment_the_missing_library_is_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The real child, in an environment without llm-compressor, as in a wrongly built image."""
    with pytest.raises(QuantizeFailed, match="exit code 1"):
        in_child(work())
    assert "llmcompressor" not in sys.modules
