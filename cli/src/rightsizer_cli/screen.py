"""A ``Summary`` as lines for a terminal: the list, and one resource in detail. Pure; every string from the cluster
passes ``visible``."""

from collections.abc import Sequence

from rightsizer_cli.plain import BOLD, DIM, GREEN, RED, YELLOW, painted, shortened, table, visible
from rightsizer_cli.summary import CandidateLine, Side, Summary

_OUTCOME_COLOURS = {
    "Succeeded": GREEN,
    "Running": BOLD,
    "Pending": DIM,
    "Estimated": BOLD,
    "Unsupported": DIM,
    "MissedSLO": YELLOW,
    "CannotBeat": YELLOW,
    "Undecided": YELLOW,
    "FailedQuality": RED,
    "EngineFailed": RED,
    "EngineHung": RED,
}


def listing(summaries: Sequence[Summary], namespaces: bool, columns: int = 0) -> list[str]:
    """One line per resource."""
    heading = ("NAME", "MODE", "PHASE", "GPUS", "COST/M TOKENS", "PROPOSAL", "ACTIVITY")
    rows = [_listed(summary) for summary in summaries]
    if not namespaces:
        return table(heading, rows, columns)
    return table(
        ("NAMESPACE", *heading), [(visible(s.namespace), *row) for s, row in zip(summaries, rows, strict=True)], columns
    )


def _listed(summary: Summary) -> tuple[str, ...]:
    return (
        visible(summary.name),
        visible(summary.mode),
        visible(summary.phase or "-"),
        visible(summary.proposal_gpus or summary.current.gpus or "-"),
        visible(summary.proposal_cost or summary.current.cost_per_million_tokens or "-"),
        visible(summary.proposal_hash or "-") + (" (approved)" if summary.approved else ""),
        visible(summary.stalled or summary.activity or "-"),
    )


def detail(summary: Summary, colours: bool, columns: int = 0) -> list[str]:
    """One resource with everything that is going on; lines are cut to ``columns`` (0: never)."""
    title = painted(visible(summary.name), BOLD, colours) + f"  namespace {visible(summary.namespace)}"
    lines = [title, "", *_facts(summary, colours, columns)]
    if summary.candidates:
        lines += ["", *_candidate_table(summary.candidates, colours, columns)]
    return [*lines, "", *_decision(summary, colours)]


def _facts(summary: Summary, colours: bool, columns: int) -> list[str]:
    mode = summary.mode + (" (paused)" if summary.paused else "")
    facts = [
        ("target", f"Deployment {summary.target}, mode {mode}"),
        ("targets", "; ".join(part for part in (summary.slo, summary.demand) if part)),
        ("phase", summary.phase or "not looked at yet: is the operator running? (kubectl rightsizer doctor)"),
        ("activity", summary.activity),
        ("run", _spent(summary)),
        ("left", summary.remaining),
    ]
    if summary.stalled:
        facts.append(("stalled", summary.stalled))
    return [_fact(name, visible(text), colours, columns) for name, text in facts if text]


def _fact(name: str, text: str, colours: bool, columns: int) -> str:
    room = columns - 11
    cut = shortened(text, room) if room > 8 and name != "stalled" else text
    return painted(f"{name:<9}", RED if name == "stalled" else DIM, colours) + "  " + cut


def _spent(summary: Summary) -> str:
    if not summary.run:
        return ""
    if summary.rapid:
        return f"{summary.run}: estimates only, nothing is started"
    spent = (
        f"{summary.run}: trial {summary.trials_used} of at most {summary.max_trials}, {summary.gpu_hours:.2f} GPU hours"
    )
    return spent + (f", {summary.money} {summary.currency}" if summary.money else "")


def _candidate_table(candidates: Sequence[CandidateLine], colours: bool, columns: int) -> list[str]:
    heading = ("CANDIDATE", "OUTCOME", "CAPACITY", "QUALITY DROP", "GPUS", "COST/M", "VERDICT")
    return table(heading, [_candidate(candidate, colours) for candidate in candidates], columns)


def _candidate(candidate: CandidateLine, colours: bool) -> tuple[str, ...]:
    capacity = f"{candidate.capacity_rps}/s" if candidate.capacity_rps else "-"
    if candidate.capacity_rps and candidate.capacity_error_percent:
        capacity += f" ± {candidate.capacity_error_percent} %"
    if candidate.estimated_rps and not candidate.capacity_rps:
        capacity = f"{candidate.estimated_rps}/s Estimated"
    drop = f"{candidate.drop_points} (≤ {candidate.upper_points})" if candidate.drop_points else "-"
    return (
        visible(candidate.id),
        painted(visible(candidate.outcome), _OUTCOME_COLOURS.get(candidate.outcome, BOLD), colours),
        visible(capacity),
        visible(drop),
        visible(candidate.gpus or "-"),
        visible(candidate.cost_per_million_tokens or "-"),
        visible(candidate.verdict or "-"),
    )


def _decision(summary: Summary, colours: bool) -> list[str]:
    lines = (
        [_fact("serves", visible(_side(summary.current, summary.currency)), colours, 0)] if summary.current.gpus else []
    )
    if summary.proposal is None:
        none = "none: Rapid estimates only; set spec.search.strategy to Thorough" if summary.rapid else "none yet"
        return [*lines, _fact("proposal", none, colours, 0)]
    proposed = f"{summary.proposal_hash}  {_side(summary.proposal, summary.currency)}"
    lines.append(_fact("proposal", painted(visible(proposed), GREEN, colours), colours, 0))
    gains = [("GPUs", summary.proposal_gpus), ("cost per M tokens", summary.proposal_cost)]
    gains.append(("quality drop", summary.proposal_quality))
    gains.append(("size:", summary.proposal_sizing))
    lines.append(_fact("", "; ".join(f"{name} {visible(value)}" for name, value in gains if value), colours, 0))
    if summary.mode == "Manual" and not summary.approved:
        command = f"kubectl rightsizer approve {summary.name} -n {summary.namespace}"
        lines.append(_fact("approve", visible(command), colours, 0))
    return lines


def _side(side: Side, currency: str) -> str:
    parts = [f"{side.candidate or 'as found'} on {side.gpus} GPUs, {side.replicas} replicas", side.latencies]
    if side.cost_per_million_tokens:
        parts.append(f"{side.cost_per_million_tokens} {currency} per M output tokens")
    text = ", ".join(part for part in parts if part)
    return f"{text} [{side.evidence}]" if side.evidence else text
