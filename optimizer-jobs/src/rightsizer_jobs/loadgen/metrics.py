"""Latency metrics from records: the formulas of docs/metrics.md, and one probe's summary. Pure.

A failed, timed-out or cut request has infinite latency in every metric; it never drops out. Milliseconds throughout.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rightsizer_jobs.contract import Metric, Probe, Slo
from rightsizer_jobs.loadgen.arrivals import NANOSECONDS
from rightsizer_jobs.loadgen.records import Record
from rightsizer_jobs.stats import allowed_share

MILLISECOND = 1_000_000


def ttft(record: Record) -> list[float]:
    """Scheduled arrival to the first content chunk."""
    return [math.inf] if record.failed else [(record.exchange.chunks_ns[0] - record.scheduled_ns) / MILLISECOND]


def e2e(record: Record) -> list[float]:
    """Scheduled arrival to the last content chunk."""
    return [math.inf] if record.failed else [(record.exchange.chunks_ns[-1] - record.scheduled_ns) / MILLISECOND]


def at_once(record: Record) -> float | None:
    """Milliseconds a token, where an answer of several came at one instant: e2e / (n - 1), the most that they can have
    taken on average, since the time between them cannot be seen. None: it came bit by bit, or is of one token.
    """
    chunks, tokens = record.exchange.chunks_ns, record.exchange.output_tokens
    if record.failed or tokens < 2 or chunks[0] != chunks[-1]:
        return None
    return e2e(record)[0] / (tokens - 1)


def tpot(record: Record) -> list[float]:
    """(e2e - ttft) / (n - 1), n from the server's usage; undefined (nothing) below two tokens; see ``at_once``."""
    if record.failed:
        return [math.inf]
    if (most := at_once(record)) is not None:
        return [most]
    chunks, tokens = record.exchange.chunks_ns, record.exchange.output_tokens
    return [(chunks[-1] - chunks[0]) / (tokens - 1) / MILLISECOND] if tokens > 1 else []


def itl(record: Record) -> list[float]:
    """Gaps between content chunks; see ``at_once``. A failed request has as many infinite ones as it should have had,
    at least one.
    """
    if record.failed:
        return [math.inf] * max(1, record.asked_tokens - 1)
    if (most := at_once(record)) is not None:
        return [most] * (record.exchange.output_tokens - 1)
    chunks = record.exchange.chunks_ns
    return [(later - earlier) / MILLISECOND for earlier, later in pairwise(chunks)]


FORMULAS: dict[Metric, Callable[[Record], list[float]]] = {"ttft": ttft, "itl": itl, "tpot": tpot, "e2e": e2e}


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at most ``100 - percent`` % of the values exceed (nearest rank); nan when empty."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100 - 1e-9) - 1)]


def share_above(values: Sequence[float], limit: float) -> float:
    return sum(value > limit for value in values) / len(values) if values else 0.0


def tokens_per_chunk(records: Sequence[Record]) -> float:
    """Output tokens a content chunk carries on average; 1 unless the engine sends several at once."""
    whole = [record.exchange for record in records if not record.failed]
    chunks = sum(len(exchange.chunks_ns) for exchange in whole)
    return sum(exchange.output_tokens for exchange in whole) / chunks if chunks else 1.0


@dataclass(frozen=True, slots=True)
class Window:
    """The measured part of a run, on the client's clock; requests count by their scheduled instant."""

    start_ns: int
    stop_ns: int

    @property
    def seconds(self) -> float:
        return (self.stop_ns - self.start_ns) / NANOSECONDS

    def counts(self, record: Record) -> bool:
        return self.start_ns <= record.scheduled_ns < self.stop_ns


def output_rate(records: Sequence[Record], window: Window) -> float:
    """Output tokens a second that arrived inside the window, those of cut requests too."""
    total, usual = 0.0, tokens_per_chunk(records)
    for record in records:
        chunks = record.exchange.chunks_ns
        inside = sum(window.start_ns <= instant < window.stop_ns for instant in chunks)
        total += inside * (usual if record.failed or not chunks else record.exchange.output_tokens / len(chunks))
    return total / window.seconds


def summarise(
    records: Sequence[Record],
    window: Window,
    *,
    rate_rps: float,
    slo: Slo,
    block_s: float,
    aborted: bool = False,
    balanced: bool = False,
) -> Probe:
    """The probe of a run at one rate; figures rounded to what they are worth, so that a report stays short."""
    counted = [record for record in records if window.counts(record)]
    limits = slo.limits()
    values = {metric: [value for record in counted for value in FORMULAS[metric](record)] for metric in limits}
    shares = {metric: share_above(values[metric], limit) for metric, limit in limits.items()}
    worst = max(shares, key=lambda metric: shares[metric])
    return Probe(
        rate_rps=rounded(rate_rps),
        achieved_rps=rounded(
            sum(window.start_ns <= r.exchange.sent_ns < window.stop_ns for r in records) / window.seconds
        ),
        seconds=rounded(window.seconds),
        requests=len(counted),
        failed=sum(record.failed for record in counted),
        violations={metric: rounded(share) for metric, share in shares.items()},
        p_ms={metric: shown(percentile(values[metric], slo.percentile)) for metric in limits},
        output_tps=rounded(output_rate(records, window)),
        variance_inflation=rounded(variance_inflation(counted, window, worst, limits[worst], block_s)),
        aborted=aborted,
        balanced=balanced,
    )


def variance_inflation(
    records: Sequence[Record], window: Window, metric: Metric, limit: float, block_s: float
) -> float:
    """Variance of the violation share between blocks of time (ratio estimator) over the binomial one; 0: unknown."""
    blocks = max(1, round(window.seconds / block_s))
    length = (window.stop_ns - window.start_ns) / blocks
    sizes, bad = [0] * blocks, [0] * blocks
    for record in records:
        block = min(blocks - 1, int((record.scheduled_ns - window.start_ns) / length))
        values = FORMULAS[metric](record)
        sizes[block] += len(values)
        bad[block] += sum(value > limit for value in values)
    total = sum(sizes)
    share = sum(bad) / total if total else 0.0
    if blocks < 2 or not 0 < share < 1:
        return 0.0
    spread = sum((v - share * n) ** 2 for v, n in zip(bad, sizes, strict=True)) * blocks / (blocks - 1) / total**2
    return spread / (share * (1 - share) / len(records))


def joint_share(records: Sequence[Record], slo: Slo) -> float:
    """Share of requests that miss any limit; for itl a request misses when more of its gaps than allowed do."""
    allowed = allowed_share(slo.percentile)
    limits = slo.limits()
    missed = sum(
        any(
            share_above(FORMULAS[metric](record), limit) > (allowed if metric == "itl" else 0)
            for metric, limit in limits.items()
        )
        for record in records
    )
    return missed / len(records) if records else 0.0


def rounded(value: float) -> float:
    """Four significant digits: more is not known, and a report is short."""
    return float(f"{value:.4g}")


def shown(value: float) -> float:
    """A latency as reports show it: infinite is -1, and so is one that nothing was measured for."""
    return rounded(value) if math.isfinite(value) else -1.0
