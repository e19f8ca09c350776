"""Latencies of one client's run, by the product's definitions, and their row of the table. Pure.

Every wait counts from the instant at which the request was due; a failed request is infinitely late in every metric.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rightsizer_jobs.contract import Metric, Slo
from rightsizer_jobs.loadgen.metrics import FORMULAS, MILLISECOND, percentile, share_above
from rightsizer_jobs.loadgen.records import Record

PERCENTS = (50, 95, 99)
METRICS: tuple[Metric, ...] = ("ttft", "itl", "tpot", "e2e")
HEADER = (
    "| client | requests | got/s | failed | TTFT | ITL | TPOT | E2E | above the limits | send lag | tokens in/out |\n"
    + "|---" * 11
    + "|"
)


@dataclass(slots=True)
class Figures:
    """One run: milliseconds by metric, pooled over its requests; ``lags``: from due to sent."""

    client: str
    seconds: float
    requests: int = 0
    failed: int = 0
    values: dict[Metric, list[float]] = field(default_factory=lambda: {metric: [] for metric in METRICS})
    lags: list[float] = field(default_factory=list)
    prompt_tokens: list[int] = field(default_factory=list)
    output_tokens: list[int] = field(default_factory=list)


def of_records(client: str, records: Iterable[Record], seconds: float) -> Figures:
    found = Figures(client, seconds)
    for record in records:
        found.requests += 1
        found.failed += record.failed
        for metric in METRICS:
            found.values[metric] += FORMULAS[metric](record)
        found.lags.append((record.exchange.sent_ns - record.scheduled_ns) / MILLISECOND)
        if not record.failed:
            found.prompt_tokens.append(record.exchange.prompt_tokens)
            found.output_tokens.append(record.exchange.output_tokens)
    return found


def of_aiperf(client: str, lines: Iterable[Mapping], seconds: float, asked_tokens: int) -> Figures:
    """From the lines of aiperf's records that belong to the measured phase. Its TTFT and E2E count from its own send:
    what it was late by is added.
    """
    found = Figures(client, seconds)
    for line in lines:
        metadata = line["metadata"]
        lag = (metadata["request_start_ns"] - metadata["credit_issued_ns"]) / MILLISECOND
        found.requests += 1
        found.lags.append(lag)
        if line.get("error") or metadata["was_cancelled"]:
            found.failed += 1
            for metric in METRICS:
                found.values[metric] += [math.inf] * (max(1, asked_tokens - 1) if metric == "itl" else 1)
            continue
        metrics = line["metrics"]
        found.values["ttft"].append(milliseconds(metrics, "time_to_first_token")[0] + lag)
        found.values["e2e"].append(milliseconds(metrics, "request_latency")[0] + lag)
        found.values["tpot"] += milliseconds(metrics, "inter_token_latency")
        found.values["itl"] += milliseconds(metrics, "inter_chunk_latency")
        found.prompt_tokens += count(metrics, "input_sequence_length")
        found.output_tokens += count(metrics, "output_sequence_length")
    return found


def milliseconds(metrics: Mapping, name: str) -> list[float]:
    """Nothing where a request has no such metric: a single token has no gap."""
    if name not in metrics:
        return []
    scale = {"ms": 1.0, "ns": 1e-6, "sec": 1e3, "s": 1e3}[metrics[name]["unit"]]
    value = metrics[name]["value"]
    return [one * scale for one in (value if isinstance(value, list) else [value])]


def count(metrics: Mapping, name: str) -> list[int]:
    return [int(metrics[name]["value"])] if name in metrics else []


def due(lines: Iterable[Mapping]) -> list[int]:
    """When aiperf's requests were due, in order, nanoseconds from the first."""
    instants = sorted(line["metadata"]["credit_issued_ns"] for line in lines)
    return [instant - instants[0] for instant in instants]


def row(found: Figures, slo: Slo) -> str:
    shares = [
        f"{metric} {100 * share_above(found.values[metric], limit):.1f} %" for metric, limit in slo.limits().items()
    ]
    cells = [
        found.client, found.requests, f"{found.requests / found.seconds:.2f}", found.failed,
        *(three(found.values[metric]) for metric in METRICS), ", ".join(shares), three(found.lags),
        f"{mean(found.prompt_tokens):.1f}/{mean(found.output_tokens):.1f}",
    ]  # fmt: skip
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def three(values: Sequence[float]) -> str:
    return "/".join(f"{percentile(values, percent):.1f}" for percent in PERCENTS) if values else "-"


def mean(values: Sequence[int]) -> float:
    return sum(values) / len(values) if values else math.nan


def apart(one: Figures, other: Figures) -> str:
    """How far two runs are from each other at each percentile, milliseconds and percent of the first."""

    def differences(metric: Metric) -> str:
        pairs = [(percentile(one.values[metric], p), percentile(other.values[metric], p)) for p in PERCENTS]
        return "/".join(f"{theirs - mine:+.1f} ({100 * (theirs - mine) / mine:+.1f} %)" for mine, theirs in pairs)

    return "; ".join(f"{metric.upper()} {differences(metric)}" for metric in METRICS)
