"""How long a client waits for one answer before it counts as timed out. Pure; called by ``assignments``.

Follows from the limits and the length asked for, so that no answer that meets the limits is ever cut off, however long
it is, while one without any hope still ends.
"""

from rightsizer_jobs.contract import Slo
from rightsizer_jobs.workload import Length, quantile_of

FLOOR_S = 120.0
"""For any answer, however tight its limits: slow answers are figures too, and a stuck engine is noticed soon enough."""

PATIENCE = 2.0
"""Times what the limits allow. In an answer that meets an ``itl`` limit at the 95th percentile the other gaps may still
take 20 times the limit on average."""

SLOWEST_TOKEN_S = 0.5
"""For an output token where no limit says how long one may take: two a second are slower than anyone reads."""

TRACE_TOKENS = 4096
"""The longest answer of a trace, for the deadline of a whole trial: only the Job can read the file."""


def allowed(slo: Slo) -> tuple[float, float]:
    """Seconds for any request, and for each output token on top of that."""
    if slo.e2e_ms is not None:
        return max(FLOOR_S, PATIENCE * slo.e2e_ms / 1000), 0.0
    gap_ms = slo.tpot_ms or slo.itl_ms
    token_s = SLOWEST_TOKEN_S if gap_ms is None else PATIENCE * gap_ms / 1000
    return FLOOR_S + PATIENCE * (slo.ttft_ms or 0.0) / 1000, token_s


def within_limits_s(slo: Slo, tokens: int) -> float:
    """Seconds of an answer of so many tokens that only just meets the limits."""
    if slo.e2e_ms is not None:
        return slo.e2e_ms / 1000
    gap_ms = slo.tpot_ms or slo.itl_ms
    return (slo.ttft_ms or 0.0) / 1000 + tokens * (SLOWEST_TOKEN_S if gap_ms is None else gap_ms / 1000)


def longest_output(outputs: Length | None) -> int:
    """Output tokens of the longest answer; ``outputs`` is None where a trace has them."""
    return TRACE_TOKENS if outputs is None else quantile_of(outputs, 1.0)
