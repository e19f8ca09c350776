"""The top of the page: the decision, four numbers, before and after. Called by ``document``. Pure."""

from collections.abc import Callable, Sequence

from rightsizer_cli.page.markup import Child, Markup, joined, tag
from rightsizer_cli.page.parts import figure, row, section, signed, table
from rightsizer_cli.result import Certificate, Figure, Result, Side, Use
from rightsizer_cli.tables import USES, configured, load, number, price, stated
from rightsizer_operator.sizing.figures import counted

# --- head


_STATES = {
    "InProgress": "in progress",
    "Estimated": "estimated, nothing was measured",
    "NothingBetter": "nothing better found",
    "Exhausted": "ended without a proposal",
    "Superseded": "superseded",
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
    shown.append(_drop(certificate))
    return tag("div", *(card for card in shown if card), class_="cards")


def _card(title: str, was: str, now: str, below: Child) -> Markup:
    arrow = [tag("span", f"{was} → ", class_="was")] if was else []
    return tag("div", tag("h3", title), tag("div", *arrow, now, class_="big"), tag("p", below), class_="card")


def _gpus(before: Side, after: Side, result: Result) -> Markup:
    rate = f"for {load(result.targets)} at the peak"
    return _card("Accelerators", str(before.gpus), str(after.gpus), rate)


def _money(before: Side, after: Side, result: Result) -> Markup | None:
    old, new = before.cost_per_million_tokens, after.cost_per_million_tokens
    if old is None or new is None or result.cost is None:
        return None
    change = f"{100 * (new.value / old.value - 1):+.0f} %".replace("-", "−") if old.value else ""
    below = joined(f"{result.cost.currency} per M output tokens at the demand, {change} ", _class(new))
    return _card("Cost", price(old.value), price(new.value), below)


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


def _drop(certificate: Certificate | None) -> Markup | None:
    if certificate is None:
        return None
    drop = certificate.drop_points
    bound = f"{certificate.confidence_percent} % sure of at most {signed(drop.high)}"
    below = f"points lost, {bound}; {stated(certificate.allowed_points)} allowed "
    return _card("Quality", "", signed(drop.value), joined(below, _class(drop)))


def _class(found: Figure) -> Markup:
    return tag("span", found.evidence, class_="evidence")


# --- before and after


def sides(result: Result) -> Markup | None:
    named = [("before", result.before), ("after", result.after), ("seen on the new pods", result.observed)]
    known = [(name, side) for name, side in named if side]
    if not known:
        return None
    rows = [row(label, *cells) for label, cells in _side_rows(result, [side for _, side in known]) if any(cells)]
    return section("Before and after", table(["", *(name for name, _ in known)], rows))


def _side_rows(result: Result, shown: Sequence[Side]) -> list[tuple[Child, list[Child]]]:
    unit = f" {result.cost.currency}" if result.cost else ""
    percentile = result.targets.percentile
    rows: list[tuple[Child, list[Child]]] = [
        ("configuration", [_what(side) for side in shown]),
        ("size", [f"{counted(side.replicas, 'replica')}, {counted(side.gpus, 'accelerator')}" for side in shown]),
        ("rate of one replica", [_rate(side) for side in shown]),
        ("latencies at", [_at(side) for side in shown]),
    ]
    for metric, limit in result.targets.limits_ms.items():
        name = joined(f"p{percentile} {metric}", tag("span", f"at most {stated(limit)} ms", class_="small"))
        rows.append((name, [_maybe(side.latencies_ms.get(metric), " ms") for side in shown]))
    rows += [
        ("utilisation at the demand", [_maybe(side.utilisation_percent, " %") for side in shown]),
        ("headroom above the demand", [_maybe(side.headroom_percent, " %") for side in shown]),
        *_use_rows(shown),
        ("cost per hour", [_maybe(side.cost_per_hour, unit, price) for side in shown]),
        (
            "cost per M output tokens, at the demand",
            [_maybe(side.cost_per_million_tokens, unit, price) for side in shown],
        ),
        (
            "cost per M output tokens, at the rate",
            [_maybe(side.cost_per_million_tokens_at_rate, unit, price) for side in shown],
        ),
    ]
    return rows


def _maybe(found: Figure | None, unit: str, written: Callable[[float], str] = number) -> Markup | None:
    return figure(found, unit, written) if found else None


def _use_rows(shown: Sequence[Side]) -> list[tuple[Child, list[Child]]]:
    """The same figures at the demand and at the rate."""
    cells: tuple[tuple[str, Callable[[Use], Markup | None]], ...] = (
        ("requests running in one replica", lambda use: _use(use, "running", "")),
        ("places of its batch taken", _places),
        ("KV cache in use", lambda use: _use(use, "kv_cache_percent", " %")),
        ("GPU utilisation", _gpu),
    )
    return [
        (f"{label}, {where}", [cell(use) if (use := at(side)) else None for side in shown]) for label, cell in cells
        for where, at in USES
    ]  # fmt: skip


def _use(use: Use, name: str, unit: str, more: str = "") -> Markup | None:
    found = getattr(use, name)
    if found is None:
        return None
    return joined(figure(found, unit), tag("span", f"at {number(use.at_rps)} requests/s{more}", class_="small"))


def _places(use: Use) -> Markup | None:
    return _use(use, "batch_percent", " %", f", of {stated(use.slots)} places") if use.slots else None


def _gpu(use: Use) -> Markup | None:
    if use.gpu_percent is None:
        return joined("not measured", tag("span", use.gpu_not_measured, class_="small"))
    more = (("tensor cores", use.tensor_percent), ("memory", use.dram_percent))
    told = "".join(f", {name} {number(found.value)} %" for name, found in more if found)
    source = f", {use.gpu_source}" if use.gpu_source else ""
    return joined(
        _use(use, "gpu_percent", " %", source + told),
        tag("span", use.gpu_query, class_="small") if use.gpu_query else "",
    )


def _what(side: Side) -> Markup:
    return joined(side.candidate, tag("span", configured(side), class_="small"))


def _rate(side: Side) -> Markup | None:
    if side.rate_rps is None:
        return None
    return joined(
        figure(side.rate_rps, " requests/s"),
        tag("span", "certified" if side.certified else "not certified", class_="small"),
    )


def _at(side: Side) -> str | None:
    return f"{number(side.latencies_at_rps)} requests/s on one replica" if side.latencies_at_rps else None
