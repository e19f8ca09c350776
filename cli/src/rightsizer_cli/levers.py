"""Words and counts derived from one candidate's trials: which lever it pulls, its probes, its accuracy. Called by
``assemble``. Pure."""

import base64
import math
from collections.abc import Sequence

from rightsizer_cli.result import Curve, Figure, Point
from rightsizer_operator.resource.run import Batching, Candidate, TrialRecord
from rightsizer_operator.sizing import verdicts

_PRECISIONS = {
    "AsIs": "weights as found",
    "BF16": "BF16 weights",
    "FP8": "FP8 weights",
    "INT8": "INT8 weights and activations",
    "INT8W8A16": "INT8 weights",
    "INT4": "INT4 weights",
}


_ENGINES = {"VLLM": "vLLM", "TensorRTLLM": "TensorRT-LLM"}


def in_words(*, engine: str, precision: str, kv_cache: str) -> str:
    """A configuration for people: ``vLLM, INT8 weights and activations, FP8 KV cache``."""
    cache = f"{kv_cache} KV cache" if kv_cache not in ("", "Auto") else ""
    words = (_ENGINES.get(engine, engine), _PRECISIONS.get(precision, precision), cache)
    return ", ".join(word for word in words if word)


def lever(candidate: Candidate) -> str:
    """What the candidate changes, in words: ``INT8 weights and activations, FP8 KV cache, tensor parallelism 2``."""
    parts = [_PRECISIONS.get(candidate.precision, candidate.precision)]
    if candidate.kv_cache not in ("", "Auto"):
        parts.append(f"{candidate.kv_cache} KV cache")
    if candidate.max_num_seqs:
        parts.append(f"at most {candidate.max_num_seqs} requests in a batch")
    if candidate.batching is not None:
        parts += _batching(candidate.batching)
    if candidate.parallelism > 1:
        parts.append(f"tensor parallelism {candidate.parallelism}")
    if candidate.engine == "TensorRTLLM":
        parts.append(_ENGINES[candidate.engine])
    return "as found" if parts == [_PRECISIONS["AsIs"]] else ", ".join(parts)


def _batching(settings: Batching) -> list[str]:
    words = {
        "at most {} tokens a step": settings.max_num_batched_tokens,
        "{} % of the memory": settings.memory_percent,
        "CUDA graphs up to {} requests": settings.graph_size,
    }
    found = [text.format(value) for text, value in words.items() if value is not None]
    if settings.chunked_prefill is not None:
        found.append("prompts in chunks" if settings.chunked_prefill else "prompts uncut")
    return found


def curve(candidate: str, trials: Sequence[TrialRecord]) -> Curve | None:
    """Every probe of the candidate that is evidence, by rate."""
    points: list[Point] = []
    for record in trials:
        report = verdicts.report_of(record) if record.subject == candidate else None
        if report is None or record.outcome in verdicts.NO_EVIDENCE or record.purpose not in ("Explore", "Certify"):
            continue
        points += [
            Point(
                purpose=record.purpose,
                rate_rps=probe.rate_rps,
                seconds=probe.seconds,
                requests=probe.requests,
                failed=probe.failed,
                percentile_ms={name: value if value >= 0 else None for name, value in probe.p_ms.items()},
                violations=dict(probe.violations),
                aborted=probe.aborted,
            )
            for probe in report.probes
        ]
    return Curve(candidate=candidate, points=tuple(sorted(points, key=lambda p: p.rate_rps))) if points else None


def accuracy(candidate: str, trials: Sequence[TrialRecord]) -> Figure | None:
    """Share of right answers in percent with its 95 % Wilson interval; None where the candidate's own trial
    asked nothing."""
    for record in trials:
        report = verdicts.report_of(record) if record.subject == candidate else None
        if report and report.answers and report.answers.asked and record.outcome not in verdicts.NO_EVIDENCE:
            right = _ones(report.answers.correct)
            low, high = wilson(right, report.answers.asked)
            share = 100 * right / report.answers.asked
            return Figure(value=share, evidence="Measured", low=100 * low, high=100 * high)
    return None


def _ones(packed: str) -> int:
    try:
        return sum(byte.bit_count() for byte in base64.b64decode(packed, validate=True))
    except ValueError:
        return 0


def wilson(right: int, asked: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % score interval of a share, both ends in 0..1; ``asked`` is at least 1."""
    right = min(right, asked)
    share, scale = right / asked, 1 + z * z / asked
    centre = (share + z * z / (2 * asked)) / scale
    half = z * math.sqrt(share * (1 - share) / asked + z * z / (4 * asked * asked)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)
