"""What the sections are made of: tables, rows, figures with their evidence class. Called by the sections. Pure."""

from collections.abc import Callable, Sequence

from rightsizer_cli.page.markup import Child, Markup, joined, tag
from rightsizer_cli.result import Figure, Result
from rightsizer_cli.tables import number

Section = Callable[[Result], Markup | None]


def roles(result: Result) -> dict[str, str]:
    """How a candidate is drawn: winner, as found, or one of the others."""
    found = {rung.candidate: "found" for rung in result.ladder[:1]}
    return {**found, result.decision.candidate: "winner"} if result.decision.candidate else found


def signed(value: float | None) -> str:
    """Percentage points with a real minus sign."""
    return f"{value or 0:.2f}".replace("-", "−")


def figure(found: Figure | None, unit: str = "", written: Callable[[float], str] = number) -> Markup:
    """A figure with its interval and its evidence class."""
    if found is None:
        return joined("–")
    parts: list[Child] = [f"{written(found.value)}{unit} "]
    if found.low is not None and found.high is not None:
        parts.append(tag("span", f"{number(found.low)} to {number(found.high)} ", class_="evidence"))
    return joined(*parts, tag("span", found.evidence, class_="evidence"))


def table(heading: Sequence[Child], rows: Sequence[Markup], numbers: Sequence[int] = ()) -> Markup:
    cells = [tag("th", name, scope="col", class_="number" if i in numbers else None) for i, name in enumerate(heading)]
    return tag("div", tag("table", tag("thead", tag("tr", *cells)), tag("tbody", *rows)), class_="scroll")


def row(first: Child, *cells: Child, numbers: Sequence[int] = (), class_: str | None = None) -> Markup:
    rest = [tag("td", cell, class_="number" if i in numbers else None) for i, cell in enumerate(cells, 1)]
    return tag("tr", tag("th", first, scope="row"), *rest, class_=class_)


def section(title: str, *children: Child) -> Markup:
    return tag("section", tag("h2", title), *children)
