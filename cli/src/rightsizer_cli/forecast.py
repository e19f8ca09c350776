"""A plan as a document, a table, CSV or a page. Called by ``plan``. Pure; strings from files pass ``visible``.

Every figure is Estimated, and every form says so.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rightsizer_cli import __version__
from rightsizer_cli.page import parts
from rightsizer_cli.page.markup import Markup, tag
from rightsizer_cli.plain import table, visible
from rightsizer_cli.tables import number, price
from rightsizer_operator.sizing.estimate.questions import Question
from rightsizer_operator.sizing.estimate.ranking import EVIDENCE, Planned

METRICS = ("ttft", "itl", "tpot", "e2e")
NOTICE = "Every figure is Estimated: computed offline, nothing was measured. Quality is not estimated at all."


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """One plan with what it was asked. ``question`` is None where the GPU is unknown: nothing could be estimated."""

    name: str
    model: str
    gpu: str
    question: Question | None
    candidates: tuple[Planned, ...] = ()
    notes: tuple[str, ...] = ()
    currency: str = "USD"
    today: int | None = None
    """Accelerators that the target holds as its manifest has them."""

    @property
    def ranked(self) -> tuple[Planned, ...]:
        return tuple(plan for plan in self.candidates if plan.gpus)

    @property
    def excluded(self) -> tuple[Planned, ...]:
        return tuple(plan for plan in self.candidates if not plan.gpus)


def wire(found: Forecast) -> dict[str, object]:
    """The plan as JSON and YAML hold it; absent instead of null."""
    document: dict[str, object] = {
        "schemaVersion": "rightsizer.dev/plan/v1",
        "evidence": EVIDENCE,
        "name": found.name,
        "model": found.model,
        "accelerator": found.gpu,
    }
    if found.question:
        asked = found.question
        document["asked"] = {
            "percentile": asked.percentile,
            "limitsMs": asked.limits_ms,
            "inputTokens": asked.input_tokens,
            "outputTokens": asked.output_tokens,
            "requestRate": asked.demand_rps,
            "headroomPercent": asked.headroom_percent,
            "spareReplicas": asked.spare_replicas,
        }
    if found.today:
        document["gpusToday"] = found.today
    document["candidates"] = [_entry(rank, plan) for rank, plan in _numbered(found)]
    document["currency"] = found.currency
    document["notes"] = [NOTICE, *found.notes]
    return document


def _numbered(found: Forecast) -> list[tuple[int | None, Planned]]:
    ranked = [(rank, plan) for rank, plan in enumerate(found.ranked, 1)]
    return [*ranked, *((None, plan) for plan in found.excluded)]


def _entry(rank: int | None, plan: Planned) -> dict[str, object]:
    choice, room = plan.choice, plan.room
    entry: dict[str, object | None] = {
        "rank": rank,
        "id": choice.id,
        "engine": choice.engine,
        "precision": choice.precision,
        "kvCache": choice.kv_cache,
        "parallelism": choice.parallelism,
        "maxNumSeqs": choice.max_num_seqs,
        "evidence": plan.evidence,
        "method": plan.method or None,
        "excludedBy": plan.reason or None,
        "replicas": plan.replicas or None,
        "gpus": plan.gpus or None,
        "rateOfOneReplica": _short(plan.rate_rps) if plan.gpus else None,
        "latenciesMs": {metric: _short(value) for metric, value in plan.latencies_ms.items()} or None,
        "costPerHour": _short(plan.cost_per_hour),
        "costPerMillionTokens": _short(plan.cost_per_million_tokens),
    }
    if room:
        entry["memoryGib"] = {"weights": _short(room.weights_gib), "kvCache": _short(room.kv_gib)}
        entry["kvTokens"] = room.kv_tokens
    return {key: value for key, value in entry.items() if value is not None}


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


_HEADING = (
    "rank", "id", "engine", "precision", "kvCache", "parallelism", "maxNumSeqs", "evidence", "method", "replicas",
    "gpus", "rateOfOneReplica", "ttftMs", "itlMs", "tpotMs", "e2eMs", "costPerHour", "costPerMillionTokens",
    "weightsGib", "kvGib", "kvTokens", "excludedBy",
)  # fmt: skip


def as_csv(found: Forecast) -> str:
    """One line per candidate; empty where there is nothing to say."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _HEADING, lineterminator="\n")
    writer.writeheader()
    for rank, plan in _numbered(found):
        entry = _entry(rank, plan)
        latencies = {f"{metric}Ms": _short(value) for metric, value in plan.latencies_ms.items()}
        room = {"weightsGib": _short(plan.room.weights_gib), "kvGib": _short(plan.room.kv_gib)} if plan.room else {}
        cells = {key: value for key, value in {**entry, **latencies, **room}.items() if key in _HEADING}
        writer.writerow({key: visible(value) for key, value in cells.items()})
    return text.getvalue().rstrip("\n")


_COLUMNS = ("CANDIDATE", "GPUS", "REPLICAS", "RATE/REPLICA", "TTFT", "ITL", "TPOT", "E2E", "COST/M", "KV TOKENS", "BY")


def as_table(found: Forecast, columns: int = 0) -> list[str]:
    """Ranked candidates, then each excluded one with its reason."""
    lines = [visible(sentence(found)), NOTICE, *(f"note: {visible(note)}" for note in found.notes)]
    if found.ranked:
        heading = [found.currency + "/M TOKENS" if name == "COST/M" else name for name in _COLUMNS]
        lines += ["", *table(heading, [_cells(plan) for plan in found.ranked], columns)]
    if found.excluded:
        reasons = [(visible(plan.choice.id), visible(plan.reason)) for plan in found.excluded]
        lines += ["", *table(("EXCLUDED", "WHY"), reasons, columns)]
    return lines


def _cells(plan: Planned) -> tuple[str, ...]:
    latencies = tuple(number(plan.latencies_ms[metric]) for metric in METRICS)
    cost = "-" if plan.cost_per_million_tokens is None else price(plan.cost_per_million_tokens)
    tokens = f"{plan.room.kv_tokens:,}" if plan.room else "-"
    return (
        visible(plan.choice.id), str(plan.gpus), str(plan.replicas), f"{number(plan.rate_rps)}/s", *latencies, cost,
        tokens, plan.method,
    )  # fmt: skip


def sentence(found: Forecast) -> str:
    """The result in one sentence."""
    head = f"{found.name or 'plan'}: {found.model} on {found.gpu}: "
    if found.question is None:
        return head + "not estimated"
    if not found.ranked:
        return head + "nothing could be ranked"
    best = found.ranked[0]
    before = f"{found.today} -> " if found.today else ""
    return head + f"{before}{best.gpus} {'GPU' if best.gpus == 1 else 'GPUs'} with {best.choice.id}, Estimated"


def page(found: Forecast) -> str:
    """The plan as a self-contained HTML document."""
    style = Markup((Path(parts.__file__).with_name("style.css")).read_text(encoding="utf-8"))
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", sentence(found)),
        tag("style", style),
    )
    notes = [tag("p", note, class_="note") for note in (NOTICE, *found.notes)]
    sections = [_ranked_section(found), _excluded_section(found)]
    body = tag("main", tag("h1", sentence(found)), *notes, *sections, tag("footer", f"Rightsizer {__version__}"))
    return "<!doctype html>\n" + tag("html", head, tag("body", body), lang="en")


def _ranked_section(found: Forecast) -> Markup | None:
    if not found.ranked:
        return None
    numbers = range(1, len(_COLUMNS) - 1)
    lines = [_row(_cells(plan), numbers) for plan in found.ranked]
    heading = (
        "Candidate", "GPUs", "Replicas", "Requests/s of a replica", "TTFT, ms", "ITL, ms", "TPOT, ms", "E2E, ms",
        f"{found.currency} per million output tokens", "KV tokens", "By",
    )  # fmt: skip
    return parts.section("Ranked candidates", parts.table(heading, lines, list(numbers)))


def _excluded_section(found: Forecast) -> Markup | None:
    if not found.excluded:
        return None
    lines = [_row((plan.choice.id, plan.reason), ()) for plan in found.excluded]
    return parts.section("Excluded candidates", parts.table(("Candidate", "Why"), lines))


def _row(cells: Sequence[str], numbers: Sequence[int]) -> Markup:
    return parts.row(cells[0], *cells[1:], numbers=numbers)
