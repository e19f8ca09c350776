"""What a trial takes from the model volume, read before it waits for the engine: a mistake there costs seconds, not the
minutes in which a model loads. Called by ``run``.
"""

import asyncio
import logging
from pathlib import Path

from rightsizer_jobs.compress import source
from rightsizer_jobs.contract import TrialAssignment
from rightsizer_jobs.quality.questions import QuestionSetUnreadable, read_questions
from rightsizer_jobs.trial.bench import Bench
from rightsizer_jobs.trial.findings import Stop

LOG = logging.getLogger(__name__)


async def read(bench: Bench) -> None:
    """Fill in questions and fingerprint; Stop(Void) where the questions cannot be read, or the weights have changed."""
    assignment = bench.assignment
    if assignment.questions is not None:
        try:
            bench.questions = await asyncio.to_thread(read_questions, assignment.questions)
        except QuestionSetUnreadable as error:
            raise Stop("Void", str(error)) from error
    found = bench.findings.source_fingerprint = await asyncio.to_thread(_fingerprint, assignment)
    wanted = assignment.source_fingerprint
    if wanted is not None and found != wanted:
        now = "cannot be read" if found is None else f"now have fingerprint {found}"
        raise Stop(
            "Void",
            f"source weights changed during the run: those under {assignment.model_path} {now}, the baseline was "
            f"measured with {wanted}",
        )


def _fingerprint(assignment: TrialAssignment) -> str | None:
    try:
        return source.fingerprint(Path(assignment.model_path))
    except OSError as error:
        LOG.warning("the source weights have no fingerprint: %s", error)
        return None
