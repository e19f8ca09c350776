"""The sections of the page, each made from the result or left out (None) where it has nothing to say. Called by ``document``. Pure."""

from collections.abc import Callable, Sequence

from rightsizer_cli.page import charts
from rightsizer_cli.page.markup import Child, Markup, joined, tag
from rightsizer_cli.result import Certificate, Figure, Result, Rung, Side
from rightsizer_cli.tables import configured, number, stated

Section = Callable[[Result], Markup | None]


def _roles(result: Result) -> dict[str, str]:
    """How a candidate is drawn: winner, as found, or one of the others."""
    found = {rung.candidate: "found" for rung in result.ladder[:1]}
    return {**found, result.decision.candidate: "winner"} if result.decision.candidate else found


def _signed(value: float | None) -> str:
    """Percentage points with a real minus sign."""
    return f"{value or 0:.2f}".replace("-", "−")


def _figure(found: Figure | None, unit: str = "", interval: bool = True) -> Markup:
    """A figure with its interval and its evidence class."""
    if found is None:
        return joined("–")
    parts: list[Child] = [f"{number(found.value)}{unit} "]
    if interval and found.low is not None and found.high is not None:
        parts.append(tag("span", f"{number(found.low)} to {number(found.high)} ", class_="evidence"))
    return joined(*parts, tag("span", found.evidence, class_="evidence"))


def _table(heading: Sequence[Child], rows: Sequence[Markup], numbers: Sequence[int] = ()) -> Markup:
    cells = [tag("th", name, scope="col", class_="number" if i in numbers else None) for i, name in enumerate(heading)]
    return tag("div", tag("table", tag("thead", tag("tr", *cells)), tag("tbody", *rows)), class_="scroll")


def _row(first: Child, *cells: Child, numbers: Sequence[int] = (), class_: str | None = None) -> Markup:
    rest = [tag("td", cell, class_="number" if i in numbers else None) for i, cell in enumerate(cells, 1)]
    return tag("tr", tag("th", first, scope="row"), *rest, class_=class_)


def _section(title: str, *children: Child) -> Markup:
    return tag("section", tag("h2", title), *children)


# --- head


_STATES = {
    "InProgress": "in progress",
    "NothingBetter": "nothing better found",
    "Proposed": "proposed, not applied",
    "Rewriting": "being applied",
    "Applied": "applied",
    "RolledBack": "rolled back",
    "Failed": "failed",
}


def head(result: Result) -> Markup:
    subject, decision = result.subject, result.decision
    model = subject.model + (f" @ {subject.model_revision}" if subject.model_revision else "")
    kicker = f"{subject.namespace} / {subject.name} · {model} · {subject.accelerator_type or subject.accelerator}"
    status = [tag("span", _STATES[decision.state], class_="state")]
    if decision.hash:
        status.append(joined(" proposal ", tag("code", decision.hash)))
    if subject.finished_at:
        status.append(joined(f" · decided {subject.finished_at.replace('T', ' ').removesuffix('Z')} UTC"))
    return tag(
        "header",
        tag("p", kicker, class_="kicker"),
        tag("h1", decision.sentence),
        tag("p", *status),
        *(tag("p", note, class_="note") for note in result.notes),
    )


def cards(result: Result) -> Markup | None:
    """What changes, in four numbers."""
    before, after = result.before, result.after
    if before is None or after is None:
        return None
    shown = [_gpus(before, after, result), _money(before, after, result), _slowest(before, after, result)]
    certificate = next((c for c in result.quality if c.candidate == after.candidate), None)
    shown.append(_drop(certificate, result))
    return tag("div", *(card for card in shown if card), class_="cards")


def _card(title: str, was: str, now: str, below: Child) -> Markup:
    arrow = [tag("span", f"{was} → ", class_="was")] if was else []
    return tag("div", tag("h3", title), tag("div", *arrow, now, class_="big"), tag("p", below), class_="card")


def _gpus(before: Side, after: Side, result: Result) -> Markup:
    rate = f"for {stated(result.targets.demand_rps)} requests/s at the peak"
    return _card("Accelerators", str(before.gpus), str(after.gpus), rate)


def _money(before: Side, after: Side, result: Result) -> Markup | None:
    old, new = before.cost_per_million_tokens, after.cost_per_million_tokens
    if old is None or new is None or result.cost is None:
        return None
    change = f"{100 * (new.value / old.value - 1):+.0f} %".replace("-", "−") if old.value else ""
    below = joined(f"{result.cost.currency} per M output tokens at the demand, {change} ", _class(new))
    return _card("Cost", f"{old.value:.2f}", f"{new.value:.2f}", below)


def _slowest(before: Side, after: Side, result: Result) -> Markup | None:
    """The metric nearest to its limit after the change."""
    limits = {name: limit for name, limit in result.targets.limits_ms.items() if name in after.latencies_ms}
    if not limits:
        return None
    metric = max(limits, key=lambda name: after.latencies_ms[name].value / limits[name])
    old, new = before.latencies_ms.get(metric), after.latencies_ms[metric]
    below = joined(
        f"ms, at most {stated(limits[metric])}; one replica at {number(after.latencies_at_rps or 0)}/s ", _class(new)
    )
    return _card(f"p{result.targets.percentile} {metric}", number(old.value) if old else "", number(new.value), below)


def _drop(certificate: Certificate | None, result: Result) -> Markup | None:
    if certificate is None:
        return None
    drop = certificate.drop_points
    below = f"points lost, {certificate.confidence_percent} % sure of at most {drop.high or 0:.2f}; {stated(certificate.allowed_points)} allowed "
    return _card("Quality", "", _signed(drop.value), joined(below, _class(drop)))


def _class(found: Figure) -> Markup:
    return tag("span", found.evidence, class_="evidence")


# --- before and after


def sides(result: Result) -> Markup | None:
    named = [("before", result.before), ("after", result.after), ("seen on the new pods", result.observed)]
    known = [(name, side) for name, side in named if side]
    if not known:
        return None
    rows = [_row(label, *cells) for label, cells in _side_rows(result, [side for _, side in known]) if any(cells)]
    return _section("Before and after", _table(["", *(name for name, _ in known)], rows))


def _side_rows(result: Result, shown: Sequence[Side]) -> list[tuple[Child, list[Child]]]:
    unit = f" {result.cost.currency}" if result.cost else ""
    percentile = result.targets.percentile
    rows: list[tuple[Child, list[Child]]] = [
        ("configuration", [_what(side) for side in shown]),
        ("size", [f"{side.replicas} replicas, {side.gpus} accelerators" for side in shown]),
        ("rate of one replica", [_rate(side) for side in shown]),
        ("latencies at", [_at(side) for side in shown]),
    ]
    for metric, limit in result.targets.limits_ms.items():
        name = joined(f"p{percentile} {metric}", tag("span", f"at most {stated(limit)} ms", class_="small"))
        rows.append((name, [_maybe(side.latencies_ms.get(metric), " ms") for side in shown]))
    rows += [
        ("utilisation at the demand", [_maybe(side.utilisation_percent, " %") for side in shown]),
        ("cost per hour", [_maybe(side.cost_per_hour, unit) for side in shown]),
        ("cost per M output tokens, at the demand", [_maybe(side.cost_per_million_tokens, unit) for side in shown]),
        (
            "cost per M output tokens, at the rate",
            [_maybe(side.cost_per_million_tokens_at_rate, unit) for side in shown],
        ),
    ]
    return rows


def _maybe(found: Figure | None, unit: str) -> Markup | None:
    return _figure(found, unit) if found else None


def _what(side: Side) -> Markup:
    return joined(side.candidate, tag("span", configured(side), class_="small"))


def _rate(side: Side) -> Markup | None:
    if side.rate_rps is None:
        return None
    return joined(
        _figure(side.rate_rps, " requests/s"),
        tag("span", "certified" if side.certified else "not certified", class_="small"),
    )


def _at(side: Side) -> str | None:
    return f"{number(side.latencies_at_rps)} requests/s on one replica" if side.latencies_at_rps else None


# --- ladder


def ladder(result: Result) -> Markup | None:
    if not result.ladder:
        return None
    times = [rung.times_as_is for rung in result.ladder if rung.times_as_is]
    most = max([figure.high or figure.value for figure in times], default=1.0)
    unit = f", {result.cost.currency}" if result.cost else ""
    rows = [_rung(rung, most, _roles(result).get(rung.candidate, "other")) for rung in result.ladder]
    heading = ("lever", "throughput of one accelerator", "", "quality drop, points", f"cost per M tokens{unit}")
    return _section(
        "The levers, one by one",
        tag("p", "Capacity inside every target, against the configuration as found. Cost is that of one replica at its capacity; all of it is put on output tokens.", class_="lead"),
        _table(heading, rows, (2, 3, 4)),
    )  # fmt: skip


def _rung(rung: Rung, most: float, role: str) -> Markup:
    times, drop, cost = rung.times_as_is, rung.drop_points, rung.cost_per_million_tokens_at_capacity
    what = joined(rung.lever, tag("span", f"{rung.candidate}, {rung.outcome}", class_="small"))
    bar = charts.bar(times.value / most, _share(times.low, most), _share(times.high, most), role) if times else None
    factor = joined(f"{times.value:.2f}×", tag("span", _capacity(rung), class_="small")) if times else None
    quality = (
        joined(_signed(drop.value), tag("span", f"{_signed(drop.low)} to {_signed(drop.high)}", class_="small"))
        if drop
        else "–"
    )
    money = joined(number(cost.value), tag("span", cost.evidence, class_="small")) if cost else "–"
    return _row(what, bar, factor, quality, money, numbers=(2, 3, 4), class_="winner" if rung.winner else None)


def _share(value: float | None, most: float) -> float | None:
    return None if value is None else value / most


def _capacity(rung: Rung) -> str:
    return f"{number(rung.capacity_rps.value)}/s {rung.capacity_rps.evidence}" if rung.capacity_rps else ""


# --- latency, quality


def latency(result: Result) -> Markup | None:
    if not result.curves:
        return None
    targets, roles = result.targets, _roles(result)
    drawn = [
        joined(
            tag("h3", f"p{targets.percentile} {metric}, ms"),
            charts.latency(metric, limit, targets.percentile, result.curves, roles),
        )
        for metric, limit in targets.limits_ms.items()
    ]
    caption = "Every open-loop probe of one replica, Measured. Hollow: above the limit. Diamond: certification on a fresh start with a new seed. Points on the upper edge lie above it."
    return _section(
        "Latency against rate",
        tag("figure", *drawn, tag("figcaption", caption, class_="small")),
        tag("details", tag("summary", "The probes as a table"), _probes(result)),
    )


def _probes(result: Result) -> Markup:
    metrics = list(result.targets.limits_ms)
    rows = [
        _row(
            curve.candidate, point.purpose, number(point.rate_rps), str(point.requests), str(point.failed),
            *(_milliseconds(point.percentile_ms, metric) for metric in metrics), numbers=range(2, 9),
        )
        for curve in result.curves
        for point in curve.points
    ]  # fmt: skip
    heading = ["candidate", "step", "requests/s", "requests", "failed", *(f"{metric}, ms" for metric in metrics)]
    return _table(heading, rows, range(2, 9))


def _milliseconds(found: dict[str, float | None], metric: str) -> str:
    value = found.get(metric)
    return "failed" if metric in found and value is None else number(value) if value is not None else "–"


def quality(result: Result) -> Markup | None:
    if not result.quality:
        return None
    first = result.quality[0]
    text = f"The same {first.asked:,} questions for everyone, answers paired with the baseline's. Passes when the {first.confidence_percent} % upper bound of the drop is at most {stated(first.allowed_points)} points."
    heading = ("candidate", "asked", "lost", "won", "accuracy, %", "drop, points", "verdict")
    rows = [*_baseline(result), *(_certificate(found, result) for found in result.quality)]
    return _section(
        "Quality",
        tag("p", text, class_="lead"),
        tag("figure", charts.quality(result.quality, _roles(result))),
        _table(heading, rows, (1, 2, 3, 4, 5)),
    )


def _baseline(result: Result) -> list[Markup]:
    accuracy = result.baseline_accuracy_percent
    if accuracy is None:
        return []
    return [_row("as found", "", "", "", f"{accuracy.value:.2f}", "–", "baseline", numbers=(4, 5))]


def _certificate(found: Certificate, result: Result) -> Markup:
    drop = found.drop_points
    points = joined(
        _signed(drop.value),
        " ",
        tag("span", f"{_signed(drop.low)} to {_signed(drop.high)} {drop.evidence}", class_="evidence"),
    )
    accuracy = found.accuracy_percent
    cells = (f"{found.asked:,}", str(found.lost), str(found.won), f"{accuracy.value:.2f}" if accuracy else "–", points)
    winner = found.candidate == result.decision.candidate
    return _row(found.candidate, *cells, found.verdict, numbers=(1, 2, 3, 4, 5), class_="winner" if winner else None)


# --- money


def money(result: Result) -> Markup | None:
    """Cost of a million tokens at the demand and at the rate, and the API at the same traffic."""
    if result.cost is None:
        return None
    unit = result.cost.currency
    entries = [
        ("before", result.before, "found"),
        ("after", result.after, "winner"),
        ("observed", result.observed, "other"),
    ]
    rows: list[tuple[str, Figure | None, Figure | None, str]] = [
        (name, side.cost_per_million_tokens, side.cost_per_million_tokens_at_rate, role)
        for name, side, role in entries
        if side
    ]
    if result.cost.api:
        stated = Figure(value=result.cost.api.per_million_output_tokens, evidence="Estimated")
        rows.append(("the API at its list price", stated, stated, "other"))
    most = max((figure.value for row in rows for figure in row[1:3] if figure), default=1.0) or 1.0
    heading = ("", "at the demand", "", "at the rate", "")
    lines = [_cost_row(row, most) for row in rows]
    return _section(f"Cost per million output tokens, {unit}", _table(heading, lines, (2, 4)), *_money_words(result))


def _cost_row(row: tuple[str, Figure | None, Figure | None, str], most: float) -> Markup:
    name, demand, rate, role = row
    cells: list[Child] = []
    for found in (demand, rate):
        cells += [charts.bar(found.value / most, None, None, role) if found else None, _figure(found) if found else "–"]
    return _row(name, *cells, numbers=(2, 4))


def _money_words(result: Result) -> list[Markup]:
    cost, targets = result.cost, result.targets
    if cost is None:
        return []
    words = [
        f"{stated(cost.gpu_hourly)} {cost.currency} an accelerator hour; {targets.input_tokens} tokens in and {targets.output_tokens} out a request. All cost is put on output tokens. "
        "At the demand: the accelerators are paid whether they work or not. At the rate: every replica does what it sustains."
    ]
    if cost.api:
        per_hour = f"{number(cost.api.per_hour)} {cost.currency} an hour at this demand ({stated(cost.api.input_per_million)} per M tokens in, {stated(cost.api.output_per_million)} out)"
        even = (
            f"; from {number(cost.api.break_even_rps)} requests/s on the proposal is cheaper"
            if cost.api.break_even_rps
            else ""
        )
        words.append(f"The API would cost {per_hour}{even}. Estimated from the stated prices.")
    return [tag("p", text, class_="small") for text in words]


# --- reasons, proof, search


def reasons(result: Result) -> Markup | None:
    if not result.candidates:
        return None
    rows = [
        _row(
            joined(c.candidate, tag("span", c.lever, class_="small")),
            tag("span", c.outcome, class_="word"),
            joined(c.verdict or "–", tag("pre", c.log_tail) if c.log_tail else None),
            tag("span", c.evidence, class_="evidence"),
            class_="winner" if c.candidate == result.decision.candidate else None,
        )
        for c in result.candidates
    ]
    return _section("What became of each candidate", _table(("candidate", "outcome", "reason", "evidence"), rows))


def minimality(result: Result) -> Markup | None:
    if result.minimality is None or result.after is None:
        return None
    text = f"Each plan with fewer than {result.after.gpus} accelerators, and what rules it out."
    if not result.minimality.complete:
        text += " Not complete: the entries marked Open are not ruled out."
    rows = [
        _row(a.candidate, str(a.gpus), a.ruled_out_by, tag("span", a.evidence, class_="evidence"), numbers=(1,))
        for a in result.minimality.alternatives
    ]
    heading = ("candidate", "accelerators", "ruled out by", "evidence")
    return _section("Why not fewer", tag("p", text, class_="lead"), _table(heading, rows, (1,)))


def search(result: Result) -> Markup:
    found, unit = result.search, f" {result.cost.currency}" if result.cost else ""
    facts: list[tuple[str, Child]] = [
        ("trials", str(found.trials)),
        ("accelerator hours", number(found.gpu_hours)),
        ("time from start to decision", f"{number(found.wall_hours)} hours" if found.wall_hours is not None else None),
        ("price of the search", f"{number(found.money)}{unit}" if found.money is not None else None),
        (
            "paid back after",
            f"{number(found.payback_hours)} hours of the saving" if found.payback_hours is not None else None,
        ),
        ("probe, certification", f"{found.probe_seconds} s, {found.certification_seconds} s"),
    ]
    return _section("What the search cost", _facts(facts))


def _facts(facts: Sequence[tuple[str, Child]]) -> Markup:
    return tag("dl", *(joined(tag("dt", name), tag("dd", value)) for name, value in facts if value is not None))


def provenance(result: Result) -> Markup:
    """What the figures rest on, and how to repeat them."""
    versions, targets = result.versions, result.targets
    limits = ", ".join(f"{name} ≤ {stated(limit)} ms" for name, limit in targets.limits_ms.items())
    facts: list[tuple[str, Child]] = [
        ("targets", f"p{targets.percentile}: {limits}"),
        ("workload", f"{targets.input_tokens} tokens in, {targets.output_tokens} out, {targets.arrivals} arrivals, peak {stated(targets.demand_rps)} requests/s"),
        *(("image", tag("code", image)) for image in versions.images),
        ("question set", tag("code", f"sha256:{versions.question_set_sha256}") if versions.question_set_sha256 else None),
        *((f"artefact {made.recipe}", joined(tag("code", made.name), f" {made.state}, {number(made.size_bytes / 1e9)} GB ", tag("code", f"sha256:{made.sha256}") if made.sha256 else None)) for made in versions.artefacts),
    ]  # fmt: skip
    repeat = result.repeat
    again = [
        tag("p", f"The certificate, {number(repeat.rate_rps)} requests/s for {stated(repeat.seconds)} s, repeated by an independent tool:", class_="lead"),
        tag("pre", repeat.command),
    ] if repeat else []  # fmt: skip
    return _section("What it rests on", _facts(facts), *again)


ORDER: tuple[Section, ...] = (
    head, cards, sides, ladder, latency, quality, money, reasons, minimality, search, provenance,
)  # fmt: skip
