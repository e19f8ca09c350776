"""The result of a run, made purely from the InferenceDeployment and its OptimizationRun as the API server sent them.

Called by ``report`` and ``explain``. Decides nothing: verdicts, sizes and costs are the operator's.
"""

import shlex
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TypeVar

from rightsizer_cli import __version__, levers, money, outcome, replay, result, sides, standings, witness
from rightsizer_cli.inputs import Run, parsed
from rightsizer_cli.kubectl import Object, pick
from rightsizer_cli.result import Side
from rightsizer_jobs.workload import deviation_of
from rightsizer_operator.resource.base import number
from rightsizer_operator.resource.conditions import find
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.sizing import demand, proof, verdicts, workload

T = TypeVar("T")


def assembled(infdep: Object, run: Object) -> result.Result:
    """The whole result; raises Failure where the objects cannot be read."""
    found = parsed(infdep, run)
    return replay.marked(_assembled(found), replay.statements(found))


def _assembled(found: Run) -> result.Result:
    before, after = sides.before(found), sides.after(found)
    return result.Result(
        subject=_subject(found),
        targets=_targets(found).model_copy(update={"peak": _peak(found)}),
        decision=outcome.decided(found.spec, found.status, before, after),
        before=before,
        after=after,
        observed=sides.observed(found),
        ladder=standings.ladder(found),
        curves=tuple(_present(levers.curve(candidate.id, found.status.trials) for candidate in found.candidates)),
        baseline_accuracy_percent=levers.accuracy(verdicts.AS_IS, found.status.trials),
        quality=tuple(_present(standings.certificate(found, candidate) for candidate in found.candidates)),
        candidates=tuple(standings.candidate_result(found, candidate) for candidate in found.candidates),
        estimates=standings.estimates(found),
        learned=standings.learned(found),
        minimality=standings.minimality(found),
        cost=money.cost_of(found, before, after),
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


def _targets(run: Run) -> result.Targets:
    spec, load = run.inputs.accepted, run.workload
    return result.Targets(
        percentile=spec.slo.percentile,
        limits_ms=dict(verdicts.slo_of(spec.slo).limits()),
        demand_rps=load.demand_rps,
        headroom_percent=spec.sizing.headroom_percent,
        spare_replicas=spec.sizing.spare_replicas,
        input_tokens=round(load.input_tokens),
        output_tokens=round(load.output_tokens),
        arrivals=load.arrivals,
        max_drop_points=number(spec.quality.max_drop_points),
        confidence_percent=spec.quality.confidence_percent,
    )


def _peak(run: Run) -> result.Peak | None:
    read = run.inputs.peak
    if read is None:
        return None
    return result.Peak(
        rate_rps=number(read.rate_rps),
        window_hours=read.window_hours,
        average_minutes=read.average_minutes,
        query=read.query,
        read_at=read.read_at,
        coverage_percent=number(read.coverage_percent) if read.coverage_percent else None,
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
    """The winner's certification as a command of aiperf, which shares no code with the load generator.

    None for a trace: aiperf cannot be asked for its certified rate.
    """
    if run.workload.arrivals == "Trace":
        return None
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
    baseline, accepted = run.inputs.baseline, run.inputs.accepted
    return shlex.join(
        witness.command(
            served_model_name=baseline.served_model_name,
            tokenizer="MODEL_DIRECTORY",
            url=f"http://ONE_POD:{baseline.port}",
            api=accepted.workload.api,
            load=run.workload,
            slo=verdicts.slo_of(accepted.slo),
            rate_rps=rate,
            seconds=seconds,
            seed=seed,
        )
    )


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
    if run.workload.arrivals == "Trace":
        notes.append("No aiperf command repeats the certificate: the rate of a scaled trace cannot be asked of it.")
    elif deviation_of(run.workload.inputs or 0) or deviation_of(run.workload.outputs or 0):
        notes.append("The aiperf command draws normal lengths of the same mean and deviation, not the same shape.")
    broken = [r.job for r in run.status.trials if r.report and r.purpose != "Compress" and not verdicts.report_of(r)]
    if broken:
        notes.append(f"The reports of {', '.join(broken)} cannot be read by this version and are left out.")
    notes += standings.chunked(run)
    if run.status.proof and not proof.complete(run.status.proof):
        notes.append("Not every smaller plan is ruled out: see the entries marked Open or Estimated.")
    complete = find(run.status.conditions, "Optimized")
    if complete and complete.status == "False" and complete.message:
        notes.append(complete.message)
    accepted = run.inputs.accepted
    if accepted != _as_accepted(run):
        notes.append("The InferenceDeployment's spec has changed since this run was made.")
    return notes


def _as_accepted(run: Run) -> InferenceDeploymentSpec:
    """The spec as it is now, but for what is no input of a search; a demand that was read stands as it was read."""
    accepted, now = run.inputs.accepted, run.spec
    changed: dict[str, object] = {"update_policy": accepted.update_policy, "paused": accepted.paused}
    if now.workload.prometheus is not None and demand.usable(run.inputs.peak, now.workload.prometheus):
        assert run.inputs.peak is not None
        changed["workload"] = workload.stated_at(now.workload, run.inputs.peak.rate_rps)
    return now.model_copy(update=changed)
