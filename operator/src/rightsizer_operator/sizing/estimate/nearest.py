"""Where no candidate is ranked: which input is nearest to allowing one, and what to do about it. Called by the CLI;
pure.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rightsizer_operator.sizing.estimate import capacity, memory, questions, ranking
from rightsizer_operator.sizing.estimate.failures import DoesNotFit, NotEstimable
from rightsizer_operator.sizing.estimate.questions import Choice, Question
from rightsizer_operator.sizing.estimate.ranking import FIT, MORE, Planned

LOOSER = (1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 3.0, 5.0)
"""Factors by which a limit is loosened to see what it takes."""
CANDIDATES = 5
"""How many of those nearest to the limits are looked at."""
MOST_GPUS = 64
"""Of one replica, as ``questions`` combines them."""


def nothing_ranked(asked: Question, found: Sequence[Planned]) -> NotEstimable | None:
    """The input that keeps every candidate out, with a remedy that was tried on the estimator where it states a figure.
    None where a candidate is ranked, or there is none."""
    if not found or any(plan.gpus for plan in found):
        return None
    if problem := ranking.unreachable(asked, found):
        return problem
    able = [plan for plan in found if plan.alone_ms and not capacity.missed(asked, plan.alone_ms)]
    if able:
        return _no_rate(asked, able)
    short = [plan for plan in found if plan.reason.startswith(FIT)]
    return _too_large(asked, short) if short else _ruled_out(found[0])


def _no_rate(asked: Question, able: Sequence[Planned]) -> NotEstimable:
    """Single requests hold every limit, but no rate does."""
    nearest = [plan.choice for plan in sorted(able, key=lambda plan: _strain(asked, plan))[:CANDIDATES]]
    for metric, looser in _loosened(asked):
        best = ranking.estimated(replace(asked, limits_ms={**asked.limits_ms, metric: looser}), nearest)[0]
        if best.gpus:
            alone = best.alone_ms[metric]
            return NotEstimable(
                f"spec.slo.{metric}Ms",
                f"no rate above zero holds {asked.limits_ms[metric]:g} ms, although one request alone does "
                f"({alone:.4g} ms with {best.choice.id})",
                f"Allow {looser:g} ms, shorten the request, or {MORE}.",
            )
    return NotEstimable(
        "spec.slo", "no rate above zero holds all limits, although one request alone does",
        f"Relax several limits together, shorten the request, or {MORE}.",
    )  # fmt: skip


def _loosened(asked: Question) -> Iterator[tuple[str, float]]:
    """One limit at a time, by as little as possible; whole milliseconds, as the resource takes them."""
    for factor in LOOSER:
        for metric, limit in asked.limits_ms.items():
            yield metric, float(math.ceil(limit * factor))


def _strain(asked: Question, plan: Planned) -> float:
    return max(plan.alone_ms[metric] / limit for metric, limit in asked.limits_ms.items())


def _too_large(asked: Question, short: Sequence[Planned]) -> NotEstimable:
    """Nothing that a rule allows fits into memory."""
    nearest = min(short, key=lambda plan: memory.accelerator_weight_bytes(questions.configured(asked, plan.choice)))
    enough = _enough(asked)
    more = f"Allow {enough.parallelism} (as {enough.id} needs), " if enough else "More per replica do not help; "
    return NotEstimable(
        "spec.search.maxGPUsPerReplica",
        f"no candidate fits on up to {asked.most_gpus}; nearest: {nearest.choice.id}, which {nearest.reason}",
        f"{more}allow narrower weights in spec.search.precisions, or take GPUs with more memory.",
    )


def _enough(asked: Question) -> Choice | None:
    """The choice on the fewest accelerators of one replica, above what the search allows, that is ranked; else that
    fits."""
    wider = replace(asked, most_gpus=MOST_GPUS)
    fitting = [one for one in questions.choices(wider) if one.parallelism > asked.most_gpus and _fits(wider, one)]
    fitting.sort(key=lambda one: one.parallelism)
    for _, group in itertools.groupby(fitting, key=lambda one: one.parallelism):
        best = ranking.estimated(wider, group)[0]
        if best.gpus:
            return best.choice
    return fitting[0] if fitting else None


def _fits(asked: Question, choice: Choice) -> bool:
    if questions.rule_against(asked, choice):
        return False
    try:
        memory.memory(questions.configured(asked, choice), asked.input_tokens + asked.output_tokens)
    except DoesNotFit:
        return False
    return True


def _ruled_out(first: Planned) -> NotEstimable:
    return NotEstimable(
        "spec.search",
        f"a rule excludes every candidate; {first.choice.id}: {first.reason}",
        "Allow other engines, precisions or more GPUs per replica in spec.search, or ask of another GPU (--gpu).",
    )
