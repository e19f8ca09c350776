"""What measured trials teach about one (engine, GPU): a factor on prompts and one on decoding, each with its count and
spread. Called by ``phases``, which keeps them from run to run; the estimator takes the corrected efficiencies like any
others.

A factor says how much longer the engine takes than was estimated with the packaged efficiencies. Few trials move the
efficiencies a little, many move them fully.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rightsizer_operator.sizing.estimate.tables import Efficiencies

DOUBT = 2.0
"""How many trials the packaged efficiencies are worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One trial: what was estimated and what was measured, by the same definition and at the same rate; None where it
    was not measured."""

    estimated_ttft_ms: float
    measured_ttft_ms: float | None
    estimated_tpot_ms: float
    measured_tpot_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """On time (1: as estimated; 1.2: a fifth slower): the geometric mean of the trials, their count, and the standard
    deviation of the single logarithms; None below two trials."""

    mean: float = 1.0
    count: int = 0
    spread: float | None = None

    @property
    def trusted(self) -> float:
        """The factor that estimates are corrected by: drawn to 1 where trials are few."""
        return math.exp(math.log(self.mean) * self.count / (self.count + DOUBT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    prompt: Factor = Factor()
    decode: Factor = Factor()


def lesson(observations: Sequence[Observation]) -> Lesson:
    """What the trials teach together; raises ValueError for a time that is not above zero."""
    prompts = [(one.measured_ttft_ms, one.estimated_ttft_ms) for one in observations]
    decodes = [(one.measured_tpot_ms, one.estimated_tpot_ms) for one in observations]
    return Lesson(prompt=_factor(prompts), decode=_factor(decodes))


def _factor(pairs: Sequence[tuple[float | None, float]]) -> Factor:
    logs = [_log_ratio(measured, estimated) for measured, estimated in pairs if measured is not None]
    if not logs:
        return Factor()
    mean = sum(logs) / len(logs)
    squares = sum((one - mean) ** 2 for one in logs)
    spread = math.sqrt(squares / (len(logs) - 1)) if len(logs) > 1 else None
    return Factor(mean=math.exp(mean), count=len(logs), spread=spread)


def _log_ratio(measured: float, estimated: float) -> float:
    if measured <= 0 or estimated <= 0:
        raise ValueError(f"times must be above zero: measured {measured}, estimated {estimated}")
    return math.log(measured / estimated)


def merged(one: Lesson, other: Lesson) -> Lesson:
    """Both lessons as one, as if their trials had been seen together."""
    return Lesson(prompt=_together(one.prompt, other.prompt), decode=_together(one.decode, other.decode))


def _together(one: Factor, other: Factor) -> Factor:
    if not one.count or not other.count:
        return one if one.count else other
    count = one.count + other.count
    first, second = math.log(one.mean), math.log(other.mean)
    mean = (first * one.count + second * other.count) / count
    squares = sum((each.spread or 0.0) ** 2 * (each.count - 1) for each in (one, other))
    squares += one.count * (first - mean) ** 2 + other.count * (second - mean) ** 2
    return Factor(mean=math.exp(mean), count=count, spread=math.sqrt(squares / (count - 1)))


def corrected(of: Efficiencies, learned: Lesson) -> Efficiencies:
    """The efficiencies with the lesson applied; a share never exceeds 1."""
    prompt, decode = learned.prompt.trusted, learned.decode.trusted
    return replace(
        of,
        compute=min(1.0, of.compute / prompt),
        compute_8bit=min(1.0, of.compute_8bit / prompt),
        attention=min(1.0, of.attention / prompt),
        request_ms=of.request_ms * prompt,
        bandwidth=min(1.0, of.bandwidth / decode),
        kv_bandwidth=min(1.0, of.kv_bandwidth / decode),
        allreduce_us=of.allreduce_us * decode,
        layer_us=of.layer_us * decode,
        step_ms=of.step_ms * decode,
        sequence_us=of.sequence_us * decode,
    )
