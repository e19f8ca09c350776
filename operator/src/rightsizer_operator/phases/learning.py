"""What measured trials teach the estimator: factors by engine, kept in the run's status and carried to the next run of
the same resource. Called by ``advance`` (what this run teaches), ``plan`` (what the last one taught) and ``estimates``.

A lesson is about the packaged efficiencies, so lessons of several runs add up.
"""

from collections import defaultdict

from pydantic import JsonValue

from rightsizer_jobs.contract import Metric, Probe
from rightsizer_operator.phases import estimates
from rightsizer_operator.resource.base import quantity
from rightsizer_operator.resource.run import Candidate, Efficiency, RunSpec, RunStatus, TrialRecord
from rightsizer_operator.settings import Settings
from rightsizer_operator.sizing import figures, verdicts, workload
from rightsizer_operator.sizing.estimate import feedback, ranking
from rightsizer_operator.sizing.estimate.feedback import Lesson, Observation
from rightsizer_operator.sizing.estimate.questions import Question
from rightsizer_operator.sizing.verdicts import AS_IS, ORIGINAL
from rightsizer_operator.world import OptimizationRun

FURTHEST = 3.0
"""A trial that is further off than this, either way, says that the engine did something else, not how fast it is."""
SHORTEST = 30
"""Fewest requests of a probe that teaches."""


def taught(run: OptimizationRun, status: RunStatus, settings: Settings) -> tuple[Efficiency, ...]:
    """What is known after the trials of ``status``. Computed when a trial was added, else as it stands."""
    if len(status.trials) == len(run.status.trials) and (status.efficiencies or not run.spec.learned):
        return status.efficiencies
    if not workload.resolved(run.spec.accepted.workload).alike:
        return run.spec.learned  # percentiles of a mixture, against an estimate for mean lengths, would teach nonsense
    asked = estimates.question_of(run.spec.model_copy(update={"learned": ()}), settings, _told(status))
    if asked is None:
        return run.spec.learned
    seen = defaultdict(list)
    for engine, observation in _observations(asked, run.spec, status):
        seen[engine].append(observation)
    known = {one.engine: one for one in run.spec.learned if one.accelerator == asked.gpu.name}
    lessons = {engine: _lesson(known.get(engine)) for engine in (*known, *seen)}
    return tuple(
        _entry(engine, asked.gpu.name, feedback.merged(before, feedback.lesson(seen[engine])))
        for engine, before in sorted(lessons.items())
    )


def _told(status: RunStatus) -> dict[str, JsonValue] | None:
    """What the baseline's trial said of the model's config.json."""
    reports = (verdicts.report_of(record) for record in status.trials if record.subject == AS_IS)
    return next((report.model for report in reports if report is not None and report.model is not None), None)


def carried(last: OptimizationRun | None) -> tuple[Efficiency, ...]:
    """What the last run of the resource leaves to the next."""
    return () if last is None else last.status.efficiencies or last.spec.learned


def _observations(asked: Question, run: RunSpec, status: RunStatus) -> list[tuple[str, Observation]]:
    candidates = {one.id: one for one in (*run.candidates, *status.derived) if one.id != ORIGINAL}
    if estimates.beyond(run.baseline):
        return []
    found = []
    for record in status.trials:
        candidate, probe = candidates.get(record.subject), _lowest(record)
        if candidate is not None and probe is not None:
            observation = _observation(asked, run, candidate, probe)
            found += [(candidate.engine, observation)] if observation is not None else []
    return found


def _lowest(record: TrialRecord) -> Probe | None:
    """The probe at the lowest rate: the least of it is queueing. None: the record is no evidence."""
    if record.purpose != "Explore" or record.outcome in verdicts.NO_EVIDENCE:
        return None
    report = verdicts.report_of(record)
    if report is None or report.replayed:  # a replay runs on a clock of its own
        return None
    probes = [one for one in report.probes if not one.aborted and one.requests >= SHORTEST]
    return min(probes, key=lambda probe: probe.rate_rps, default=None)


def _observation(asked: Question, run: RunSpec, candidate: Candidate, probe: Probe) -> Observation | None:
    estimated = ranking.latencies_at(asked, estimates.choice_of(candidate, run.baseline), probe.rate_rps)
    if estimated is None:
        return None
    metric: Metric = "tpot" if probe.p_ms.get("tpot", -1.0) > 0 else "itl"
    ttft, tpot = _near(probe.p_ms.get("ttft"), estimated["ttft"]), _near(probe.p_ms.get(metric), estimated[metric])
    if ttft is None and tpot is None:
        return None
    return Observation(
        estimated_ttft_ms=estimated["ttft"],
        measured_ttft_ms=ttft,
        estimated_tpot_ms=estimated[metric],
        measured_tpot_ms=tpot,
    )


def _near(measured: float | None, estimated: float) -> float | None:
    """The measured time where it can be compared with the estimate."""
    if measured is None or measured <= 0 or estimated <= 0:
        return None
    return measured if 1 / FURTHEST <= measured / estimated <= FURTHEST else None


def _lesson(entry: Efficiency | None) -> Lesson:
    return estimates.lesson_of(entry) if entry is not None else Lesson()


def _entry(engine: str, accelerator: str, learned: Lesson) -> Efficiency:
    prompt, decode = learned.prompt, learned.decode
    return Efficiency(
        engine=engine,
        accelerator=accelerator,
        prompt_factor=quantity(prompt.mean, 4),
        prompt_count=prompt.count,
        prompt_spread=figures.amount(prompt.spread, 4),
        decode_factor=quantity(decode.mean, 4),
        decode_count=decode.count,
        decode_spread=figures.amount(decode.spread, 4),
    )
