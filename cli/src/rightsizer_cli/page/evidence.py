"""What was measured: the ladder of levers, latency against rate, quality. Called by ``document``. Pure."""

from rightsizer_cli.page import charts
from rightsizer_cli.page.markup import Markup, joined, tag
from rightsizer_cli.page.parts import figure, roles, row, section, signed, table
from rightsizer_cli.result import Certificate, Result, Rung
from rightsizer_cli.tables import number, price, stated

# --- estimates


_ESTIMATED = (
    "Computed from the model, the accelerator's data sheet and the engine's batching rules: every figure is Estimated, "
    "nothing was started. Quality is not estimated. A change is proposed only after strategy Thorough has measured it."
)


def estimates(result: Result) -> Markup | None:
    if not result.estimates:
        return None
    metrics, unit = list(result.targets.limits_ms), f", {result.cost.currency}" if result.cost else ""
    rows = [
        row(
            joined(plan.candidate, tag("span", plan.lever, class_="small")),
            str(plan.gpus), str(plan.replicas), figure(plan.rate_rps, "/s"),
            *(figure(plan.latencies_ms.get(metric)) for metric in metrics),
            figure(plan.cost_per_million_tokens, written=price), plan.method.lower(),
            numbers=range(1, 5 + len(metrics)),
        )
        for plan in result.estimates
    ]  # fmt: skip
    heading = ["candidate", "accelerators", "replicas", "rate of one replica",
               *(f"p{result.targets.percentile} {metric}, ms" for metric in metrics),
               f"cost per M tokens{unit}", "by"]  # fmt: skip
    return section(
        "Estimated candidates, best first",
        tag("p", _ESTIMATED, class_="lead"),
        table(heading, rows, range(1, 5 + len(metrics))),
    )


# --- ladder


_LADDER = (
    "Capacity inside every target, against the configuration as found. "
    "Cost is that of one replica at its capacity; all of it is put on output tokens."
)
_PROBES = (
    "Every open-loop probe of one replica, {evidence}. Hollow: above the limit. Diamond: certification on a fresh "
    "start with a new seed. Points on the upper edge lie above it."
)


def ladder(result: Result) -> Markup | None:
    if not result.ladder:
        return None
    times = [rung.times_as_is for rung in result.ladder if rung.times_as_is]
    most = max([figure.high or figure.value for figure in times], default=1.0)
    unit = f", {result.cost.currency}" if result.cost else ""
    rows = [_rung(rung, most, roles(result).get(rung.candidate, "other")) for rung in result.ladder]
    heading = ("lever", "throughput of one accelerator", "", "quality drop, points", f"cost per M tokens{unit}")
    return section(
        "The levers, one by one",
        tag("p", _LADDER, class_="lead"),
        table(heading, rows, (2, 3, 4)),
    )


def _rung(rung: Rung, most: float, role: str) -> Markup:
    times, drop, cost = rung.times_as_is, rung.drop_points, rung.cost_per_million_tokens_at_capacity
    what = joined(rung.lever, tag("span", f"{rung.candidate}, {rung.outcome}", class_="small"))
    bar = charts.bar(times.value / most, _share(times.low, most), _share(times.high, most), role) if times else None
    factor = joined(f"{times.value:.2f}×", tag("span", _capacity(rung), class_="small")) if times else None
    quality = (
        joined(signed(drop.value), tag("span", f"{signed(drop.low)} to {signed(drop.high)}", class_="small"))
        if drop
        else "–"
    )
    money = joined(number(cost.value), tag("span", cost.evidence, class_="small")) if cost else "–"
    return row(what, bar, factor, quality, money, numbers=(2, 3, 4), class_="winner" if rung.winner else None)


def _share(value: float | None, most: float) -> float | None:
    return None if value is None else value / most


def _capacity(rung: Rung) -> str:
    return f"{number(rung.capacity_rps.value)}/s {rung.capacity_rps.evidence}" if rung.capacity_rps else ""


# --- latency, quality


def latency(result: Result) -> Markup | None:
    if not result.curves:
        return None
    targets, drawn_as = result.targets, roles(result)
    drawn = [
        joined(
            tag("h3", f"p{targets.percentile} {metric}, ms"),
            charts.latency(metric, limit, targets.percentile, result.curves, drawn_as),
        )
        for metric, limit in targets.limits_ms.items()
    ]
    return section(
        "Latency against rate",
        tag("figure", *drawn, tag("figcaption", _PROBES.format(evidence=_evidence(result)), class_="small")),
        tag("details", tag("summary", "The probes as a table"), _probes(result)),
    )


def _evidence(result: Result) -> str:
    return "Replayed" if result.replayed else "Measured"


def _probes(result: Result) -> Markup:
    metrics = list(result.targets.limits_ms)
    rows = [
        row(
            curve.candidate, point.purpose, number(point.rate_rps), str(point.requests), str(point.failed),
            *(_milliseconds(point.percentile_ms, metric) for metric in metrics), numbers=range(2, 9),
        )
        for curve in result.curves
        for point in curve.points
    ]  # fmt: skip
    heading = ["candidate", "step", "requests/s", "requests", "failed", *(f"{metric}, ms" for metric in metrics)]
    return table(heading, rows, range(2, 9))


def _milliseconds(found: dict[str, float | None], metric: str) -> str:
    value = found.get(metric)
    return "failed" if metric in found and value is None else number(value) if value is not None else "–"


def quality(result: Result) -> Markup | None:
    if not result.quality:
        return None
    first = result.quality[0]
    rule = f"the {first.confidence_percent} % upper bound of the drop is at most {stated(first.allowed_points)} points"
    text = f"The same {first.asked:,} questions for everyone, answers paired with the baseline's. Passes when {rule}."
    heading = ("candidate", "asked", "lost", "won", "accuracy, %", "drop, points", "verdict")
    rows = [*_baseline(result), *(_certificate(found, result) for found in result.quality)]
    return section(
        "Quality",
        tag("p", text, class_="lead"),
        tag("figure", charts.quality(result.quality, roles(result))),
        table(heading, rows, (1, 2, 3, 4, 5)),
    )


def _baseline(result: Result) -> list[Markup]:
    accuracy = result.baseline_accuracy_percent
    if accuracy is None:
        return []
    return [row("as found", "", "", "", f"{accuracy.value:.2f}", "–", "baseline", numbers=(4, 5))]


def _certificate(found: Certificate, result: Result) -> Markup:
    drop = found.drop_points
    points = joined(
        signed(drop.value),
        " ",
        tag("span", f"{signed(drop.low)} to {signed(drop.high)} {drop.evidence}", class_="evidence"),
    )
    accuracy = found.accuracy_percent
    cells = (f"{found.asked:,}", str(found.lost), str(found.won), f"{accuracy.value:.2f}" if accuracy else "–", points)
    winner = found.candidate == result.decision.candidate
    return row(found.candidate, *cells, found.verdict, numbers=(1, 2, 3, 4, 5), class_="winner" if winner else None)
