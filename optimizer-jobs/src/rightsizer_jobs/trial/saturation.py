"""What a closed loop tells of an engine: the rate at which it gives out its tokens, and whether more requests in flight
could raise that. Pure.

Called by ``steps``, and by what plays trials in virtual time.
"""

from collections.abc import Sequence

from rightsizer_jobs.contract import Saturation, Slo
from rightsizer_jobs.loadgen.metrics import FORMULAS, Window, output_rate, rounded, share_above
from rightsizer_jobs.loadgen.records import Record
from rightsizer_jobs.stats import allowed_share

QUEUED_SHARE = 0.02
"""Of the requests in flight: where more than these wait in the engines for a place in the batch, the batch is full."""
GAIN = 1.05
"""With twice as many requests in flight, an engine that has room gives out its tokens faster by more than this."""
LEAST_ENDED = 20
"""Answers that must have begun and ended in the counted part before their latencies are believed."""


def saturation(
    records: Sequence[Record],
    window: Window,
    *,
    concurrency: int,
    mean_output_tokens: float,
    waiting: float | None,
    slo: Slo,
    before: Saturation | None = None,
) -> Saturation:
    """The saturation of a run with so many requests in flight. ``waiting``: how many of them usually had no place in
    the batch; None where the engines do not tell. ``before``: what fewer in flight gave.

    It is a ceiling of the capacity once the batch is full, once a limit is missed (more in flight only take longer), or
    once more in flight gave no more.
    """
    tokens = output_rate(records, window)
    rate = tokens / mean_output_tokens
    if before is not None and rate <= before.rps:
        return before.model_copy(update={"ceiling": True})
    full = waiting is not None and waiting > QUEUED_SHARE * concurrency
    no_more = before is not None and rate < GAIN * before.rps
    return Saturation(
        rps=rounded(rate),
        output_tps=rounded(tokens),
        concurrency=concurrency,
        ceiling=full or no_more or misses(records, window, slo),
    )


def misses(records: Sequence[Record], window: Window, slo: Slo) -> bool:
    """Whether a limit is missed by the answers that began and ended in the window: those that all began together
    before it had to wait for each other's prompts.
    """
    ended = [record for record in records if window.counts(record) and not record.failed]
    allowed = allowed_share(slo.percentile)
    return len(ended) >= LEAST_ENDED and any(
        share_above([value for record in ended for value in FORMULAS[metric](record)], limit) > allowed
        for metric, limit in slo.limits().items()
    )
