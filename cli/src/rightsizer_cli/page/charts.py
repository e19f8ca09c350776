"""The charts as inline SVG: latency against rate, quality intervals, bars. Pure; colours come from the style sheet's
classes.

The winner is drawn strongly, the configuration as found plainly, all others quietly: one thing to look at in each
chart.
"""

from collections.abc import Sequence

from rightsizer_cli.page.markup import Markup, joined, tag
from rightsizer_cli.page.scale import Axis, spread, ticks
from rightsizer_cli.result import Certificate, Curve, Point
from rightsizer_cli.tables import number, stated

WIDTH, HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 150, 18, 40


def _chart(title: str, height: float, *children: Markup) -> Markup:
    return tag(
        "svg", tag("title", title), *children,
        viewBox=f"0 0 {WIDTH} {height:g}", role="img", aria_label=title, class_="chart",
    )  # fmt: skip


def _label(text: str, x: float, y: float, class_: str = "", anchor: str = "start") -> Markup:
    return tag("text", text, x=x, y=y, class_=class_ or None, text_anchor=anchor)


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


# --- latency against rate


def latency(metric: str, limit: float, percentile: int, curves: Sequence[Curve], role: dict[str, str]) -> Markup:
    """The percentile of one metric over the rate of one replica, with the SLO line. ``role``: class by candidate."""
    shown = [curve for curve in curves if any(metric in point.percentile_ms for point in curve.points)]
    highest = max((point.rate_rps for curve in shown for point in curve.points), default=1.0)
    x = Axis(0, highest * 1.04, _LEFT, WIDTH - _RIGHT)
    y = Axis(0, _ceiling(metric, limit, shown), HEIGHT - _BOTTOM, _TOP)
    title = f"p{percentile} {metric} in milliseconds against the rate of one replica; the limit is {stated(limit)} ms"
    order = sorted(shown, key=lambda curve: _WEIGHT.get(role.get(curve.candidate, ""), 0))
    return _chart(
        title, HEIGHT,
        _grid(x, y), _limit(x, y, limit), _names(order, metric, x, y, role),
        *(_curve(curve, metric, limit, x, y, role.get(curve.candidate, "other")) for curve in order),
    )  # fmt: skip


_WEIGHT = {"winner": 2, "found": 1}


def _ceiling(metric: str, limit: float, curves: Sequence[Curve]) -> float:
    """A little above the limit and the values, but never so high that the limit is squeezed to the floor."""
    values = [value for curve in curves for point in curve.points if (value := point.percentile_ms.get(metric))]
    return min(limit * 1.6, max([limit * 1.15, *(value * 1.05 for value in values)]))


def _grid(x: Axis, y: Axis) -> Markup:
    rows = [
        joined(
            _line(x.start, y.at(v), x.end, y.at(v), "grid"), _label(stated(v), x.start - 8, y.at(v) + 4, "tick", "end")
        )
        for v in ticks(y.low, y.high, 5)
    ]
    columns = [_label(f"{v:g}", x.at(v), y.start + 18, "tick", "middle") for v in ticks(x.low, x.high, 6)]
    name = _label("requests/s on one replica", (x.start + x.end) / 2, y.start + 35, "axis", "middle")
    return joined(*rows, *columns, name)


def _limit(x: Axis, y: Axis, limit: float) -> Markup:
    at = y.at(limit)
    return joined(
        _line(x.start, at, x.end, at, "slo"), _label(f"limit {stated(limit)} ms", x.start + 6, at - 6, "slo-name")
    )


def _curve(curve: Curve, metric: str, limit: float, x: Axis, y: Axis, role: str) -> Markup:
    points = [point for point in curve.points if metric in point.percentile_ms]
    explored = [point for point in points if point.purpose == "Explore"]
    path = " ".join(
        f"{'M' if index == 0 else 'L'}{x.at(p.rate_rps)} {_y(p, metric, y)}" for index, p in enumerate(explored)
    )
    line = tag("path", d=path, class_=f"curve {role}") if len(explored) > 1 else None
    return joined(line, *(_point(point, metric, limit, x, y, role) for point in points))


def _y(point: Point, metric: str, y: Axis) -> float:
    """A percentile that is a failed request, or above the axis, lies on its upper edge."""
    value = point.percentile_ms.get(metric)
    return y.at(y.high if value is None else value)


def _point(point: Point, metric: str, limit: float, x: Axis, y: Axis, role: str) -> Markup:
    value = point.percentile_ms.get(metric)
    shown = "a failed request" if value is None else f"{number(value)} ms"
    held = "certification, " if point.purpose == "Certify" else ""
    hint = tag(
        "title", f"{held}{number(point.rate_rps)} requests/s: {shown}, {point.requests} requests, {point.failed} failed"
    )
    missed = value is None or value > limit
    at, up = x.at(point.rate_rps), _y(point, metric, y)
    class_ = f"point {role}" + (" missed" if missed else "")
    if point.purpose == "Certify":
        return tag("path", hint, d=f"M{at} {up - 7}l7 7l-7 7l-7 -7z", class_=class_ + " certified")
    return tag("circle", hint, cx=at, cy=up, r=3.5, class_=class_)


def _names(curves: Sequence[Curve], metric: str, x: Axis, y: Axis, role: dict[str, str]) -> Markup:
    """The candidates' names at the right, moved apart where they would overlap; of equal heights the leftmost
    is on top, so that the thin lines to the names do not cross."""
    ends = [(curve.candidate, next(p for p in reversed(curve.points) if metric in p.percentile_ms)) for curve in curves]
    ends.sort(key=lambda end: (_y(end[1], metric, y), end[1].rate_rps))
    heights = spread([_y(point, metric, y) for _, point in ends], 15, y.end, y.start)
    leads, names = [], []
    for (candidate, point), height in zip(ends, heights, strict=True):
        class_ = role.get(candidate, "other")
        start, end = x.at(point.rate_rps) + 5, x.end + 10
        leads.append(tag("path", d=f"M{start:g} {_y(point, metric, y):g}L{end:g} {height:g}", class_=f"lead {class_}"))
        names.append(_label(candidate[:22], end + 4, height + 4, f"name {class_}"))
    return joined(*leads, *names)


# --- quality


def quality(certificates: Sequence[Certificate], role: dict[str, str]) -> Markup:
    """The drop of each candidate with its interval, beside what is allowed."""
    allowed = certificates[0].allowed_points
    lows = [c.drop_points.low or 0.0 for c in certificates]
    highs = [c.drop_points.high or 0.0 for c in certificates]
    low, high = min(0.0, *lows), max(allowed, *highs)
    margin = 0.08 * ((high - low) or 1.0)
    height = _TOP + 30 * len(certificates) + _BOTTOM
    x = Axis(low - margin, high + margin, 150, WIDTH - 90)
    bottom = height - _BOTTOM
    frame = [
        *(_label(f"{v:g}", x.at(v), bottom + 18, "tick", "middle") for v in ticks(x.low, x.high, 6)),
        _label("drop against the baseline, percentage points", (x.start + x.end) / 2, bottom + 35, "axis", "middle"),
        _line(x.at(0), _TOP, x.at(0), bottom, "grid"),
        _line(x.at(allowed), _TOP - 4, x.at(allowed), bottom, "slo"),
        _label(f"{stated(allowed)} allowed", x.at(allowed) + 6, _TOP + 4, "slo-name"),
    ]
    rows = [
        _interval(c, x, _TOP + 20 + 30 * index, role.get(c.candidate, "other")) for index, c in enumerate(certificates)
    ]
    return _chart("Drop in quality of each candidate with its interval", height, *frame, *rows)


def _interval(found: Certificate, x: Axis, y: float, role: str) -> Markup:
    drop = found.drop_points
    low, high = drop.low or drop.value, drop.high or drop.value
    return joined(
        _label(found.candidate[:22], x.start - 12, y + 4, f"name {role}", "end"),
        tag("line", x1=x.at(low), y1=y, x2=x.at(high), y2=y, class_=f"interval {role}"),
        tag("circle", cx=x.at(drop.value), cy=y, r=4.5, class_=f"point {role}"),
        _label(_signed(drop.value), x.end + 12, y + 4, f"name {role}"),
    )


def _signed(points: float) -> str:
    return f"{points:.2f}".replace("-", "−")


# --- bars


def bar(share: float, low: float | None, high: float | None, role: str) -> Markup:
    """One bar of a table row, as wide as its cell; shares are 0..1, with whiskers where there is an interval."""
    x = Axis(0, 1, 0, 200)
    whiskers = _line(x.at(low), 9, x.at(high), 9, "whisker") if low is not None and high is not None else None
    body = tag("rect", x=0, y=3, width=max(1.0, x.at(share)), height=12, rx=2, class_=f"bar {role}")
    return tag(
        "svg", body, whiskers, viewBox="0 0 200 18", class_="inline", aria_hidden="true", preserveAspectRatio="none"
    )
