"""The result of a run, made purely from the InferenceDeployment and its OptimizationRun as the API server sent them.

Called by ``report`` and ``explain``. Decides nothing: verdicts, sizes and costs are the operator's.
"""

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError

from rightsizer_cli import __version__, levers, money, outcome, result
from rightsizer_cli.failure import REFUSED, Failure
from rightsizer_cli.kubectl import Object, pick
from rightsizer_cli.result import Evidence, Figure, Side
from rightsizer_operator.resource.base import number
from rightsizer_operator.resource.conditions import find
from rightsizer_operator.resource.run import Candidate, CandidateStatus, RunSpec, RunStatus, Serving
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.resource.status import Configuration
from rightsizer_operator.sizing import proof, verdicts

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Both objects, parsed. ``spec`` is the InferenceDeployment's as it is now; the run keeps the one it was made for."""

    infdep: Object
    manifest: Object
    spec: InferenceDeploymentSpec
    inputs: RunSpec
    status: RunStatus

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        return (*self.inputs.candidates, *self.status.derived)

    def entry(self, candidate: str) -> CandidateStatus:
        """What the status says of a candidate; Pending where it says nothing yet."""
        known = {entry.id: entry for entry in self.status.candidates}
        return known.get(candidate) or CandidateStatus(id=candidate)

    def candidate(self, id_: str) -> Candidate | None:
        return next((candidate for candidate in self.candidates if candidate.id == id_), None)


def parsed(infdep: Object, run: Object) -> Run:
    """Raises Failure where this version of the CLI cannot read the objects."""
    try:
        return Run(
            infdep=infdep,
            manifest=run,
            spec=InferenceDeploymentSpec.model_validate(infdep.get("spec") or {}),
            inputs=RunSpec.model_validate(run.get("spec") or {}),
            status=RunStatus.model_validate(run.get("status") or {}),
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Failure(
            REFUSED,
            f"{pick(run, 'metadata', 'name')} cannot be read: {where}: {first['msg']}",
            f"Use a rightsizer of the operator's version (this is {__version__}).",
        ) from None


def assembled(infdep: Object, run: Object) -> result.Result:
    """The whole result; raises Failure where the objects cannot be read."""
    found = parsed(infdep, run)
    before, after = _before(found), _after(found)
    return result.Result(
        subject=_subject(found),
        targets=_targets(found.inputs.accepted),
        decision=outcome.decided(found.spec, found.status, before, after),
        before=before,
        after=after,
        observed=_observed(found),
        ladder=_ladder(found),
        curves=tuple(_present(levers.curve(candidate.id, found.status.trials) for candidate in found.candidates)),
        baseline_accuracy_percent=levers.accuracy(verdicts.AS_IS, found.status.trials),
        quality=tuple(_present(_certificate(found, candidate) for candidate in found.candidates)),
        candidates=tuple(_candidate(found, candidate) for candidate in found.candidates),
        minimality=_minimality(found),
        cost=money.cost_of(found.inputs, before, after),
        search=_search(found, before, after),
        repeat=_repeat(found),
        versions=_versions(found),
        notes=tuple(_notes(found)),
    )


def _present(found: Iterable[T | None]) -> Iterator[T]:
    return (item for item in found if item is not None)


def _subject(run: Run) -> result.Subject:
    inputs = run.inputs
    return result.Subject(
        namespace=pick(run.infdep, "metadata", "namespace"),
        name=pick(run.infdep, "metadata", "name"),
        target=inputs.accepted.target_ref.name,
        container=inputs.baseline.container,
        served_model_name=inputs.baseline.served_model_name,
        model=inputs.accepted.model.name,
        model_revision=inputs.accepted.model.revision or "",
        accelerator=inputs.accepted.accelerator.resource,
        accelerator_type=inputs.accelerator_type,
        run=pick(run.manifest, "metadata", "name"),
        run_uid=pick(run.manifest, "metadata", "uid"),
        fingerprint=inputs.fingerprint,
        started_at=run.status.started_at,
        finished_at=run.status.finished_at,
    )


def _targets(spec: InferenceDeploymentSpec) -> result.Targets:
    lengths = spec.workload.static
    return result.Targets(
        percentile=spec.slo.percentile,
        limits_ms=dict(verdicts.slo_of(spec.slo).limits()),
        demand_rps=verdicts.demand_rps(spec),
        input_tokens=lengths.input_tokens,
        output_tokens=lengths.output_tokens,
        arrivals=lengths.arrivals,
        max_drop_points=number(spec.quality.max_drop_points),
        confidence_percent=spec.quality.confidence_percent,
    )


# --- sides


def _before(run: Run) -> Side | None:
    entry = run.entry(verdicts.AS_IS)
    configuration = run.status.current or entry.configuration
    return _side(configuration, entry, run.inputs.baseline.serving) if configuration else None


def _after(run: Run) -> Side | None:
    proposal = run.status.proposal
    if proposal is None:
        return None
    entry = run.entry(proposal.candidate)
    configuration = entry.configuration or Configuration(candidate=proposal.candidate, evidence="Measured")
    sized = configuration.model_copy(
        update={
            "replicas": proposal.replicas,
            "gpus": proposal.gpus,
            "certified_rps": configuration.certified_rps or proposal.certified_rps,
        }
    )
    return _side(sized, entry, proposal.serving)


def _observed(run: Run) -> Side | None:
    rollout = run.status.rollout
    if rollout is None or rollout.observed is None:
        return None
    seen = rollout.observed.model_copy(update={"evidence": rollout.observed.evidence or "Observed"})
    return _side(seen, None, run.status.proposal.serving if run.status.proposal else None)


def _side(found: Configuration, entry: CandidateStatus | None, serving: Serving | None) -> Side:
    evidence: Evidence = found.evidence or "Estimated"
    certified = found.certified_rps is not None
    rate = _figure(found.certified_rps, evidence) if certified else _capacity(entry)
    return Side(
        candidate=found.candidate or verdicts.AS_IS,
        engine=found.engine,
        precision=found.precision,
        kv_cache=found.kv_cache,
        image=serving.image if serving else "",
        replicas=found.replicas,
        gpus=found.gpus,
        latencies_ms=_latencies(found, evidence),
        latencies_at_rps=number(found.latencies_at_rps) if found.latencies_at_rps else None,
        rate_rps=rate,
        certified=certified,
        utilisation_percent=_figure(found.utilisation_percent, evidence),
        cost_per_hour=_figure(found.cost_per_hour, evidence),
        cost_per_million_tokens=_figure(found.cost_per_million_tokens, evidence),
        cost_per_million_tokens_at_rate=_figure(found.cost_per_million_tokens_at_rate, evidence),
    )


def _figure(quantity: str | None, evidence: Evidence) -> Figure | None:
    return None if quantity is None else Figure(value=number(quantity), evidence=evidence)


def _latencies(found: Configuration, evidence: Evidence) -> dict[str, Figure]:
    shown = found.latencies.model_dump(exclude_none=True) if found.latencies else {}
    return {name.removesuffix("_ms"): Figure(value=number(text), evidence=evidence) for name, text in shown.items()}


def _capacity(entry: CandidateStatus | None) -> Figure | None:
    """The measured capacity of one replica with one standard error to either side."""
    if entry is None or entry.capacity_rps is None:
        return None
    value, error = number(entry.capacity_rps), number(entry.capacity_error_percent or "0") / 100
    return Figure(value=value, evidence="Measured", low=value * max(0.0, 1 - error), high=value * (1 + error))


# --- candidates


def _ladder(run: Run) -> tuple[result.Rung, ...]:
    """As found first, then each measured lever; a candidate without any figure has no rung."""
    base = _capacity(run.entry(verdicts.AS_IS))
    winner = run.status.proposal.candidate if run.status.proposal else ""
    rungs = [_rung(run, candidate, base, winner) for candidate in run.candidates]
    return tuple(rung for rung in rungs if rung.capacity_rps or rung.drop_points)


def _rung(run: Run, candidate: Candidate, base: Figure | None, winner: str) -> result.Rung:
    entry = run.entry(candidate.id)
    capacity = _capacity(entry)
    per_gpu = candidate.serving.accelerators if candidate.serving else 1
    found_per_gpu = run.inputs.baseline.serving.accelerators or 1
    return result.Rung(
        candidate=candidate.id,
        lever=levers.lever(candidate),
        capacity_rps=capacity,
        times_as_is=_times(capacity, base, found_per_gpu / (per_gpu or 1)),
        drop_points=_drop(entry),
        cost_per_million_tokens_at_capacity=money.at_capacity(run.inputs, capacity, per_gpu),
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


def _certificate(run: Run, candidate: Candidate) -> result.Certificate | None:
    entry = run.entry(candidate.id)
    drop, quality = _drop(entry), entry.quality
    if drop is None or quality is None or drop.low is None or drop.high is None:
        return None
    rule = run.inputs.accepted.quality
    allowed = number(rule.max_drop_points)
    verdict = "Pass" if drop.high <= allowed else "Fail" if drop.low > allowed else "Undecided"
    return result.Certificate(
        candidate=candidate.id,
        asked=quality.asked,
        lost=quality.lost,
        won=quality.won,
        accuracy_percent=levers.accuracy(candidate.id, run.status.trials),
        drop_points=drop,
        allowed_points=allowed,
        confidence_percent=rule.confidence_percent,
        verdict=verdict,
        question_set_sha256=quality.set_sha256,
    )


def _candidate(run: Run, candidate: Candidate) -> result.CandidateResult:
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
        evidence="Rule" if excluded else "Measured" if entry.attempts else "None",
        log_tail=tails[-1] if tails and entry.outcome in ("EngineFailed", "EngineHung") else "",
    )


def _minimality(run: Run) -> result.Minimality | None:
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
            )
            for entry in run.status.proof
        ),
    )


# --- what it took, and what it rests on


def _search(run: Run, before: Side | None, after: Side | None) -> result.Search:
    status, lengths = run.status, run.inputs.accepted.search.measurement
    spent = number(status.money) if status.money else None
    recorded = number(status.payback_hours) if status.payback_hours else None
    return result.Search(
        trials=status.trials_used,
        gpu_hours=status.gpu_seconds / 3600,
        wall_hours=_hours_between(status.started_at, status.finished_at),
        money=spent,
        payback_hours=recorded if recorded is not None else money.payback_hours(spent, before, after),
        probe_seconds=lengths.probe_seconds,
        certification_seconds=lengths.certification_seconds,
    )


def _hours_between(start: str, end: str) -> float | None:
    try:
        return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() / 3600
    except (ValueError, TypeError):
        return None


def _repeat(run: Run) -> result.Repeat | None:
    """The winner's certification as a command of aiperf, which shares no code with the load generator."""
    winner = run.status.proposal.candidate if run.status.proposal else ""
    held = [r for r in run.status.trials if (r.purpose, r.subject, r.outcome) == ("Certify", winner, "Succeeded")]
    report = verdicts.report_of(held[-1]) if held else None
    if report is None or not report.probes:
        return None
    rate = number(held[-1].rate_rps) if held[-1].rate_rps else report.probes[0].rate_rps
    seconds = sum(probe.seconds for probe in report.probes)
    return result.Repeat(
        rate_rps=rate, seconds=seconds, seed=report.seed, command=_aiperf(run, rate, seconds, report.seed)
    )


def _aiperf(run: Run, rate: float, seconds: float, seed: int) -> str:
    baseline, lengths = run.inputs.baseline, run.inputs.accepted.workload.static
    words = [
        "aiperf", "profile", "-m", baseline.served_model_name, "--tokenizer", "MODEL_DIRECTORY",
        "--url", f"http://ONE_POD:{baseline.port}", "--endpoint-type", "chat", "--streaming",
        "--synthetic-input-tokens-mean", str(lengths.input_tokens), "--synthetic-input-tokens-stddev", "0",
        "--output-tokens-mean", str(lengths.output_tokens), "--extra-inputs", "ignore_eos:true",
        "--request-rate", f"{rate:g}", "--arrival-pattern", lengths.arrivals.lower(),
        "--benchmark-duration", f"{seconds:g}", "--random-seed", str(seed), "--use-server-token-count", "--ui", "none",
    ]  # fmt: skip
    return shlex.join(words)


def _versions(run: Run) -> result.Versions:
    servings = [run.inputs.baseline.serving, *(c.serving for c in run.candidates if c.serving)]
    digests = {entry.quality.set_sha256 for entry in run.status.candidates if entry.quality}
    declared = run.inputs.accepted.quality.question_set.sha256 or ""
    return result.Versions(
        cli=__version__,
        generator=run.inputs.generator_version,
        images=tuple(dict.fromkeys(serving.image for serving in servings)),
        question_set_sha256=next(iter(sorted(digests)), declared),
        artefacts=tuple(
            result.ArtefactResult(
                name=made.name, recipe=made.recipe, state=made.state, sha256=made.sha256, size_bytes=made.size_bytes
            )
            for made in run.status.artefacts
        ),
    )


def _notes(run: Run) -> list[str]:
    """What the reader must know that no figure shows."""
    notes = []
    if run.inputs.gpu_hourly is None:
        notes.append("No price of an accelerator hour is known, so cost is left out.")
    broken = [r.job for r in run.status.trials if r.report and r.purpose != "Compress" and not verdicts.report_of(r)]
    if broken:
        notes.append(f"The reports of {', '.join(broken)} cannot be read by this version and are left out.")
    if run.status.proof and not proof.complete(run.status.proof):
        notes.append("Not every smaller plan is ruled out: see the entries marked Open.")
    complete = find(run.status.conditions, "Optimized")
    if complete and complete.status == "False" and complete.message:
        notes.append(complete.message)
    accepted = run.inputs.accepted
    if accepted != run.spec.model_copy(update={"update_policy": accepted.update_policy, "paused": accepted.paused}):
        notes.append("The InferenceDeployment's spec has changed since this run was made.")
    return notes
