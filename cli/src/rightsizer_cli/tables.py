"""A ``Result`` as lines for a terminal: the short report and the explanation. Pure; strings from the cluster pass
``visible``."""

from collections.abc import Callable, Sequence

from rightsizer_cli.levers import in_words
from rightsizer_cli.plain import table, visible
from rightsizer_cli.result import Certificate, Figure, Learned, Repeat, Result, Rung, Side, Targets, Use
from rightsizer_operator.sizing.figures import counted

Cell = Callable[[Side], str]


def number(value: float) -> str:
    """About three significant digits, never an exponent: 0.00123, 4.57, 1,820."""
    size = abs(value)
    digits = next((d for least, d in ((100, 0), (10, 1), (1, 2), (0.01, 3)) if size >= least), 5 if size else 0)
    return f"{value:,.{digits}f}"


def stated(value: float) -> str:
    """A number that somebody chose, as they would write it: 50, 5.5, 1,500."""
    return f"{value:,.6f}".rstrip("0").rstrip(".")


def price(value: float) -> str:
    """Money as it is written on a price list: 2.50, 0.0004."""
    return f"{value:,.2f}" if value >= 0.1 or value == 0 else number(value)


def load(targets: Targets) -> str:
    """The demand with what is kept free on top."""
    kept = [f"{targets.headroom_percent} % headroom"] if targets.headroom_percent else []
    kept += [f"{targets.spare_replicas} spare"] if targets.spare_replicas else []
    return f"{stated(targets.demand_rps)} requests/s{' with ' if kept else ''}{' and '.join(kept)}"


def figure(found: Figure | None, unit: str = "", written: Callable[[float], str] = number) -> str:
    """Value, interval and evidence class; a dash where there is none."""
    if found is None:
        return "-"
    text = written(found.value) + unit
    if found.low is not None and found.high is not None:
        text += f" ({number(found.low)} to {number(found.high)})"
    return f"{text} {found.evidence}"


USES: tuple[tuple[str, Callable[[Side], Use | None]], ...] = (
    ("at the demand", lambda side: side.use_at_demand),
    ("at the rate", lambda side: side.use),
)
"""The two rates at which it is told how busy one replica was."""


def use_figure(use: Use | None, name: str, unit: str = "") -> str:
    """How busy one replica was, with the rate at which it was; a dash where that was not measured."""
    found = getattr(use, name) if use else None
    return f"{figure(found, unit)} at {number(use.at_rps)}/s" if use and found else "-"


def places(use: Use | None) -> str:
    """How much of its batch was taken; a dash where nothing says how many places it has."""
    if use is None or use.slots is None:
        return "-"
    return f"{use_figure(use, 'batch_percent', ' %')} ({stated(use.slots)} places)"


def gpu_use(use: Use | None) -> str:
    """Utilisation of its GPUs and who told it, or why it was not measured."""
    if use is None:
        return "-"
    if use.gpu_percent is None:
        return "not measured" + (f" ({visible(use.gpu_not_measured)})" if use.gpu_not_measured else "")
    more = (("tensor cores", use.tensor_percent), ("memory", use.dram_percent))
    told = ", ".join([use.gpu_source, *(f"{name} {number(found.value)} %" for name, found in more if found)])
    return use_figure(use, "gpu_percent", " %") + (f" ({visible(told)})" if told else "")


def _use_rows() -> list[tuple[str, Cell]]:
    """The same figures at both rates, one below the other."""
    cells: tuple[tuple[str, Callable[[Use | None], str]], ...] = (
        ("requests running in one replica", lambda use: use_figure(use, "running")),
        ("places of its batch taken", places),
        ("KV cache in use", lambda use: use_figure(use, "kv_cache_percent", " %")),
        ("GPU utilisation", gpu_use),
    )
    return [(f"{label}, {where}", _at(at, cell)) for label, cell in cells for where, at in USES]


def _at(use: Callable[[Side], Use | None], cell: Callable[[Use | None], str]) -> Cell:
    return lambda side: cell(use(side))


def figure_value(found: Figure | None) -> str:
    """The value alone; a dash where there is none."""
    return number(found.value) if found else "-"


# --- the short report


def report(result: Result) -> list[str]:
    """Before and after, the ladder, what the search cost."""
    head = f"{result.subject.namespace}/{result.subject.name}: {result.decision.sentence}"
    lines = [visible(head), "", *(estimates(result) or _sides(result))]
    if result.ladder:
        lines += ["", *_ladder(result.ladder)]
    lines += ["", *(["Nothing was started."] if result.decision.state == "Estimated" else _spent(result))]
    return [*lines, *learned(result), *(f"note: {visible(note)}" for note in result.notes)]


def _sides(result: Result) -> list[str]:
    named = (("BEFORE", result.before), ("AFTER", result.after), ("OBSERVED", result.observed))
    known = [(name, side) for name, side in named if side]
    if not known:
        return ["Nothing is measured yet."]
    rows = [(label, *(cell(side) for _, side in known)) for label, cell in _side_rows(result)]
    return table(("", *(name for name, _ in known)), [row for row in rows if set(row[1:]) != {"-"}])


def _side_rows(result: Result) -> list[tuple[str, Cell]]:
    unit = f" {visible(result.cost.currency)}" if result.cost else ""
    return [
        ("configuration", lambda side: visible(f"{side.candidate} ({configured(side)})")),
        ("accelerators", lambda side: f"{side.gpus} on {counted(side.replicas, 'replica')}"),
        ("rate of one replica", _rate),
        *(_latency_row(result.targets.percentile, metric, limit) for metric, limit in result.targets.limits_ms.items()),
        ("utilisation at the demand", lambda side: figure(side.utilisation_percent, " %")),
        ("headroom above the demand", lambda side: figure(side.headroom_percent, " %")),
        *_use_rows(),
        ("cost per M tokens at the demand", lambda side: figure(side.cost_per_million_tokens, unit, price)),
        ("cost per M tokens at the rate", lambda side: figure(side.cost_per_million_tokens_at_rate, unit, price)),
    ]


def configured(side: Side) -> str:
    """Engine, weights and KV cache in words."""
    return in_words(engine=side.engine, precision=side.precision, kv_cache=side.kv_cache)


def _rate(side: Side) -> str:
    return figure(side.rate_rps, "/s") + (" (certified)" if side.certified else "")


def _latency_row(percentile: int, metric: str, limit: float) -> tuple[str, Cell]:
    return f"p{percentile} {metric} (at most {stated(limit)} ms)", lambda s: figure(s.latencies_ms.get(metric), " ms")


def _ladder(rungs: Sequence[Rung]) -> list[str]:
    heading = ("LEVER", "OUTCOME", "CAPACITY", "PER ACCELERATOR", "QUALITY DROP", "COST/M AT CAPACITY")
    return table(heading, [_rung(rung) for rung in rungs])


def _rung(rung: Rung) -> tuple[str, ...]:
    drop = rung.drop_points
    return (
        visible(rung.lever) + (" *" if rung.winner else ""),
        visible(rung.outcome),
        f"{number(rung.capacity_rps.value)}/s" if rung.capacity_rps else "-",
        f"{rung.times_as_is.value:.2f}x" if rung.times_as_is else "-",
        f"{drop.value:.2f} points (at most {drop.high or 0:.2f})" if drop else "-",
        figure_value(rung.cost_per_million_tokens_at_capacity),
    )


def _spent(result: Result) -> list[str]:
    search, cost = result.search, result.cost
    text = f"The search took {search.trials} trials and {number(search.gpu_hours)} accelerator hours"
    if cost and search.money is not None:
        text += f", {price(search.money)} {visible(cost.currency)}"
    if search.payback_hours is not None:
        text += f"; it pays for itself in {number(search.payback_hours)} hours"
    lines = [text + "."]
    if cost and cost.saved_per_hour and cost.saved_percent:
        saved = (
            f"{price(cost.saved_per_hour.value)} {visible(cost.currency)} an hour ({cost.saved_percent.value:.0f} %)"
        )
        lines.append(f"Saved: {saved} {cost.saved_per_hour.evidence}.")
    return lines


# --- what was only estimated


def estimates(result: Result) -> list[str]:
    """The ranked candidates of a run of strategy Rapid; nothing for other runs."""
    if not result.estimates:
        return []
    limits = list(result.targets.limits_ms)
    metrics = (f"P{result.targets.percentile} {name.upper()}" for name in limits)
    heading = ("#", "CANDIDATE", "GPUS", "REPLICAS", "RATE/REPLICA", *metrics, "COST/M TOKENS", "BY")
    rows = [
        (
            str(plan.rank), visible(plan.candidate), str(plan.gpus), str(plan.replicas),
            f"{figure_value(plan.rate_rps)}/s",
            *(f"{figure_value(plan.latencies_ms.get(name))} ms" for name in limits),
            price(plan.cost_per_million_tokens.value) if plan.cost_per_million_tokens else "-",
            visible(plan.method),
        )
        for plan in result.estimates
    ]  # fmt: skip
    return ["Every figure is Estimated, nothing was measured, quality is not estimated:", *table(heading, rows)]


def learned(result: Result) -> list[str]:
    """What trials taught the estimator, one sentence for each engine."""
    return [f"Trials taught: {visible(taught(one))}." for one in result.learned]


def taught(found: Learned) -> str:
    """``VLLM on H100-SXM: decoding 1.30 times as long as estimated (3 trials, spread 0.05), …``."""
    parts = (
        ("reading prompts", found.prompt_factor, found.prompt_count, found.prompt_spread),
        ("decoding", found.decode_factor, found.decode_count, found.decode_spread),
    )
    said = [
        f"{name} {factor:.2f} times as long as estimated ({count} trials"
        + ("" if spread is None else f", spread {spread:.2f}") + ")"
        for name, factor, count, spread in parts if count
    ]  # fmt: skip
    return f"{found.engine} on {found.accelerator}: {', '.join(said) or 'nothing yet'}"


# --- the explanation


def explanation(result: Result) -> list[str]:
    """Why this configuration, and why not each other candidate."""
    ranked = estimates(result)
    shown = [*ranked, ""] if ranked else []
    rest = [*_minimality(result), *_busy(result), *_lessons(result), *_again(result.repeat)]
    notes = ["", *(f"note: {visible(note)}" for note in result.notes)] if result.notes else []
    return [*_why(result), "", *shown, *_why_not(result), *rest, *notes]


def _busy(result: Result) -> list[str]:
    """How busy a replica is before and after at both rates, and the queries that told of its GPUs."""
    sides = [(name, side) for name, side in (("BEFORE", result.before), ("AFTER", result.after)) if side]
    rows = [(label, *(cell(side) for _, side in sides)) for label, cell in _use_rows()]
    shown = [row for row in rows if set(row[1:]) != {"-"}]
    if not shown:
        return []
    asked = {use.gpu_query for _, side in sides for use in (side.use, side.use_at_demand) if use and use.gpu_query}
    queries = [f"Asked of Prometheus: {visible(query)}" for query in sorted(asked)]
    return ["", "How busy one replica is:", *table(("", *(name for name, _ in sides)), shown), *queries]


def _lessons(result: Result) -> list[str]:
    found = learned(result)
    return ["", *found] if found else []


def _again(repeat: Repeat | None) -> list[str]:
    if repeat is None:
        return []
    held = f"{stated(repeat.rate_rps)} requests/s for {stated(repeat.seconds)} s"
    return ["", f"To repeat the certificate, {held}, with an independent tool:", f"  {visible(repeat.command)}"]


def _why(result: Result) -> list[str]:
    decision = result.decision
    lines = [visible(f"{result.subject.name}: {decision.sentence}")]
    winner = next((c for c in result.candidates if c.candidate == decision.candidate), None)
    if winner is None:
        return lines
    lines += ["", f"Why {visible(winner.candidate)} ({visible(winner.lever)}):", f"  {visible(winner.verdict) or '-'}"]
    certificate = next((c for c in result.quality if c.candidate == winner.candidate), None)
    return [*lines, *([f"  {_certificate(certificate)}"] if certificate else [])]


def _certificate(found: Certificate) -> str:
    drop = found.drop_points
    asked = f"{found.asked} questions, {found.lost} lost and {found.won} won against the baseline"
    bounds = f"{found.confidence_percent} % bounds {drop.low or 0:.2f} to {drop.high or 0:.2f}"
    allowed = f"{stated(found.allowed_points)} allowed: {found.verdict}"
    return f"Quality: {asked}; drop {drop.value:.2f} points, {bounds}, {allowed} {drop.evidence}."


def _why_not(result: Result) -> list[str]:
    shown = {result.decision.candidate, *(plan.candidate for plan in result.estimates)}
    others = [c for c in result.candidates if c.candidate not in shown]
    if not others:
        return []
    rows = [(visible(c.candidate), visible(c.outcome), c.evidence, visible(c.verdict) or "-") for c in others]
    return ["Why not the others:", *table(("CANDIDATE", "OUTCOME", "EVIDENCE", "REASON"), rows)]


def _minimality(result: Result) -> list[str]:
    found = result.minimality
    if found is None or not found.alternatives:
        return []
    rows = [(visible(a.candidate), str(a.gpus), a.evidence, visible(a.ruled_out_by)) for a in found.alternatives]
    rest = "" if found.complete else " (not complete: Open and Estimated entries are not ruled out by measurement)"
    title = f"Why not fewer accelerators{rest}"
    return ["", f"{title}:", *table(("CANDIDATE", "ACCELERATORS", "EVIDENCE", "RULED OUT BY"), rows)]
