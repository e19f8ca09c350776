"""What a search may do next, as values. ``measure`` and ``choose`` return one, ``advance`` turns it into a Step."""

from dataclasses import dataclass

from rightsizer_operator.actions import Manifest
from rightsizer_operator.sizing.ranking import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Create a Job. ``reason`` is one of ``resource.reasons``."""

    job: Manifest
    phase: str
    reason: str
    activity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    phase: str
    reason: str
    activity: str
    wake_after_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Propose:
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclude:
    """The search ends without a proposal. ``good``: nothing is left to be done, the baseline stays."""

    phase: str
    reason: str
    message: str
    good: bool = False


Move = Start | Wait | Propose | Conclude
