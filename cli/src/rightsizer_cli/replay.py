"""A run whose engines replayed recordings: its result says so everywhere. Called by ``assemble``. Pure.

One trial's word is enough for the whole result: nothing that was compared with a replay is a measurement.
"""

from typing import Any

from rightsizer_cli.inputs import Run
from rightsizer_cli.result import Result
from rightsizer_operator.sizing import verdicts

SEEN = ("Measured", "Observed")
REPLAYED = "Replayed"


def statements(run: Run) -> tuple[str, ...]:
    """What the engines of its trials said they replay, each once; empty: nothing."""
    reports = [verdicts.report_of(record) for record in run.status.trials if record.purpose != "Compress"]
    return tuple(dict.fromkeys(report.replayed for report in reports if report and report.replayed))


def marked(result: Result, said: tuple[str, ...]) -> Result:
    """The result with every measured or observed figure called replayed, and a note before all others."""
    if not said:
        return result
    note = (
        f"Replayed, not measured: the engines answered with {'; '.join(said)}. No GPU was used, and no figure here is "
        "a measurement of one; times and rates are those of the replay's clock."
    )
    document = _renamed(result.model_dump())
    return Result.model_validate({**document, "replayed": said, "notes": (note, *result.notes)})


def _renamed(found: Any) -> Any:
    if isinstance(found, dict):
        return {
            key: REPLAYED if key == "evidence" and value in SEEN else _renamed(value) for key, value in found.items()
        }
    return [_renamed(item) for item in found] if isinstance(found, list | tuple) else found
