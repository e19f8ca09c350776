"""A budget that runs low: what still fits is tried, and the certification is never spent on an exploration."""

import datetime
from typing import Any

import pytest

from rightsizer_jobs.contract import TrialAssignment
from rightsizer_operator.phases.observe import moment
from rightsizer_operator.sizing import budget
from tests.phases.builders import a_node, a_spec, a_target
from tests.phases.village import Village, capacities

TEN_MINUTES = datetime.timedelta(minutes=10)
TP4 = ["--model", "/models/base", "--served-model-name", "chat", "--port", "8000", "--tensor-parallel-size", "4"]


def on_four_gpus(hours: str) -> Village:
    """A baseline of 2 x TP4 that a smaller tensor parallelism beats, settled within so many accelerator hours."""
    search: dict[str, Any] = {"precisions": ["AsIs"], "kvCache": ["Auto"], "maxGPUsPerReplica": 8}
    village = Village(
        spec=a_spec(
            search={**search, "budget": {"gpuHours": hours, "maxTrials": 24}},
            workload={"static": {"inputTokens": 64, "outputTokens": 24, "requestRate": "7.5"}},
        ),
        nodes=[a_node(slots=32)],
        target=a_target(replicas=2, accelerators=4, args=TP4),
        script=capacities(as_is=4.0, as_is_tp8=9.0, as_is_tp2=3.0, as_is_tp1=1.6),
    )
    village.settle()
    return village


@pytest.mark.parametrize("hours", ["1.2", "1.8"])
def test_a_candidate_that_does_not_fit_leaves_room_for_a_smaller_one(hours: str) -> None:
    """Of the unchanged baseline no certification is held back: it is never certified."""
    village = on_four_gpus(hours)
    assert "as-is-tp1" in [one.subject for one in village.run.status.trials if one.purpose == "Certify"]
    assert village.condition("ProposalReady")[0] == "True"
    assert village.run.status.proposal is not None
    assert village.run.status.proposal.gpus == 5
    assert village.run.status.gpu_seconds <= float(hours) * 3600


def started(village: Village, at: datetime.datetime) -> None:
    """The pod of the Job that is there runs since then."""
    village.play_jobs()
    running = {"running": {"startedAt": at.strftime("%Y-%m-%dT%H:%M:%SZ")}}
    name = next(name for name in village.jobs if name in village.pods)
    village.pods[name]["status"] = {
        "phase": "Running",
        "startTime": running["running"]["startedAt"],
        "containerStatuses": [{"name": "trial", "restartCount": 0, "state": running}],
        "initContainerStatuses": [{"name": "engine", "restartCount": 0, "state": running}],
    }


@pytest.mark.parametrize(("trials", "ended"), [(1, False), (2, True)])
def test_a_challenger_leaves_time_for_the_certification_which_the_baseline_need_not(trials: int, ended: bool) -> None:
    """Ten minutes before the deadline: less than a certification takes."""
    limits = {"deadlineMinutes": 120}
    village = Village(spec=a_spec(search={"precisions": ["AsIs"], "maxNumSeqs": [64], "budget": limits}))
    while len(village.created_jobs) < trials:
        village.tick()
        if len(village.created_jobs) < trials:
            village.play_jobs()
    started(village, village.now)
    village.now = budget.deadline(village.spec.search.budget, moment(village.run.created)) - TEN_MINUTES
    village.tick()
    ends = [one.reason for one in village.run.status.trials]
    assert ("the run's budget ended during this trial" in ends) == ended


def test_more_new_pods_than_one_client_measures_are_given_no_more_than_their_share() -> None:
    seen: list[TrialAssignment] = []

    def script(assignment: Any) -> Any:
        if isinstance(assignment, TrialAssignment) and assignment.purpose == "Verify":
            seen.append(assignment)
        return capacities(as_is=0.05, int8=0.1)(assignment)

    village = Village(
        spec=a_spec(
            search={"precisions": ["AsIs", "INT8"]},
            updatePolicy={"mode": "Auto"},
        ),
        nodes=[a_node(slots=400)],
        target=a_target(replicas=200),
        script=script,
    )
    village.settle(400)
    proposal = village.run.status.proposal
    assert proposal is not None and proposal.replicas > 64
    assert [len(one.endpoints) for one in seen] == [64, 64]
    for one in seen:
        assert one.rate_rps == pytest.approx(7.5 * 64 / proposal.replicas)


def test_a_trial_that_does_not_fit_the_deadline_is_not_begun() -> None:
    noon = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
    limits = a_spec(search={"budget": {"deadlineMinutes": 60}}).search.budget

    def certification(seconds_before_the_end: float) -> str:
        now = budget.deadline(limits, noon) - datetime.timedelta(seconds=seconds_before_the_end)
        return budget.refusal(limits, budget.Spent(3, 3600), next_s=900, gpus=4, started=noon, now=now)

    assert certification(900) == ""
    assert "spec.search.budget.deadlineMinutes: the next trial does not fit the 60 minutes" in certification(899)
