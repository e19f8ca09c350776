"""Is the rewrite good enough on the new pods? One verify Job; its samples decide. Called by ``rewrite``.

As many new pods as the plan counts on, its spare replicas left out, carry the full demand: a plan has been seen to work
before a replica is cut for it, and again with its spare replicas away.
No samples is Inconclusive, never a pass.
"""

import datetime
from dataclasses import dataclass
from typing import Literal

from rightsizer_jobs.contract import Answers, TrialReport
from rightsizer_operator.actions import Manifest
from rightsizer_operator.manifests import jobs
from rightsizer_operator.phases import assignments, measure, observe
from rightsizer_operator.phases.view import View
from rightsizer_operator.resource.base import quantity
from rightsizer_operator.resource.run import Rollout, RunProposal, TrialRecord
from rightsizer_operator.resource.status import Configuration, Use
from rightsizer_operator.sizing import figures, verdicts, workload
from rightsizer_operator.sizing.verdicts import Standing
from rightsizer_operator.world import Object

Part = Literal["template", "replicas"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """``result`` is empty while it goes on; ``job`` is the Job to create, if any."""

    result: Literal["", "Pass", "Fail", "Inconclusive"] = ""
    reason: str = ""
    job: Manifest | None = None
    record: TrialRecord | None = None
    deserted: bool = False
    """No new pod is ready to be verified."""


def check(view: View, rollout: Rollout, proposal: RunProposal, part: Part, new_pods: tuple[Object, ...]) -> Check:
    """Where the verification of this step stands."""
    subject = _subject(proposal, part)
    records = [one for one in view.status.trials if one.purpose == "Verify" and one.subject == subject]
    current = [one for one in records if _since(one, rollout)]
    if current:
        last = len(current) > view.world.settings.void_retries
        result, reason = verdicts.verification(current, verdicts.slo_of(view.run.spec.accepted.slo), last=last)
        if result != "Inconclusive" or last:
            return Check(result=result, reason=reason, record=current[-1])
    if len(view.status.trials) >= measure.FULL:
        return Check(result="Inconclusive", reason="the run holds as many records as fit; set a new spec.search.rerun")
    if view.world.jobs:
        return Check(reason="a verify Job measures the new pods")
    hosts = [host for pod in new_pods if (host := _ready_address(pod))]
    if not hosts:
        return Check(reason="waiting for a new pod to be ready", deserted=True)
    return Check(reason="a verify Job is being started", job=_job(view, proposal, part, len(records) + 1, hosts))


def observed(view: View, proposal: RunProposal, record: TrialRecord, replicas: int) -> Configuration | None:
    """The proposal with the figures seen on the new pods."""
    standing, report = view.standing(proposal.candidate), verdicts.report_of(record)
    if standing is None or report is None or not report.probes:
        return None
    probe = report.probes[-1]
    planned = figures.configuration(standing, view.basis, engine=standing.candidate.engine, replicas=replicas)
    return planned.model_copy(
        update={
            "latencies": figures.latencies(probe),
            # The users' traffic and ours together.
            "latencies_at_rps": quantity(view.basis.demand_rps / _carrying(view, proposal)),
            "use": None,
            "use_at_demand": _use(report, record, view, proposal),
            "evidence": figures.evidence_of(report) if report.replayed else "Observed",
        }
    )


def _subject(proposal: RunProposal, part: Part) -> str:
    return f"{proposal.hash}-{part}"


def _job(view: View, proposal: RunProposal, part: Part, attempt: int, hosts: list[str]) -> Manifest:
    standing = view.standing(proposal.candidate)
    engine = standing.candidate.engine if standing else view.run.spec.baseline.engine
    carrying = _carrying(view, proposal)
    planned = hosts[: min(carrying, assignments.MOST_ENDPOINTS)]
    endpoints = [assignments.endpoint(view.run, engine, host) for host in planned]
    assignment = assignments.verify(
        view.run,
        _subject(proposal, part),
        attempt,
        endpoints,
        _demand_rps(view) * len(planned) / carrying,
        known_answers=_answers(view, standing, part),
    )
    return jobs.verify_job(
        run_name=view.run.name,
        run_uid=view.run.uid,
        infdep_name=view.world.infdep.name,
        namespace=view.world.infdep.namespace,
        target=view.target,
        container=view.run.spec.baseline.container,
        assignment=assignment,
        settings=view.world.settings,
        spec=view.run.spec.accepted,
    )


def _use(report: TrialReport, record: TrialRecord, view: View, proposal: RunProposal) -> Use | None:
    """How busy the new pods were, the users' traffic included: at their share of the demand."""
    found = figures.use(report.use, record.gpu_readings, view.basis.slots.get(proposal.candidate))
    return found and found.model_copy(update={"at_rps": quantity(view.basis.demand_rps / _carrying(view, proposal))})


def _carrying(view: View, proposal: RunProposal) -> int:
    """Replicas of the plan that are not spare."""
    return max(1, view.basis.required.carrying(proposal.replicas))


def _demand_rps(view: View) -> float:
    """The demand that the proposal was made for, whatever the spec says now."""
    facts = verdicts.trace_facts(view.status.trials)
    return workload.resolved(view.run.spec.accepted.workload, facts).demand_rps


def _answers(view: View, standing: Standing | None, part: Part) -> Answers | None:
    """What the winner answered in its trial: the pods of the new template have to answer alike. Asked once."""
    if standing is None or part != "template":
        return None
    known = verdicts.answers_by_key([one.candidate for one in view.standings], view.status.trials)
    return known.get(verdicts.quality_key(standing.candidate))


def _since(record: TrialRecord, rollout: Rollout) -> bool:
    """Records of an earlier roll-out of the same proposal do not count."""
    return _at(record.finished_at) >= _at(rollout.since)


def _at(text: str) -> datetime.datetime:
    return observe.moment(text) or datetime.datetime.min.replace(tzinfo=datetime.UTC)


def _ready_address(pod: Object) -> str:
    if observe.condition(pod, "Ready") is None:
        return ""
    return str(pod.get("status", {}).get("podIP", ""))
