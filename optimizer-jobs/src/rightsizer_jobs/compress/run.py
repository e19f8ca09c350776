"""Make one artefact: the straight line of a compress Job, called by ``rightsizer_jobs.__main__``. Every end is a
report, never a traceback.

The folder of the assignment either holds a complete artefact with its digest or is not there; a second attempt starts
clean.
"""

import errno
import hashlib
import importlib.metadata
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from rightsizer_jobs.compress import artefact, source
from rightsizer_jobs.compress.quantize import (
    CalibrationUnreadable,
    DeadlinePassed,
    Quantize,
    QuantizeFailed,
    Work,
    in_child,
    read_calibration,
)
from rightsizer_jobs.compress.recipes import Recipe, UnknownRecipe, recipe
from rightsizer_jobs.contract import REASON_LIMIT, CompressAssignment, CompressOutcome, CompressReport

GIB = 2**30
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
SPARE_BYTES = 64 * 2**20
"""What else must fit beside the artefact: configuration, tokenizer, the file system's own needs."""

FreeBytes = Callable[[Path], int]


class CalibrationChanged(ValueError):
    """The artefact of that name was made with other samples, and may be in use."""


class SourceChanged(ValueError):
    """The source weights are not those that were measured, or not those that the artefact was made from."""


class VolumeFull(RuntimeError):
    """The model volume has no room for the artefact; the message says how much is needed and free."""


def free_bytes(folder: Path) -> int:
    """Free space of the volume that will hold ``folder``, which need not exist yet."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free


def compress(
    assignment: CompressAssignment,
    *,
    quantize: Quantize = in_child,
    free: FreeBytes = free_bytes,
    clock: Callable[[], float] = time.monotonic,
) -> CompressReport:
    """Carry the assignment out and say how it ended."""
    started = clock()
    outcome: CompressOutcome = "Failed"
    try:
        manifest, reason = _make(assignment, quantize, free, lambda: assignment.deadline_s - (clock() - started))
    except VolumeFull as error:
        outcome, reason = "VolumeFull", str(error)
    except (
        UnknownRecipe, source.SourceUnreadable, SourceChanged, CalibrationUnreadable, CalibrationChanged,
        QuantizeFailed, DeadlinePassed, OSError,
    ) as error:  # fmt: skip
        outcome, reason = ("VolumeFull" if _no_room(error) else "Failed"), f"{type(error).__name__}: {error}"
    else:
        return _report(
            assignment,
            "Succeeded",
            reason,
            clock() - started,
            sha256=manifest.sha256,
            size_bytes=manifest.size_bytes,
            tool=manifest.tool,
        )
    return _report(assignment, outcome, reason, clock() - started)


def _make(
    assignment: CompressAssignment, quantize: Quantize, free: FreeBytes, time_left: Callable[[], float]
) -> tuple[artefact.Manifest, str]:
    row, target = recipe(assignment.recipe), Path(assignment.target_path)
    weights = source.check(Path(assignment.source_path))
    made_from = source.fingerprint(Path(assignment.source_path))
    _check_same_run(assignment, made_from)
    artefact.claim(target, assignment.user)
    found = artefact.existing(target, row.name)
    calibration = _calibration_sha256(assignment, row)
    if found is not None:
        _check_same_source(assignment, found, made_from)
        _check_same_samples(assignment, found, calibration)
        return found, "already there, its digest is right"
    _check_calibration(assignment, row)
    work = artefact.partial(target, assignment.attempt)
    try:
        _check_room(assignment, row, weights, free)
        quantize(_work(assignment, work, time_left()))
        source.copy_companions(Path(assignment.source_path), work)
        if time_left() <= 0:
            raise DeadlinePassed(f"not done after {assignment.deadline_s:.0f} s")
        made = artefact.publish(
            work,
            target,
            recipe=row.name,
            tool=tool_version(row),
            calibration_sha256=calibration,
            source_fingerprint=made_from,
            user=assignment.user,
        )
        return made, ""
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _calibration_sha256(assignment: CompressAssignment, row: Recipe) -> str:
    """Of the file as it is now; empty where the recipe needs none, or it cannot be read."""
    if not row.needs_calibration or assignment.calibration_path is None:
        return ""
    try:
        return hashlib.sha256(Path(assignment.calibration_path).read_bytes()).hexdigest()
    except OSError:
        return ""


def _check_same_run(assignment: CompressAssignment, now: str) -> None:
    """Weights of another model must not be held against this run's baseline."""
    measured = assignment.source_fingerprint
    if measured and measured != now:
        raise SourceChanged(
            f"the weights under {assignment.source_path} have fingerprint {now}, the baseline was measured with "
            f"{measured}: they were changed during the run; give spec.model.revision a new value"
        )


def _check_same_source(assignment: CompressAssignment, found: artefact.Manifest, now: str) -> None:
    """The name holds the path and the stated revision only: other weights there would pass for the old artefact's."""
    if not found.source_fingerprint or found.source_fingerprint == now:
        return
    raise SourceChanged(
        f"artefact {assignment.artefact} was made from weights of fingerprint {found.source_fingerprint}, those under "
        f"{assignment.source_path} now have {now}; it may be in use and is not replaced: give spec.model.revision a "
        "new value, and the new weights are compressed under a name of their own"
    )


def _check_same_samples(assignment: CompressAssignment, found: artefact.Manifest, calibration: str) -> None:
    """The name holds the file's path only: other samples under the same path would pass for the old artefact."""
    if not calibration or not found.calibration_sha256 or calibration == found.calibration_sha256:
        return
    raise CalibrationChanged(
        f"artefact {assignment.artefact} was made with samples of SHA-256 {found.calibration_sha256[:12]}, the file "
        f"now has {calibration[:12]}; it may be in use and is not replaced: put the new samples under a path of "
        "their own (spec.model.calibrationPath)"
    )


def _check_calibration(assignment: CompressAssignment, row: Recipe) -> None:
    if not row.needs_calibration:
        return
    if assignment.calibration_path is None:
        raise CalibrationUnreadable(f"calibration_path is missing: recipe {row.name} needs calibration samples")
    read_calibration(Path(assignment.calibration_path), assignment.calibration_samples)


def _check_room(assignment: CompressAssignment, row: Recipe, weights: tuple[Path, ...], free: FreeBytes) -> None:
    needed = source.artefact_bytes(source.tensors(weights), row) + SPARE_BYTES
    folder = Path(assignment.target_path).parent
    if assignment.user:
        artefact.sweep(folder, assignment.user, assignment.keep, lambda: free(folder) >= needed)
    there = free(folder)
    if there < needed:
        raise VolumeFull(
            f"the artefact needs {needed / GIB:.2f} GiB, the model volume has {there / GIB:.2f} GiB free; "
            "enlarge the claim or delete old artefacts"
        )


def _work(assignment: CompressAssignment, folder: Path, deadline_s: float) -> Work:
    return Work(
        recipe=assignment.recipe,
        source=assignment.source_path,
        target=str(folder),
        calibration=assignment.calibration_path,
        samples=assignment.calibration_samples,
        sequence_length=assignment.max_sequence_length,
        deadline_s=max(deadline_s, 0.0),
    )


def _no_room(error: Exception) -> bool:
    """Also when the tool, in its own process, ran out of room."""
    if isinstance(error, OSError):
        return error.errno in NO_ROOM
    return isinstance(error, QuantizeFailed) and "No space left on device" in str(error)


def tool_version(row: Recipe) -> str:
    """The recipe's tool with its version, as installed here."""
    try:
        return f"{row.tool} {importlib.metadata.version(row.tool)}"
    except importlib.metadata.PackageNotFoundError:
        return row.tool


def _report(
    assignment: CompressAssignment, outcome: CompressOutcome, reason: str, seconds: float,
    *, sha256: str | None = None, size_bytes: int = 0, tool: str = "",
) -> CompressReport:  # fmt: skip
    return CompressReport(
        artefact=assignment.artefact,
        attempt=assignment.attempt,
        outcome=outcome,
        reason=" ".join(reason.split())[:REASON_LIMIT],
        seconds=round(seconds, 3),
        sha256=sha256,
        size_bytes=size_bytes,
        tool=tool,
    )
