"""Text for a terminal: tables, and strings from the cluster with every control character escaped. Pure.

Whatever comes from the cluster passes ``visible`` before it is printed: a log line or a label must not move the
cursor, recolour the screen, or reverse the reading direction.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_OURS = re.compile(r"\x1b\[[0-9;]*m")

BOLD, DIM, RED, GREEN, YELLOW, BLUE = "1", "2", "31", "32", "33", "34"


def visible(value: object) -> str:
    """``value`` as text in which every character is a printable one; the others are written as ``\\xNN`` or
    ``\\uNNNN``."""
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _UNPRINTABLE:
        return character
    return character.encode("unicode_escape").decode("ascii")


def painted(text: str, colour: str, colours: bool) -> str:
    """``text`` in a colour of the terminal's palette, or as it is."""
    return f"\x1b[{colour}m{text}\x1b[0m" if colours and colour and text else text


def width(text: str) -> int:
    """Columns that ``text`` takes; our own colour codes take none, wide East Asian characters two."""
    bare = _OURS.sub("", text)
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in bare)


def shortened(text: str, columns: int) -> str:
    """``text`` cut to ``columns``, with an ellipsis; text must hold no colour codes."""
    if columns < 1 or width(text) <= columns:
        return text
    kept = text
    while width(kept) > columns - 1:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def table(heading: Sequence[str], rows: Iterable[Sequence[str]], columns: int = 0) -> list[str]:
    """Lines of an aligned table; the last column is cut where the line would be longer than ``columns`` (0: never)."""
    lines = [list(heading), *(list(row) for row in rows)]
    widths = [max(width(line[index]) for line in lines) for index in range(len(heading) - 1)]
    return [_row(line, widths, columns) for line in lines]


def _row(cells: Sequence[str], widths: Sequence[int], columns: int) -> str:
    start = "".join(cell + " " * (size - width(cell) + 3) for cell, size in zip(cells[:-1], widths, strict=True))
    left = columns - width(start)
    last = cells[-1] if columns <= 0 or left < 8 else shortened(cells[-1], left)
    return (start + last).rstrip()


def as_json(value: object) -> str:
    """JSON in which everything outside ASCII is escaped, so that it is safe on a terminal too."""
    return json.dumps(value, indent=2)


def as_yaml(value: object) -> str:
    """YAML with the same property."""
    import yaml  # 50 ms: only where it is asked for

    return yaml.safe_dump(value, sort_keys=False, width=120).rstrip("\n")


def structured(value: object, form: str) -> str:
    """``value`` as ``json`` or ``yaml``."""
    return as_yaml(value) if form == "yaml" else as_json(value)
