"""HTML by construction: whatever is not already markup is escaped when it becomes a child or an attribute. Pure.

Names of elements and attributes are ours; text may come from the cluster and may be hostile.
"""

import html

from rightsizer_cli.plain import visible

_VOID = frozenset({"meta", "line", "rect", "circle", "path", "br"})


class Markup(str):
    """Text that is markup already. Made by ``tag`` and ``joined`` only."""

    __slots__ = ()


Child = Markup | str | int | float | None


def text(value: object) -> Markup:
    """``value`` as text: control characters made visible, markup escaped; tabs and line ends stay."""
    lines = [visible(line.replace("\t", "    ")) for line in str(value).split("\n")]
    return Markup(html.escape("\n".join(lines), quote=True))


def joined(*children: Child) -> Markup:
    """Children one after the other; None is left out."""
    return Markup(
        "".join(child if isinstance(child, Markup) else text(child) for child in children if child is not None)
    )


def tag(name: str, /, *children: Child, **attributes: object) -> Markup:
    """An element. ``class_`` is class, other underscores are hyphens; attributes that are None are left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not children:
        return Markup(f"<{name}{written}>" if name in ("meta", "br") else f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{joined(*children)}</{name}>")
