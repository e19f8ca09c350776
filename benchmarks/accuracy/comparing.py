"""A client's figures beside the server's truth: errors, arrivals, and one row of the table. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rightsizer_jobs.loadgen.metrics import percentile

MS = 1e6
FIRST_MS = 50.0
HEADER = (
    "| tokens | asked/s | client | got/s | failed | IDC | TTFT | TPOT | ITL | chunk | send lag | own | CPU | void |\n"
    + "|---" * 14
    + "|"
)


@dataclass(frozen=True)
class Seen:
    """What a client says of one request, milliseconds; from its own send. ``chunks_ns`` where the clock is shared."""

    key: str
    ttft_ms: float
    tpot_ms: float
    gaps_ms: Sequence[float]
    lag_ms: float
    chunks_ns: Sequence[int] = ()


@dataclass(frozen=True)
class Told:
    """All that a client tells of a run at one point."""

    client: str
    seen: Sequence[Seen]
    failed: int
    seconds: float
    cpu: str = "-"
    void: str = "-"


def row(told: Told, log: Mapping[str, Sequence[int]], rate: float, tokens: int) -> str:
    """Absolute errors at p50/p95/p99; ``log``: per request its arrival and its tokens' writes, nanoseconds."""
    both = [(seen, log[seen.key]) for seen in told.seen if seen.key in log]
    cells = [
        tokens, f"{rate:g}", told.client, f"{len(both) / told.seconds:.1f}", told.failed,
        f"{dispersion([truth[0] for _, truth in both]):.1f}",
        three([seen.ttft_ms - (truth[1] - truth[0]) / MS for seen, truth in both]),
        three([seen.tpot_ms - mean_gap(truth) for seen, truth in both]),
        three([error for seen, truth in both for error in gap_errors(seen, truth)]),
        three([late for seen, truth in both for late in lateness(seen, truth)]),
        three([seen.lag_ms for seen, _ in both]),
        three([(truth[1] - truth[0]) / MS - FIRST_MS for _, truth in both]),
        told.cpu, told.void,
    ]  # fmt: skip
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def mean_gap(truth: Sequence[int]) -> float:
    return (truth[-1] - truth[1]) / max(1, len(truth) - 2) / MS


def gap_errors(seen: Seen, truth: Sequence[int]) -> list[float]:
    """Nothing where the client saw another number of chunks: then the gaps are not the same ones."""
    gaps = [(later - earlier) / MS for earlier, later in pairwise(truth[1:])]
    return (
        [mine - true for mine, true in zip(seen.gaps_ms, gaps, strict=True)] if len(gaps) == len(seen.gaps_ms) else []
    )


def lateness(seen: Seen, truth: Sequence[int]) -> list[float]:
    return [(at - wrote) / MS for at, wrote in zip(seen.chunks_ns, truth[1:], strict=False)]


def dispersion(arrivals: Sequence[int]) -> float:
    """Variance over mean of the arrivals a second at the server; Poisson: 1. Whole seconds only."""
    if not arrivals:
        return float("nan")
    start, seconds = min(arrivals), int((max(arrivals) - min(arrivals)) / 1e9)
    counts = [0] * seconds
    for arrival in arrivals:
        if (second := int((arrival - start) / 1e9)) < seconds:
            counts[second] += 1
    mean = sum(counts) / len(counts) if counts else 0.0
    return sum((n - mean) ** 2 for n in counts) / (len(counts) - 1) / mean if len(counts) > 1 and mean else float("nan")


def three(values: Sequence[float]) -> str:
    sizes = [abs(value) for value in values]
    return "/".join(f"{percentile(sizes, percent):.2f}" for percent in (50, 95, 99)) if sizes else "-"
