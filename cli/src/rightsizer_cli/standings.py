"""Each candidate in the result: its rung of the ladder, its quality certificate, what became of it; the proof.
Called by ``assemble``. Pure."""

from typing import Literal

from rightsizer_cli import levers, money, result, sides
from rightsizer_cli.inputs import Run
from rightsizer_cli.result import Figure
from rightsizer_operator.resource.base import number
from rightsizer_operator.resource.run import Candidate, CandidateStatus
from rightsizer_operator.sizing import proof, race, verdicts

UNMEASURED = ("Void", "Pending", "Running", "Unsupported")
"""Outcomes without evidence, whatever the attempts."""


def ladder(run: Run) -> tuple[result.Rung, ...]:
    """As found first, then each measured lever; a candidate without any figure has no rung."""
    base = sides.capacity(run.entry(verdicts.AS_IS))
    winner = run.status.proposal.candidate if run.status.proposal else ""
    rungs = [_rung(run, candidate, base, winner) for candidate in run.candidates]
    return tuple(rung for rung in rungs if rung.capacity_rps or rung.drop_points)


def _rung(run: Run, candidate: Candidate, base: Figure | None, winner: str) -> result.Rung:
    entry = run.entry(candidate.id)
    capacity = sides.capacity(entry)
    per_gpu = candidate.serving.accelerators if candidate.serving else 1
    found_per_gpu = run.inputs.baseline.serving.accelerators or 1
    return result.Rung(
        candidate=candidate.id,
        lever=levers.lever(candidate),
        capacity_rps=capacity,
        times_as_is=_times(capacity, base, found_per_gpu / (per_gpu or 1)),
        saturation_rps=_measured(entry.saturation_rps),
        drop_points=_drop(entry),
        cost_per_million_tokens_at_capacity=money.at_capacity(run, capacity, per_gpu),
        outcome=entry.outcome,
        winner=candidate.id == winner,
    )


def _times(capacity: Figure | None, base: Figure | None, scale: float) -> Figure | None:
    """Throughput per accelerator against the configuration as found."""
    if capacity is None or base is None or base.value <= 0:
        return None
    low, high = capacity.low or capacity.value, capacity.high or capacity.value
    return Figure(
        value=capacity.value / base.value * scale,
        evidence="Measured",
        low=low / (base.high or base.value) * scale,
        high=high / (base.low or base.value) * scale,
    )


def _measured(quantity: str | None) -> Figure | None:
    return None if quantity is None else Figure(value=number(quantity), evidence="Measured")


def _drop(entry: CandidateStatus) -> Figure | None:
    if entry.quality is None:
        return None
    quality = entry.quality
    return Figure(
        value=float(quality.drop_points),
        evidence="Measured",
        low=float(quality.lower_points),
        high=float(quality.upper_points),
    )


def certificate(run: Run, candidate: Candidate) -> result.Certificate | None:
    entry = run.entry(candidate.id)
    drop, quality = _drop(entry), entry.quality
    if drop is None or quality is None or drop.low is None or drop.high is None:
        return None
    rule = run.inputs.accepted.quality
    allowed = number(rule.max_drop_points)
    return result.Certificate(
        candidate=candidate.id,
        asked=quality.asked,
        lost=quality.lost,
        won=quality.won,
        accuracy_percent=levers.accuracy(candidate.id, run.status.trials),
        drop_points=drop,
        allowed_points=allowed,
        confidence_percent=rule.confidence_percent,
        verdict=_settled(entry.outcome, drop.high, allowed),
        question_set_sha256=quality.set_sha256,
    )


def _settled(outcome: str, high: float, allowed: float) -> Literal["Pass", "Fail", "Undecided"]:
    """The operator's word, which it settled before it rounded the bounds: it says every failure, and each one that
    succeeded has passed. Where another outcome hides the word, no more than the rounded bound leaves certain.
    """
    if outcome == "FailedQuality":
        return "Fail"
    passed = outcome == "Succeeded" or (outcome != "Undecided" and high < allowed)
    return "Pass" if passed else "Undecided"


def candidate_result(run: Run, candidate: Candidate) -> result.CandidateResult:
    entry = run.entry(candidate.id)
    excluded = bool(candidate.excluded) or entry.outcome == "Unsupported"
    tails = [record.log_tail for record in run.status.trials if record.subject == candidate.id and record.log_tail]
    return result.CandidateResult(
        candidate=candidate.id,
        lever=levers.lever(candidate),
        engine=candidate.engine,
        precision=candidate.precision,
        kv_cache=candidate.kv_cache,
        outcome="Unsupported" if excluded else entry.outcome,
        verdict=entry.verdict or candidate.excluded,
        attempts=entry.attempts,
        evidence=_evidence(entry, candidate),
        log_tail=tails[-1] if tails and entry.outcome in ("EngineFailed", "EngineHung") else "",
    )


def _evidence(entry: CandidateStatus, candidate: Candidate) -> Literal["Measured", "Estimated", "Rule", "None"]:
    """A rule is one that the candidate carries: weights that could not be made, combinations left out and attempts
    that were all void say nothing of it.
    """
    if entry.verdict.startswith(race.NOT_TRIED):
        return "Estimated"
    if candidate.excluded and candidate.id != verdicts.MORE:
        return "Rule"
    if entry.attempts and entry.outcome not in UNMEASURED:
        return "Measured"
    return "Estimated" if entry.estimate else "None"


def estimates(run: Run) -> tuple[result.EstimatedPlan, ...]:
    """What a run of strategy Rapid ranks, best first."""
    known = {candidate.id: candidate for candidate in run.candidates}
    found = [_estimated(entry, known.get(entry.id)) for entry in run.status.candidates]
    return tuple(sorted((plan for plan in found if plan), key=lambda plan: plan.rank))


def _estimated(entry: CandidateStatus, candidate: Candidate | None) -> result.EstimatedPlan | None:
    plan, estimate = entry.configuration, entry.estimate
    if plan is None or estimate is None or estimate.rank is None:
        return None
    return result.EstimatedPlan(
        rank=estimate.rank,
        candidate=entry.id,
        lever=levers.lever(candidate) if candidate else entry.id,
        method=estimate.method,
        replicas=plan.replicas,
        gpus=plan.gpus,
        rate_rps=sides.figure(estimate.rate_rps, "Estimated"),
        latencies_ms=sides.latencies(plan, "Estimated"),
        latencies_at_rps=number(plan.latencies_at_rps) if plan.latencies_at_rps else None,
        cost_per_million_tokens=sides.figure(plan.cost_per_million_tokens, "Estimated"),
        kv_tokens=estimate.kv_tokens,
    )


def learned(run: Run) -> tuple[result.Learned, ...]:
    """Factors by engine, as the run has them."""
    return tuple(
        result.Learned.model_validate(entry.model_dump()) for entry in run.status.efficiencies or run.inputs.learned
    )


def minimality(run: Run) -> result.Minimality | None:
    if run.status.proposal is None and not run.status.proof:
        return None
    return result.Minimality(
        complete=bool(run.status.proof) and proof.complete(run.status.proof),
        alternatives=tuple(
            result.Alternative(
                candidate=entry.candidate,
                replicas=entry.replicas,
                gpus=entry.gpus,
                ruled_out_by=entry.ruled_out_by,
                evidence=entry.evidence,
                needed_rps=number(entry.needed_rps) if entry.needed_rps else None,
                shown_rps=number(entry.shown_rps) if entry.shown_rps else None,
            )
            for entry in run.status.proof
        ),
    )


def chunked(run: Run) -> list[str]:
    """A note where trials saw several output tokens in a content chunk, of the last trial of each candidate."""
    seen: dict[str, float] = {}
    for record in run.status.trials:
        report = verdicts.report_of(record)
        if report is not None and report.probes:
            seen[record.subject] = report.tokens_per_chunk or 1.0
    several = [f"{subject} {tokens:.3g}" for subject, tokens in seen.items() if tokens > 1]
    if not several:
        return []
    return [
        f"Tokens a chunk: {', '.join(several)}. Where it is not one, ITL is the gap between chunks, not between "
        "tokens; TPOT counts tokens for every engine."
    ]
