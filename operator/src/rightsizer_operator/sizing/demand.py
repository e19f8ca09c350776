"""The peak demand as Prometheus knows it: which question is asked, how its answer is read, when a new one matters.
Pure; ``cluster.prometheus`` asks, ``phases.demand`` decides.

The question is built here from the target's own namespace and name and from nothing else that a tenant writes: no
endpoint, no label, no part of a query comes from a custom resource.
"""

import math
import re
from dataclasses import dataclass

from rightsizer_operator.resource.status import PeakReading
from rightsizer_operator.resource.workload import PrometheusWorkload

COUNTERS = ("vllm:request_success_total", "trtllm_request_success_total")
"""The engines' counters of finished requests: vLLM's and TensorRT-LLM's. Both, since a rewrite may have changed the
engine inside the window."""
_SAFE = "bcdfghjklmnpqrstvwxz2456789"
"""What Kubernetes draws the hashes and random endings of pod names from."""
_HASH, _ENDING = 10, 5
_LONGEST = 58
"""Kubernetes cuts what comes before a random ending to so many characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whose demand over which window. Names are those of Kubernetes objects; labels are operator configuration."""

    namespace: str
    deployment: str
    window_hours: int
    average_minutes: int
    namespace_label: str = "namespace"
    pod_label: str = "pod"


def peak_query(asked: Question) -> str:
    """PromQL: the highest mean rate of finished requests over ``average_minutes`` within the window, all pods of the
    target together.
    """
    return f"max_over_time({_range(asked)})"


def coverage_query(asked: Question) -> str:
    """PromQL: how many of the window's steps have data."""
    return f"count_over_time({_range(asked)})"


def _range(asked: Question) -> str:
    names = _text("|".join(COUNTERS))
    namespace, pods = _text(asked.namespace), _text(pods_of(asked.deployment))
    selector = f"{{__name__=~{names},{asked.namespace_label}={namespace},{asked.pod_label}=~{pods}}}"
    mean = f"{asked.average_minutes}m"
    return f"sum(rate({selector}[{mean}]))[{asked.window_hours}h:{mean}]"


def pods_of(deployment: str) -> str:
    """A regular expression (RE2) of the names of a Deployment's pods, and of no other Deployment's."""
    cut = _LONGEST - _HASH - 2
    if len(deployment) <= cut:
        return f"{_literal(deployment)}-[{_SAFE}]{{1,{_HASH}}}-[{_SAFE}]{{{_ENDING}}}"
    # Name, hash and dashes do not fit: how much is left of the hash depends on its length.
    return f"{_literal(deployment[:_LONGEST])}[{_SAFE}-]{{0,{_HASH + 1}}}[{_SAFE}]{{{_ENDING}}}"


def _literal(name: str) -> str:
    """A name as a regular expression: of what may stand in one, only the dot means something."""
    return re.escape(name).replace("\\-", "-")


def _text(value: str) -> str:
    """A PromQL string literal."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def single(result: object) -> float | None:
    """The value of an instant vector of one series; None for an empty one.

    Raises ValueError for anything else, NaN and infinity included.
    """
    if not isinstance(result, list) or len(result) > 1:
        raise ValueError("it is not one number")
    if not result:
        return None
    value = result[0].get("value") if isinstance(result[0], dict) else None
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("it is not one number")
    number = float(str(value[1]))
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"it is {number}")
    return number


def coverage_percent(steps: float, asked: Question) -> float:
    """Share of the window that has data, in percent."""
    return min(100.0, 100 * steps * asked.average_minutes / (asked.window_hours * 60))


def usable(peak: PeakReading | None, asked: PrometheusWorkload) -> PeakReading | None:
    """A known reading, where it answers what is asked now."""
    if peak is None or (peak.window_hours, peak.average_minutes) != (asked.window_hours, asked.average_minutes):
        return None
    return peak


def drifted(known_rps: float, now_rps: float, tolerance_percent: float) -> bool:
    """Whether a peak differs so much from the known one that a search made for that no longer answers."""
    return abs(now_rps - known_rps) > known_rps * tolerance_percent / 100
