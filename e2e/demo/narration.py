"""What the demo says while it runs: one line when something changed, taken from the two resources as any user
can read them. Pure.
"""

from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]


def lines(before: Object, after: Object) -> Iterator[str]:
    """What changed between two looks, each look being {"infdep": ..., "optrun": ...} (either may be missing)."""
    old, new = (look.get("infdep") or {} for look in (before, after))
    was, is_now = ((thing.get("status") or {}).get("activity", "") for thing in (old, new))
    if is_now and is_now != was:
        yield is_now
    yield from _candidates(before.get("optrun") or {}, after.get("optrun") or {})
    yield from _conditions(old, new)


def _candidates(old: Object, new: Object) -> Iterator[str]:
    known = {entry["id"]: entry for entry in (old.get("status") or {}).get("candidates") or []}
    for entry in (new.get("status") or {}).get("candidates") or []:
        earlier = known.get(entry["id"], {})
        if entry.get("outcome") not in ("Pending", "Running", earlier.get("outcome")):
            yield f"candidate {entry['id']}: {entry['outcome']}: {entry.get('verdict', '')}"


def _conditions(old: Object, new: Object) -> Iterator[str]:
    known = {entry["type"]: entry for entry in (old.get("status") or {}).get("conditions") or []}
    for entry in (new.get("status") or {}).get("conditions") or []:
        earlier = known.get(entry["type"])
        if earlier is None and entry["status"] != "True":
            continue  # how a condition begins is no news
        if earlier is None or (entry["status"], entry["reason"]) != (earlier["status"], earlier["reason"]):
            yield f"{entry['type']}={entry['status']} ({entry['reason']})"
