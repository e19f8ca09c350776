"""Entry of every Job: read the assignment, do it, leave the report as the termination message.

Exit codes: 0 a valid report was written, whatever its outcome; 40 the assignment is invalid; 41 the report is too
long; 1 a bug.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from rightsizer_jobs.contract import (
    ASSIGNMENT_VARIABLE,
    CompressAssignment,
    CompressReport,
    ReportTooLong,
    TrialAssignment,
    TrialReport,
    dump_report,
    load_assignment,
)

REPORT_PATH_VARIABLE = "RIGHTSIZER_REPORT_PATH"
TERMINATION_MESSAGE = "/dev/termination-log"
EXIT_INVALID_ASSIGNMENT = 40
EXIT_REPORT_TOO_LONG = 41
LOG = logging.getLogger("rightsizer_jobs")


def perform(assignment: TrialAssignment | CompressAssignment) -> TrialReport | CompressReport:
    """Each kind imports only its own dependencies: no model library for a trial, no HTTP client for a compression."""
    if isinstance(assignment, CompressAssignment):
        from rightsizer_jobs.compress.run import compress

        return compress(assignment)
    import uvloop

    from rightsizer_jobs.trial.run import run

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(assignment))


def main(environment: Mapping[str, str]) -> int:
    """The process's exit code."""
    try:
        assignment = load_assignment(environment.get(ASSIGNMENT_VARIABLE, ""))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or ASSIGNMENT_VARIABLE
        LOG.error("invalid assignment in $%s: %s: %s", ASSIGNMENT_VARIABLE, field, first["msg"])
        return EXIT_INVALID_ASSIGNMENT
    report = perform(assignment)
    try:
        text = dump_report(fitting(report))
    except ReportTooLong as error:
        LOG.error("%s", error)
        return EXIT_REPORT_TOO_LONG
    Path(environment.get(REPORT_PATH_VARIABLE, TERMINATION_MESSAGE)).write_text(text)
    LOG.info("report written: %s", report.outcome)
    return 0


SPARED = ("model", "use_at_demand", "records", "replayed", "reason", "use")
"""What a report does without where it would be too long, in this order: evidence comes first."""

CUT = ("replayed", "reason")
CUT_BYTES = 60
"""Of these so much stays."""


def fitting(report: TrialReport | CompressReport) -> TrialReport | CompressReport:
    """The report without what is too much for a termination message."""
    if not isinstance(report, TrialReport):
        return report
    for field in SPARED:
        try:
            dump_report(report)
        except ReportTooLong:
            text = getattr(report, field) if field in CUT else None
            report = report.model_copy(update={field: text and _cut(text)})
    return report


def _cut(text: str) -> str:
    return text.encode()[:CUT_BYTES].decode(errors="ignore")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    sys.exit(main(os.environ))
