"""Where each candidate stands, computed from the trials' reports and nothing else. Called by ``phases`` and
``figures``.

The operator recomputes what a Job concluded with the same statistics: a Job measures, it does not decide.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rightsizer_jobs import stats
from rightsizer_jobs.contract import Answers, Capacity, CompressReport, Probe, Slo, TrialReport, load_report
from rightsizer_jobs.workload import TraceFacts
from rightsizer_operator.resource.base import number
from rightsizer_operator.resource.run import Candidate, Outcome, RunSpec, TrialRecord
from rightsizer_operator.resource.spec import SloSpec
from rightsizer_operator.resource.status import GpuReading
from rightsizer_operator.sizing import gpus

AS_IS = "as-is"
ORIGINAL = "original"
"""The configuration before the first rewrite, where the target runs an artefact of ours now: quality is held against
it, so that
drops do not add up from run to run."""
MORE = "more"
"""Stands for the combinations that a run has no place for."""
NO_EVIDENCE = ("Void", "Error")
"""Outcomes that say nothing about the candidate: the trial is repeated."""
STEP_DOWN = 0.96
MAX_STEP_DOWNS = 3
BROKEN = ("EngineFailed", "EngineHung")
FALSE_ALARM = 0.05
"""Chance with which a good roll-out may be called bad by its first verification."""

Verdict = Literal["Pass", "Fail", "Inconclusive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One candidate: outcome so far, and what one replica may be credited with."""

    candidate: Candidate
    outcome: Outcome = "Pending"
    reason: str = ""
    attempts: int = 0
    certify_attempts: int = 0
    bar_rps: float | None = None
    """The rate to beat of the deciding trial."""
    report: TrialReport | None = None
    quality: stats.QualityVerdict | None = None
    capacity: Capacity | None = None
    rate_rps: float = 0.0
    """Certified rate, or the lower bound less the steps down so far."""
    certified: bool = False
    certification: TrialReport | None = None
    gpu_readings: tuple[GpuReading, ...] = ()
    """What Prometheus told of the GPUs in either of its trials."""
    lost: str = ""
    """Why it can no longer be certified."""
    missed_rps: float | None = None
    """Of a lost one: the lowest rate that a certification showed it to miss, 0 where its engine broke; None: void
    attempts show nothing."""
    estimated: bool = False
    """Never tried because of an estimate, which is no proof."""
    unseen: bool = False
    """Never tried though no rule excludes it: nothing rules it out."""
    exhausted: bool = False
    """Every repetition since its last evidence was void, and no more are allowed."""

    @property
    def feasible(self) -> bool:
        return self.outcome == "Succeeded" and not self.lost and self.rate_rps > 0

    @property
    def gpus_per_replica(self) -> int:
        return self.candidate.serving.accelerators if self.candidate.serving else 0

    @property
    def saturation_rps(self) -> float | None:
        """What a closed loop reached on a full engine and no open loop exceeds; None where that is not known."""
        reached = self.report.saturation if self.report is not None else None
        return reached.rps if reached is not None and reached.ceiling else None


def slo_of(spec: SloSpec) -> Slo:
    """The limits as the contract has them."""
    return Slo(
        percentile=spec.percentile, ttft_ms=spec.ttft_ms, itl_ms=spec.itl_ms, tpot_ms=spec.tpot_ms, e2e_ms=spec.e2e_ms
    )


def block_s(probe_seconds: int) -> float:
    """Length of the blocks a probe is cut into for its error: three a probe, at most 30 s each."""
    return min(30.0, probe_seconds / 3)


def report_of(record: TrialRecord) -> TrialReport | None:
    """The trial's report; None where there was none or it is of another kind."""
    if not record.report:
        return None
    report = parsed_report(record.report)
    return report if isinstance(report, TrialReport) else None


# Both are pure and asked again at every look: an MMLU verdict takes tens of milliseconds.
@functools.lru_cache(maxsize=256)
def parsed_report(text: str) -> TrialReport | CompressReport | None:
    """A stored report; None where this version cannot read it."""
    try:
        return load_report(text)
    except ValueError:
        return None


@functools.lru_cache(maxsize=512)
def _fitted(text: str, slo: Slo, block: float, target_error: float) -> Capacity | None:
    """The capacity of a stored report, recomputed; never above its saturation."""
    report = parsed_report(text)
    if not isinstance(report, TrialReport):
        return None
    fitted = stats.fit_capacity(report.probes, slo, block_s=block)
    if fitted is None or report.saturation is None:
        return fitted
    return stats.within_saturation(fitted, report.saturation, target_error)


@functools.lru_cache(maxsize=512)
def _verdict(before: Answers, after: Answers, margin: float, confidence_percent: int) -> stats.QualityVerdict:
    return stats.quality_verdict(before, after, max_drop_points=margin, confidence_percent=confidence_percent)


def quality_key(candidate: Candidate) -> tuple[str, str, str]:
    """What answers depend on: artefact, engine image, KV type. Candidates that share it share the measurement."""
    if candidate.serving is None:
        return ("", "", "")
    return (candidate.serving.artefact, candidate.serving.image, candidate.kv_cache)


def deciding(trials: Sequence[TrialRecord], purpose: str, subject: str) -> tuple[list[TrialRecord], TrialRecord | None]:
    """All records of one subject, and the last one that is evidence."""
    records = [record for record in trials if record.purpose == purpose and record.subject == subject]
    evidence = [record for record in records if record.outcome not in NO_EVIDENCE]
    return records, evidence[-1] if evidence else None


def trailing_voids(records: Sequence[TrialRecord]) -> int:
    """Void attempts since the last evidence."""
    count = 0
    for record in reversed(records):
        if record.outcome not in NO_EVIDENCE:
            break
        count += 1
    return count


def standings(
    run: RunSpec,
    derived: Sequence[Candidate],
    trials: Sequence[TrialRecord],
    *,
    void_retries: int,
    failed_artefacts: Mapping[str, str] | None = None,
) -> tuple[Standing, ...]:
    """Every candidate of the run, base ones first, in order. ``failed_artefacts``: why, by name of the artefact."""
    judge = _Judge(run, (*run.candidates, *derived), trials, void_retries, failed_artefacts or {})
    return tuple(judge.standing(candidate) for candidate in judge.candidates)


def reference(candidates: Sequence[Candidate]) -> Candidate:
    """The candidate whose answers quality is held against: the original where there is one, else the baseline."""
    named = {candidate.id: candidate for candidate in candidates}
    return named.get(ORIGINAL) or named[AS_IS]


def answers_by_key(
    candidates: Sequence[Candidate], trials: Sequence[TrialRecord]
) -> dict[tuple[str, str, str], Answers]:
    """The first measured answers of every quality key."""
    found: dict[tuple[str, str, str], Answers] = {}
    for candidate in candidates:
        records, _ = deciding(trials, "Explore", candidate.id)
        for record in records:
            report = report_of(record) if record.outcome not in NO_EVIDENCE else None
            if report and report.answers and report.answers.asked:
                found.setdefault(quality_key(candidate), report.answers)
    return found


def held(report: TrialReport, slo: Slo) -> bool | None:
    """Whether every limit was met over the whole hold; None: nothing was measured."""
    if not report.probes or sum(probe.requests for probe in report.probes) == 0:
        return None
    return all(stats.holds(probe, slo) for probe in report.probes)


def verification(records: Sequence[TrialRecord], slo: Slo, *, last: bool) -> tuple[Verdict, str]:
    """What the verify Jobs of one step are worth together, and why. ``last``: no further one may be asked.

    Too few samples are Inconclusive, never a pass. A share that is above the allowed one, but not by more than
    chance, asks
    for another Job; where there is none left it is a failure.
    """
    broken = next((one for one in records if one.outcome in BROKEN), None)
    if broken is not None:
        return "Fail", f"{broken.outcome}: {broken.reason}"
    evidence = [one for one in records if one.outcome not in NO_EVIDENCE]
    reports = [report for one in evidence if (report := report_of(one)) is not None]
    if any(not report.probes for report in reports) or any(
        probe.aborted for report in reports for probe in report.probes
    ):
        return "Fail", evidence[-1].reason
    allowed = stats.allowed_share(slo.percentile)
    requests, worst = _pooled([probe for report in reports for probe in report.probes], slo)
    if requests * allowed < 1:
        told = f", last: {records[-1].reason}" if records and records[-1].reason else ""
        return "Inconclusive", f"{requests} requests are too few to judge a {slo.percentile}th percentile{told}"
    if worst <= allowed * requests:
        return "Pass", evidence[-1].reason
    if last or _chance_of(round(worst), requests, allowed) < FALSE_ALARM:
        share = worst / requests
        return "Fail", f"{share:.1%} of {requests} requests above a limit, {allowed:.0%} allowed; {evidence[-1].reason}"
    return "Inconclusive", f"{worst:.0f} of {requests} requests above a limit: too few to tell from chance"


def _pooled(probes: Sequence[Probe], slo: Slo) -> tuple[int, float]:
    """Requests of all probes, and how many of them violated the worst metric."""
    counts = [sum(probe.violations.get(metric, 1.0) * probe.requests for probe in probes) for metric in slo.limits()]
    return sum(probe.requests for probe in probes), max(counts, default=0.0)


def _chance_of(violations: int, requests: int, share: float) -> float:
    """Probability of at least so many violations where each request violates with ``share`` (binomial)."""

    def exactly(k: int) -> float:
        ways = math.lgamma(requests + 1) - math.lgamma(k + 1) - math.lgamma(requests - k + 1)
        return math.exp(ways + k * math.log(share) + (requests - k) * math.log(1 - share))

    below = sum(exactly(k) for k in range(min(violations, requests + 1)))
    return max(0.0, 1 - below)


class _Judge:
    """The trials of one run, indexed once."""

    def __init__(
        self,
        run: RunSpec,
        candidates: tuple[Candidate, ...],
        trials: Sequence[TrialRecord],
        void_retries: int,
        failed_artefacts: Mapping[str, str],
    ) -> None:
        self.run, self.candidates, self.trials, self.void_retries = run, candidates, trials, void_retries
        self.failed_artefacts = failed_artefacts
        self.answers = answers_by_key(candidates, trials)
        self.reference_key = quality_key(reference(candidates))
        self.slo = slo_of(run.accepted.slo)

    def standing(self, candidate: Candidate) -> Standing:
        if candidate.excluded or candidate.serving is None:
            unseen = candidate.id == MORE
            return Standing(candidate=candidate, outcome="Unsupported", reason=candidate.excluded, unseen=unseen)
        problem = self.failed_artefacts.get(candidate.serving.artefact)
        if problem:
            reason = f"its weights could not be made: {problem}"
            return Standing(candidate=candidate, outcome="Unsupported", reason=reason, unseen=True)
        records, last = deciding(self.trials, "Explore", candidate.id)
        start = Standing(candidate=candidate, attempts=len(records))
        if last is None:
            return self._without_evidence(start, records)
        bar = number(last.rate_rps) if last.rate_rps else None
        measured = replace(
            start,
            outcome=_outcome(last.outcome),
            reason=last.reason,
            report=report_of(last),
            bar_rps=bar,
            gpu_readings=last.gpu_readings,
            exhausted=trailing_voids(records) > self.void_retries,
        )
        return self._certified(self._judged(measured, last.report))

    def _without_evidence(self, start: Standing, records: Sequence[TrialRecord]) -> Standing:
        if len(records) <= self.void_retries:
            return start
        return replace(start, outcome="Void", reason=f"void {len(records)} times, last: {records[-1].reason}")

    def _judged(self, standing: Standing, text: str) -> Standing:
        """Quality first, then capacity, both recomputed."""
        report = standing.report
        if report is None or standing.outcome in ("EngineFailed", "EngineHung"):
            return standing
        asked = self.run.accepted.search.measurement
        fitted = _fitted(text, self.slo, block_s(asked.probe_seconds), asked.target_error_percent / 100)
        standing = self._gated(replace(standing, capacity=fitted))
        if standing.outcome != "Succeeded":
            return standing
        rate = gpus.rounded_down(fitted.lower_rps) if fitted else 0.0
        if rate <= 0:
            return replace(standing, outcome="MissedSLO", reason=standing.reason or "no probe met every limit")
        return replace(standing, rate_rps=rate)

    def _gated(self, standing: Standing) -> Standing:
        """The quality gate. Weights, image and KV type of the reference need none."""
        key = quality_key(standing.candidate)
        if key == self.reference_key:
            return standing
        verdict, problem = self._quality(key)
        if verdict is None:
            undecided = standing.outcome in ("Succeeded", "FailedQuality")
            return replace(standing, outcome="Undecided", reason=problem) if undecided else standing
        standing = replace(standing, quality=verdict)
        if verdict.settled == "Fail":
            return replace(standing, outcome="FailedQuality")
        if verdict.settled == "Undecided" and standing.outcome in ("Succeeded", "FailedQuality"):
            return replace(standing, outcome="Undecided")
        return standing

    def _quality(self, key: tuple[str, str, str]) -> tuple[stats.QualityVerdict | None, str]:
        before, after = self.answers.get(self.reference_key), self.answers.get(key)
        if before is None or after is None:
            return None, "no answers were reported for the baseline" if before is None else "no answers were reported"
        quality = self.run.accepted.quality
        try:
            return _verdict(before, after, number(quality.max_drop_points), quality.confidence_percent), ""
        except ValueError as error:
            return None, str(error)

    def _certified(self, standing: Standing) -> Standing:
        """The certifications so far: one that held fixes the rate, each missed one takes a step down."""
        records = [r for r in self.trials if r.purpose == "Certify" and r.subject == standing.candidate.id]
        standing = replace(standing, certify_attempts=len(records))
        if standing.outcome != "Succeeded":
            return standing
        missed: list[float] = []
        for record in records:
            if record.outcome in NO_EVIDENCE:
                continue
            if record.outcome not in ("Succeeded", "MissedSLO"):
                lost = f"certification on a fresh start: {record.outcome}: {record.reason}"
                return replace(standing, lost=lost, missed_rps=0.0)
            report = report_of(record)
            if record.outcome == "Succeeded" and report and held(report, self.slo) and record.rate_rps:
                return replace(
                    standing,
                    rate_rps=number(record.rate_rps),
                    certified=True,
                    certification=report,
                    gpu_readings=(*record.gpu_readings, *standing.gpu_readings),
                )
            missed.append(number(record.rate_rps) if record.rate_rps else math.inf)
        return self._not_certified(standing, records, missed)

    def _not_certified(self, standing: Standing, records: Sequence[TrialRecord], missed: Sequence[float]) -> Standing:
        """None has held yet: a step down for each miss, or lost."""
        steps, voids = len(missed), trailing_voids(records)
        lost = ""
        if steps > MAX_STEP_DOWNS:
            lost = f"certification missed the limits {steps} times, last {MAX_STEP_DOWNS} steps of 4 % down"
        elif voids > self.void_retries:
            lost = f"could not be certified: void {voids} times, last: {records[-1].reason}"
        return replace(
            standing,
            rate_rps=gpus.rounded_down(standing.rate_rps * STEP_DOWN**steps),
            lost=lost,
            missed_rps=min(missed, default=None) if lost else None,
        )


def _outcome(recorded: str) -> Outcome:
    known: dict[str, Outcome] = {
        "Succeeded": "Succeeded", "MissedSLO": "MissedSLO", "FailedQuality": "FailedQuality", "Undecided": "Undecided",
        "CannotBeat": "CannotBeat", "EngineFailed": "EngineFailed", "EngineHung": "EngineHung",
    }  # fmt: skip
    return known.get(recorded, "Void")


def trace_facts(trials: Sequence[TrialRecord]) -> TraceFacts | None:
    """What the first trial that could read the workload's trace found in it."""
    for record in trials:
        report = report_of(record)
        if report is not None and report.trace is not None:
            return report.trace
    return None


def source_fingerprint(trials: Sequence[TrialRecord]) -> str | None:
    """Of the source weights as they were when the run's first evidence was measured."""
    for record in trials:
        report = None if record.outcome in NO_EVIDENCE else report_of(record)
        if report is not None and report.source_fingerprint is not None:
            return report.source_fingerprint
    return None
