"""What it costs, why not otherwise, and what it rests on. Called by ``document``. Pure."""

from collections.abc import Sequence

from rightsizer_cli.page import charts
from rightsizer_cli.page.markup import Child, Markup, joined, tag
from rightsizer_cli.page.parts import figure, row, section, table
from rightsizer_cli.result import Api, ArtefactResult, Figure, Peak, Repeat, Result
from rightsizer_cli.tables import load, number, price, stated, taught

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
    return section(f"Cost per million output tokens, {unit}", table(heading, lines, (2, 4)), *_money_words(result))


def _cost_row(entry: tuple[str, Figure | None, Figure | None, str], most: float) -> Markup:
    name, demand, rate, role = entry
    cells: list[Child] = []
    for found in (demand, rate):
        cells += [
            charts.bar(found.value / most, None, None, role) if found else None,
            figure(found, written=price) if found else "–",
        ]
    return row(name, *cells, numbers=(2, 4))


_COST = (
    "All cost is put on output tokens. At the demand: the accelerators are paid whether they work or not. "
    "At the rate: every replica does what it sustains."
)


def _money_words(result: Result) -> list[Markup]:
    cost, targets = result.cost, result.targets
    if cost is None:
        return []
    lengths = f"{targets.input_tokens} tokens in and {targets.output_tokens} out a request"
    words = [f"{price(cost.gpu_hourly)} {cost.currency} an accelerator hour; {lengths}. {_COST}"]
    if cost.api:
        words.append(f"The API would cost {_api(cost.api, cost.currency)}. Estimated from the stated prices.")
    return [tag("p", text, class_="small") for text in words]


def _api(api: Api, currency: str) -> str:
    prices = f"{price(api.input_per_million)} per M tokens in, {price(api.output_per_million)} out"
    text = f"{price(api.per_hour)} {currency} an hour at this demand ({prices})"
    if api.break_even_rps is None:
        return text
    return f"{text}; from {number(api.break_even_rps)} requests/s on the proposal is cheaper"


# --- reasons, proof, search


def reasons(result: Result) -> Markup | None:
    if not result.candidates:
        return None
    rows = [
        row(
            joined(c.candidate, tag("span", c.lever, class_="small")),
            tag("span", c.outcome, class_="word"),
            joined(c.verdict or "–", tag("pre", c.log_tail) if c.log_tail else None),
            tag("span", c.evidence, class_="evidence"),
            class_="winner" if c.candidate == result.decision.candidate else None,
        )
        for c in result.candidates
    ]
    return section("What became of each candidate", table(("candidate", "outcome", "reason", "evidence"), rows))


def minimality(result: Result) -> Markup | None:
    if result.minimality is None or result.after is None:
        return None
    text = f"Each plan with fewer than {result.after.gpus} accelerators, and what rules it out."
    if not result.minimality.complete:
        text += " Not complete: the entries marked Open are not ruled out, those marked Estimated only by an estimate."
    rows = [
        row(a.candidate, str(a.gpus), a.ruled_out_by, tag("span", a.evidence, class_="evidence"), numbers=(1,))
        for a in result.minimality.alternatives
    ]
    heading = ("candidate", "accelerators", "ruled out by", "evidence")
    return section("Why not fewer", tag("p", text, class_="lead"), table(heading, rows, (1,)))


def search(result: Result) -> Markup:
    found, unit = result.search, f" {result.cost.currency}" if result.cost else ""
    facts: list[tuple[str, Child]] = [
        ("trials", str(found.trials)),
        ("accelerator hours", number(found.gpu_hours)),
        ("time from start to decision", f"{number(found.wall_hours)} hours" if found.wall_hours is not None else None),
        ("price of the search", f"{price(found.money)}{unit}" if found.money is not None else None),
        (
            "paid back after",
            f"{number(found.payback_hours)} hours of the saving" if found.payback_hours is not None else None,
        ),
        ("probe, certification", f"{found.probe_seconds} s, {found.certification_seconds} s"),
        *(("trials taught the estimator", taught(one)) for one in result.learned),
    ]
    return section("What the search cost", _facts(facts))


def _facts(facts: Sequence[tuple[str, Child]]) -> Markup:
    return tag("dl", *(joined(tag("dt", name), tag("dd", value)) for name, value in facts if value is not None))


def provenance(result: Result) -> Markup:
    """What the figures rest on, and how to repeat them."""
    versions, targets = result.versions, result.targets
    limits = ", ".join(f"{name} ≤ {stated(limit)} ms" for name, limit in targets.limits_ms.items())
    lengths = f"{targets.input_tokens} tokens in, {targets.output_tokens} out, {targets.arrivals} arrivals"
    facts: list[tuple[str, Child]] = [
        ("targets", f"p{targets.percentile}: {limits}"),
        ("workload", f"{lengths}, peak {load(targets)}"),
        ("peak read from", _peak(targets.peak)),
        *(("image", tag("code", image)) for image in versions.images),
        ("question set", _digest(versions.question_set_sha256)),
        *((f"artefact {made.recipe}", _artefact(made)) for made in versions.artefacts),
    ]
    return section("What it rests on", _facts(facts), *_again(result.repeat))


def _peak(read: Peak | None) -> Markup | None:
    if read is None:
        return None
    covered = f", data for {number(read.coverage_percent)} % of them" if read.coverage_percent is not None else ""
    mean = f"highest mean over {read.average_minutes} minutes of {read.window_hours} h"
    return joined(f"Prometheus at {read.read_at}: {mean}{covered}", tag("pre", read.query))


def _digest(sha256: str) -> Markup | None:
    return tag("code", f"sha256:{sha256}") if sha256 else None


def _artefact(made: ArtefactResult) -> Markup:
    return joined(tag("code", made.name), f" {made.state}, {number(made.size_bytes / 1e9)} GB ", _digest(made.sha256))


def _again(repeat: Repeat | None) -> list[Markup]:
    if repeat is None:
        return []
    held = f"{number(repeat.rate_rps)} requests/s for {stated(repeat.seconds)} s"
    return [
        tag("p", f"The certificate, {held}, repeated by an independent tool:", class_="lead"),
        tag("pre", repeat.command),
    ]
