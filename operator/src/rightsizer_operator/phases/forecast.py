"""The estimates that decide the order of trials, made once a run, when the baseline has been measured. Called by
``advance``.

The model's size comes from the resource where it is stated there, else from the baseline's trial, which reads its
config.json, else from the estimator's table of published models; what trials taught corrects the constants. Where GPU
or model is unknown there are none, and that is said: the order is then the planned one.
"""

from rightsizer_operator.phases import estimates
from rightsizer_operator.phases.view import View
from rightsizer_operator.resource.base import quantity
from rightsizer_operator.resource.run import Forecast
from rightsizer_operator.sizing import race
from rightsizer_operator.sizing.estimate import questions, ranking
from rightsizer_operator.sizing.estimate.failures import NotEstimable
from rightsizer_operator.sizing.estimate.questions import Question
from rightsizer_operator.sizing.estimate.ranking import Planned
from rightsizer_operator.sizing.verdicts import AS_IS

PLANNED = "the planned order, from simple to complex changes"
FAR_OFF = 3.0
"""Factor by which the baseline's estimate may miss what was measured; beyond, model or accelerator are others than
told, and no estimate is worth anything."""
FIT = "does not fit"
"""How the estimator's reason begins where memory is short."""


def forecasts(view: View) -> tuple[str, tuple[Forecast, ...]]:
    """What the order rests on, in words, and one estimate for each candidate that may be tried."""
    try:
        asked, basis = _question(view)
        planned = {one.choice.id: one for one in ranking.ranked(asked)}
    except (NotEstimable, ValueError, ArithmeticError) as problem:  # of odd models, too: a run does not rest on it
        remedy = getattr(problem, "remedy", "")
        return f"{PLANNED}; no estimate: {problem}{'. ' if remedy else ''}{remedy}"[:1024], ()
    if doubt := _doubt(view, planned.get(AS_IS)):
        return f"{PLANNED}; no estimate is used: {doubt}"[:1024], ()
    found = tuple(
        _forecast(standing.candidate.id, planned.get(standing.candidate.id), asked)
        for standing in view.standings
        if standing.outcome != "Unsupported" and not standing.candidate.parent
    )
    return f"estimated accelerators for the demand, best first (Estimated): {basis}"[:1024], found


def _doubt(view: View, baseline: Planned | None) -> str:
    """Why the estimator is not believed, by what it says of the baseline; empty: it may be."""
    measured = view.as_is.rate_rps
    if baseline is None or baseline.rate_rps <= 0 or measured <= 0:
        return ""
    if measured / FAR_OFF <= baseline.rate_rps <= measured * FAR_OFF:
        return ""
    return (
        f"the estimator gives the baseline {baseline.rate_rps:.3g} requests/s, {measured:.3g} were measured: "
        "spec.accelerator.type or the model's config.json does not tell what serves"
    )


def _forecast(candidate: str, planned: Planned | None, asked: Question) -> Forecast:
    if planned is None:
        return Forecast(candidate=candidate, reason="the estimator does not know this candidate")
    if planned.rate_rps > 0:
        return Forecast(candidate=candidate, rate_rps=quantity(planned.rate_rps))
    fails = planned.reason.startswith(FIT) or _far_over(planned, asked)
    return Forecast(candidate=candidate, fails=fails, reason=planned.reason[:256])


def _far_over(planned: Planned, asked: Question) -> bool:
    """Whether one request alone already misses a limit by more than the error of an estimate."""
    return any(planned.alone_ms.get(metric, 0.0) * race.DROP_BELOW > limit for metric, limit in asked.limits_ms.items())


def _question(view: View) -> tuple[Question, str]:
    """What the estimator is asked, and what it rests on; raises NotEstimable."""
    run, settings = view.run.spec, view.world.settings
    if view.as_is.report is not None and view.as_is.report.replayed:
        raise NotEstimable("the baseline", "is served by an engine that replays recordings on a clock of its own", "")
    if flag := estimates.beyond(run.baseline):
        raise NotEstimable("the baseline", f"no estimate knows its flag {flag}", "")
    gpu = estimates.gpu_of(run.accelerator_type, settings)
    if gpu is None:
        product = run.accelerator_type or "the accelerator"
        remedy = "Have its facts added to the operator's setting gpus."
        raise NotEstimable("spec.accelerator.type", f"{product} is not in the estimator's table", remedy)
    report = view.as_is.report
    model, source = estimates.model_told(run.accepted, report.model if report is not None else None)
    constants = estimates.constants_for(view.status.efficiencies or run.learned)
    asked = questions.question(
        run.accepted, model, gpu, estimates.served(run.baseline), run.gpu_hourly, constants, view.basis.workload.facts
    )
    # Batch limits are moves on the leader, not candidates of the race.
    asked = questions.without_batch_limits(asked)
    means = ", by the mean lengths of the trace" if view.basis.workload.facts else ""
    return asked, f"{model.name} ({source}) on {gpu.name}{means}, an error of {race.ASSUMED_ERROR:.0%} assumed"
