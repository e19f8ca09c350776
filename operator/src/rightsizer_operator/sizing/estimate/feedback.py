"""What measured trials teach about one (engine, GPU): two factors, with their count and spread. For whoever keeps them
from run to run; the estimator takes the corrected efficiencies like any others.

A trial says how much slower the engine decodes and how much slower it reads prompts than was estimated. Few trials move
the efficiencies a little, many move them fully.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rightsizer_operator.sizing.estimate.tables import Efficiencies

DOUBT = 2.0
"""How many trials the packaged efficiencies are worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One trial: what was estimated and what was measured, by the same definition and at the same rate."""

    estimated_ttft_ms: float
    measured_ttft_ms: float
    estimated_tpot_ms: float
    measured_tpot_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """Factors on time (1: as estimated; 1.2: a fifth slower), their count, and the spread of the single trials as the
    standard deviation of the factor's logarithm; None below two trials."""

    prompt_factor: float
    decode_factor: float
    count: int
    prompt_spread: float | None
    decode_spread: float | None


def lesson(observations: Sequence[Observation]) -> Lesson:
    """What the trials teach together; raises ValueError for a time that is not above zero."""
    prompts = [_log_ratio(one.measured_ttft_ms, one.estimated_ttft_ms) for one in observations]
    decodes = [_log_ratio(one.measured_tpot_ms, one.estimated_tpot_ms) for one in observations]
    return Lesson(
        prompt_factor=_shrunk(prompts),
        decode_factor=_shrunk(decodes),
        count=len(observations),
        prompt_spread=_spread(prompts),
        decode_spread=_spread(decodes),
    )


def _log_ratio(measured: float, estimated: float) -> float:
    if measured <= 0 or estimated <= 0:
        raise ValueError(f"times must be above zero: measured {measured}, estimated {estimated}")
    return math.log(measured / estimated)


def _shrunk(logs: Sequence[float]) -> float:
    return math.exp(sum(logs) / (len(logs) + DOUBT))


def _spread(logs: Sequence[float]) -> float | None:
    if len(logs) < 2:
        return None
    mean = sum(logs) / len(logs)
    return math.sqrt(sum((one - mean) ** 2 for one in logs) / (len(logs) - 1))


def corrected(of: Efficiencies, learned: Lesson) -> Efficiencies:
    """The efficiencies with the lesson applied; a share never exceeds 1."""
    prompt, decode = learned.prompt_factor, learned.decode_factor
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
