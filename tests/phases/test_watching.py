"""After the decision: when a new run starts, when none does, and which runs are kept."""

from typing import Any

import pytest

from rightsizer_jobs.contract import CompressAssignment, TrialAssignment
from rightsizer_operator.manifests import baseline as baselines
from tests.phases.builders import a_report, a_spec, answers, some_settings
from tests.phases.village import Village, capacities

PLAY = capacities(as_is=2.5, int8=4.0, int4=3.0)


def applied(**changes: Any) -> Village:
    village = Village(**{"script": PLAY, "spec": a_spec(updatePolicy={"mode": "Auto"}), **changes})
    village.settle()
    assert village.condition("Applied") == ("True", "Applied")
    return village


@pytest.mark.parametrize(
    "change",
    [
        {"slo": {"itlMs": 60}},
        {"workload": {"static": {"requestRate": "9"}}},
        {"quality": {"maxDropPoints": "1.5"}},
        {"search": {"rerun": "again"}},
        {"search": {"precisions": ["AsIs", "INT8"]}},
        {"model": {"revision": "abc"}},
    ],
)
def test_changed_inputs_start_a_new_run(change: dict[str, Any]) -> None:
    village = Village(script=PLAY)
    village.settle()
    first = village.run.name
    village.change(**change)
    village.settle()
    assert village.run.name != first
    assert village.runs[first].status.phase == "Superseded"
    assert village.condition("ProposalReady")[0] == "True"


@pytest.mark.parametrize(
    "change",
    [
        {"updatePolicy": {"mode": "Off"}},
        {"paused": True},
        {"search": {"budget": {"maxTrials": 40}}},
        {"cost": {"gpuHourly": "3.00"}},
        {"targetRef": {"takeOwnership": False}},
    ],
)
def test_what_only_decides_about_writing_or_money_starts_none(change: dict[str, Any]) -> None:
    village = Village(script=PLAY)
    village.settle()
    jobs, hash_ = list(village.created_jobs), village.run.status.proposal
    village.change(**change)
    village.settle()
    assert len(village.runs) == 1
    assert village.created_jobs == jobs
    assert village.run.status.proposal == hash_


def test_a_new_price_shows_in_the_figures_of_the_same_proposal() -> None:
    village = Village(script=PLAY)
    village.settle()
    village.change(cost={"gpuHourly": "4.00"})
    village.settle()
    assert village.status.proposal is not None
    assert village.status.proposal.configuration.cost_per_hour == "8"


def test_inputs_that_come_back_find_their_run_again() -> None:
    village = Village(script=PLAY)
    village.settle()
    first, jobs = village.run.name, list(village.created_jobs)
    village.change(slo={"itlMs": 60})
    village.tick()
    village.tick()
    village.change(slo={"itlMs": 50})
    village.settle()
    assert village.run.name == first
    assert village.created_jobs == jobs


def test_the_jobs_of_a_superseded_run_end_before_the_new_run_starts() -> None:
    village = Village(script=PLAY)
    for _ in range(4):
        village.tick()
    assert len(village.jobs) == 1
    village.change(slo={"itlMs": 60})
    village.tick()
    assert not village.jobs
    assert len(village.runs) == 1
    village.settle()
    assert len(village.runs) == 2


def test_a_change_during_a_roll_out_waits_for_its_end() -> None:
    village = Village(script=PLAY)
    village.settle()
    village.approve()
    for _ in range(3):
        village.tick()
    first = village.run.name
    village.change(slo={"itlMs": 60})
    village.tick()
    assert village.run.name == first
    village.settle()
    assert village.run.name != first
    assert village.runs[first].status.rollout is not None
    assert village.runs[first].status.rollout.step == "Applied"


def test_after_an_applied_proposal_the_next_run_keeps_the_first_run_as_the_one_applied() -> None:
    village = applied()
    first = village.run.name
    village.change(workload={"static": {"requestRate": "9"}}, updatePolicy={"mode": "Manual"})
    village.settle()
    assert village.status.applied_run_ref is not None
    assert village.status.applied_run_ref.name == first


def test_old_runs_are_deleted_but_never_the_current_and_the_applied_one() -> None:
    village = applied(settings=some_settings(runs_kept=2))
    first = village.run.name
    village.change(updatePolicy={"mode": "Manual"})
    for rate in ("9", "10", "11"):
        village.change(workload={"static": {"requestRate": rate}})
        village.settle()
    assert set(village.runs) == {first, village.run.name}


def test_a_deleted_current_run_is_made_again() -> None:
    village = Village(script=PLAY)
    village.settle()
    name = village.run.name
    village.runs.clear()
    village.settle()
    assert village.run.name == name
    assert village.condition("ProposalReady")[0] == "True"


def flipping(**flips: int) -> Any:
    """Artefacts lose that many answers against the original weights."""

    def script(assignment: Any) -> Any:
        report = capacities(as_is=2.5, original=2.5, int8=4.0, int4=9.0)(assignment)
        if not isinstance(assignment, TrialAssignment) or not assignment.questions:
            return report
        return report.model_copy(
            update={"answers": answers(flipped=flips.get(assignment.candidate.replace("-", "_"), 0))}
        )

    return script


def test_after_a_rewrite_quality_is_still_held_against_the_original_so_that_drops_do_not_add_up() -> None:
    village = applied(script=flipping(int8=10, int4=60))
    assert village.run.spec.candidates[0].id == "as-is"
    village.script = flipping(as_is=10, int4=25)
    village.change(workload={"static": {"requestRate": "9"}}, updatePolicy={"mode": "Manual"})
    village.settle()
    status = {one.id: one for one in village.run.status.candidates}
    assert [one.subject for one in village.run.status.trials][:2] == ["as-is", "original"]
    assert (status["as-is"].outcome, status["as-is"].quality.lost) == ("Succeeded", 10)  # type: ignore[union-attr]
    assert (status["int4"].outcome, status["int4"].quality.lost) == ("Undecided", 25)  # type: ignore[union-attr]
    assert status["int8"].verdict == "is the same as as-is"


def test_after_a_rewrite_of_the_kv_type_alone_quality_is_still_held_against_the_original() -> None:
    play = capacities(as_is_fp8kv=4.0, int8=9.0, original=2.5)
    levers = {"precisions": ["AsIs", "INT8"], "kvCache": ["Auto", "FP8"]}

    def script(assignment: Any) -> Any:
        report = play(assignment)
        if assignment.kind == "Compress" or not assignment.questions:
            return report
        if assignment.candidate == "int8":
            return report.model_copy(update={"outcome": "EngineFailed", "probes": (), "answers": None})
        return report.model_copy(update={"answers": answers(flipped=int("fp8kv" in assignment.candidate))})

    village = Village(script=script, spec=a_spec(search=levers, updatePolicy={"mode": "Auto"}))
    village.settle()
    assert village.run.status.proposal is not None
    assert village.run.status.proposal.candidate == "as-is-fp8kv"
    assert village.condition("Applied") == ("True", "Applied")
    village.change(workload={"static": {"requestRate": "9"}}, updatePolicy={"mode": "Manual"})
    village.settle()
    found = {one.id: (one.kv_cache, one.excluded) for one in village.run.spec.candidates}
    assert (found["as-is"], found["original"]) == (("FP8", ""), ("Auto", ""))
    assert found["as-is-fp8kv"][1] == "is the same as as-is"
    assert found["int8"][0] == "FP8"
    assert [one.subject for one in village.run.status.trials][:2] == ["as-is", "original"]


def test_a_sweep_is_told_to_keep_what_serves_and_what_may_win() -> None:
    village = applied(script=flipping(int4=60))
    told: list[CompressAssignment] = []
    play = flipping()

    def script(assignment: Any) -> Any:
        if isinstance(assignment, CompressAssignment):
            told.append(assignment)
        return play(assignment)

    village.script = script
    village.change(model={"revision": "next"}, updatePolicy={"mode": "Manual"})
    village.settle()
    deployed = village.run.spec.baseline.serving.artefact
    assert deployed
    assert told
    for assignment in told:
        assert assignment.user == "infdep-uid"
        assert {deployed, assignment.artefact} <= set(assignment.keep)


def test_the_second_rewrite_keeps_the_record_of_the_original() -> None:
    village = applied(script=flipping(int4=60))
    village.script = flipping()
    first = baselines.recorded(village.target or {})
    village.change(workload={"static": {"requestRate": "9"}})
    village.settle()
    assert village.run.status.proposal is not None
    assert village.run.status.proposal.candidate == "int4"
    assert village.condition("Applied") == ("True", "Applied")
    second = baselines.recorded(village.target or {})
    assert first is not None
    assert second == first


def test_a_second_rewrite_that_fails_goes_back_to_the_first_and_keeps_the_record() -> None:
    village = applied(script=flipping(int4=60))
    before = village.target["spec"]["template"] if village.target else {}
    artefact = before["spec"]["containers"][0]["volumeMounts"][-1]["subPath"]
    play = flipping()

    def missing(assignment: Any) -> Any:
        verify = isinstance(assignment, TrialAssignment) and assignment.purpose == "Verify"
        return a_report(assignment, capacity=0.5) if verify else play(assignment)

    village.script = missing
    village.change(workload={"static": {"requestRate": "9"}})
    village.settle()
    assert village.condition("Applied") == ("False", "RolledBack")
    assert village.target is not None
    assert village.target["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][-1]["subPath"] == artefact
    assert village.target["spec"]["replicas"] == 2
    assert baselines.recorded(village.target) is not None


def test_a_scaler_that_comes_later_gets_a_run_of_its_own() -> None:
    village = Village(script=PLAY)
    village.settle()
    first = village.run.name
    village.scalers = ("HorizontalPodAutoscaler/chat",)
    village.settle()
    assert village.run.name != first
    assert village.run.spec.baseline.replicas_managed_by == "HorizontalPodAutoscaler/chat"


def test_a_scaler_that_comes_during_a_roll_out_gets_the_replicas_at_once() -> None:
    village = Village(script=PLAY)
    village.settle()
    village.approve()
    for _ in range(3):
        village.tick()
    village.scalers = ("HorizontalPodAutoscaler/chat",)
    first = village.run.name
    village.settle()
    assert village.runs[first].status.rollout is not None
    assert village.runs[first].status.rollout.step == "Applied"
    assert village.target is not None
    assert village.target["spec"]["replicas"] == 4
