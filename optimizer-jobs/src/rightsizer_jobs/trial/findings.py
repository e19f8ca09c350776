"""What a trial knows so far, and the stop that ends it. Whatever happens, a report is made from here."""

import time
from dataclasses import dataclass, field

from pydantic import JsonValue

from rightsizer_jobs.contract import (
    REASON_LIMIT,
    REPLAYED_LIMIT,
    Answers,
    Capacity,
    ClientHealth,
    EngineUse,
    Metric,
    Probe,
    Saturation,
    TrialAssignment,
    TrialOutcome,
    TrialReport,
)
from rightsizer_jobs.loadgen.metrics import rounded
from rightsizer_jobs.workload import TraceFacts

SEVERAL = 1.05
"""Tokens a chunk from which on it is said: some tokens have no text of their own in any engine."""


class Stop(Exception):
    """The trial ends here with an outcome and its reason."""

    def __init__(self, outcome: TrialOutcome, reason: str) -> None:
        super().__init__(f"{outcome}: {reason}")
        self.outcome: TrialOutcome = outcome
        self.reason = reason


@dataclass(slots=True)
class Findings:
    """Filled step by step; ``started`` is the monotonic second at which the client began."""

    assignment: TrialAssignment
    started: float = field(default_factory=time.monotonic)
    ready_s: float | None = None
    engine_starts: tuple[float | None, ...] = ()
    idle_ms: dict[Metric, float] | None = None
    answers: Answers | None = None
    saturation: Saturation | None = None
    probes: list[Probe] = field(default_factory=list)
    capacity: Capacity | None = None
    use: EngineUse | None = None
    use_at_demand: EngineUse | None = None
    client: ClientHealth | None = None
    records: str | None = None
    replayed: str = ""
    """What an engine says it replays."""
    trace: TraceFacts | None = None
    model: dict[str, JsonValue] | None = None
    source_fingerprint: str | None = None
    use_held: bool = False
    tokens_per_chunk: float = 1.0
    """Of the last probe."""
    verdict: Stop | None = None
    """Set when all is measured that it rests on."""

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started

    @property
    def answer_s(self) -> float:
        """What one answer takes on the idle engine; a second where nothing was measured."""
        return (self.idle_ms or {}).get("e2e", 1000.0) / 1000

    def left_s(self) -> float:
        """Seconds until the deadline of the whole trial."""
        return self.assignment.deadlines.total_s - self.elapsed_s

    def used(self, use: EngineUse, held: bool) -> None:
        """Keep it at the largest rate that held; until one has, at the last one probed."""
        better = held and (not self.use_held or self.use is None or use.rate_rps >= self.use.rate_rps)
        if better or not self.use_held:
            self.use, self.use_held = use, held

    def ended(self, stop: Stop) -> Stop:
        """How the trial ends: with its verdict where it has one; what came after that costs only its own figure."""
        if self.verdict is None:
            return stop
        return Stop(self.verdict.outcome, f"{self.verdict.reason}; use at the demand not measured: {stop.reason}")

    def report(self, outcome: TrialOutcome, reason: str) -> TrialReport:
        assignment = self.assignment
        return TrialReport(
            purpose=assignment.purpose,
            candidate=assignment.candidate,
            attempt=assignment.attempt,
            seed=assignment.seed,
            outcome=outcome,
            reason=shorten(reason),
            ready_s=None if self.ready_s is None else rounded(self.ready_s),
            engine_start=next((start for start in self.engine_starts if start is not None), None),
            engine_s=round(self.elapsed_s, 1),
            idle_ms=self.idle_ms,
            answers=self.answers,
            saturation=self.saturation,
            probes=tuple(self.probes),
            capacity=self.capacity and short_capacity(self.capacity),
            use=self.use,
            use_at_demand=self.use_at_demand,
            client=self.client,
            tokens_per_chunk=rounded(self.tokens_per_chunk) if self.tokens_per_chunk > SEVERAL else None,
            records=self.records,
            replayed=clean(self.replayed)[:REPLAYED_LIMIT] or None,
            trace=self.trace,
            model=self.model,
            source_fingerprint=self.source_fingerprint,
        )


def short_capacity(capacity: Capacity) -> Capacity:
    """Figures rounded to what they are worth."""
    return Capacity(
        rate_rps=rounded(capacity.rate_rps),
        standard_error=rounded(capacity.standard_error),
        lower_rps=rounded(capacity.lower_rps),
        slope=rounded(capacity.slope),
        variance_inflation=rounded(capacity.variance_inflation),
        bound=capacity.bound,
    )


def shorten(reason: str) -> str:
    """Cut to what the report takes."""
    text = clean(reason)
    return text if len(text) <= REASON_LIMIT else text[: REASON_LIMIT - 3] + "..."


def clean(text: str) -> str:
    """Without lone surrogates, which an engine's JSON may spell and no report can hold."""
    return text.encode(errors="replace").decode()
