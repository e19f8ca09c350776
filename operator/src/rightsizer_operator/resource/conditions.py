"""Conditions (Kubernetes API conventions, kstatus). ``lastTransitionTime`` moves only when the status changes."""

import datetime
from typing import Annotated, Literal

from pydantic import Field

from rightsizer_operator.resource.base import Resource, Whole

ConditionType = Literal[
    "Ready", "Reconciling", "Stalled", "Optimized", "ProposalReady", "Applied", "SLOMet", "OwnershipConflict", "Paused"
]


class Condition(Resource):
    type: ConditionType = Field(description="Type of the condition.", max_length=63)
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    reason: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=64)] = Field(
        description="CamelCase reason."
    )
    message: Annotated[str, Field(max_length=2048)] = Field(
        default="", description="What happened, and the remedy where one is needed."
    )
    last_transition_time: Annotated[str, Field(max_length=32)] = Field(
        default="", description="When the status last changed."
    )
    observed_generation: Whole = Field(default=0, description="Generation of the spec this condition speaks of.")


def rfc3339(moment: datetime.datetime) -> str:
    """Whole seconds, UTC, as Kubernetes writes times."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merged(old: tuple[Condition, ...], new: tuple[Condition, ...], now: datetime.datetime) -> tuple[Condition, ...]:
    """``new`` laid over ``old`` by type, sorted by type; a transition time stays while the status does."""
    by_type = {condition.type: condition for condition in old}
    for condition in new:
        before = by_type.get(condition.type)
        kept = before.last_transition_time if before and before.status == condition.status else rfc3339(now)
        by_type[condition.type] = condition.model_copy(update={"last_transition_time": kept})
    return tuple(by_type[name] for name in sorted(by_type))


def find(conditions: tuple[Condition, ...], type_: ConditionType) -> Condition | None:
    """The condition of that type, if set."""
    return next((condition for condition in conditions if condition.type == type_), None)
