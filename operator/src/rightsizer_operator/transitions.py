"""What changed between two sets of conditions, for the log. Pure."""

from rightsizer_operator.resource.conditions import Condition


def transitions(old: tuple[Condition, ...], new: tuple[Condition, ...]) -> list[dict[str, str]]:
    """One line per condition whose status or reason changed; a changed message alone is no transition."""
    before = {condition.type: (condition.status, condition.reason) for condition in old}
    return [
        {"condition": c.type, "status": c.status, "reason": c.reason, "detail": c.message}
        for c in new
        if before.get(c.type) != (c.status, c.reason)
    ]
