"""Two writes, each verified on the new pods; back to the recorded baseline where that fails; nothing written without
permission.
"""

import copy
import datetime
from typing import Any

import pytest

from rightsizer_jobs.contract import TrialAssignment
from rightsizer_operator.actions import ApplyTarget, CreateJob
from rightsizer_operator.phases import advance
from tests.phases.builders import Object, a_node, a_report, a_spec, a_target, some_settings
from tests.phases.village import Village, capacities, replaced

PLAY = capacities(as_is=2.5, int8=4.0, int4=3.0)
BASELINE_ARGS = a_target()["spec"]["template"]["spec"]["containers"][0]["args"]


def proposed(**changes: Any) -> Village:
    """A village whose search has ended with a proposal of two replicas of int8 instead of four."""
    village = Village(**{"script": PLAY, **changes})
    village.settle()
    assert village.status.proposal is not None
    assert not village.applied
    return village


def approved(**changes: Any) -> Village:
    village = proposed(**changes)
    village.approve()
    village.settle()
    return village


def engine(village: Village) -> Object:
    assert village.target is not None
    found: Object = village.target["spec"]["template"]["spec"]["containers"][0]
    return found


def replicas(village: Village) -> int:
    assert village.target is not None
    return int(village.target["spec"]["replicas"])


def serves_baseline(village: Village) -> bool:
    return engine(village)["args"] == BASELINE_ARGS and replicas(village) == 4


def verifying(outcome: str, part: str = "", times: int = 99) -> Any:
    """Verifications of that part end so."""
    seen = [0]

    def script(assignment: Any) -> Any:
        if not isinstance(assignment, TrialAssignment) or assignment.purpose != "Verify":
            return PLAY(assignment)
        if not assignment.candidate.endswith(part) or seen[0] >= times:
            return a_report(assignment, capacity=1000.0)
        seen[0] += 1
        if outcome == "MissedSLO":
            return a_report(assignment, capacity=1.0, reason="p95 itl 80 ms against 50 ms")
        if outcome == "no samples":
            return a_report(assignment, outcome="Succeeded", probes=())
        return a_report(assignment, outcome=outcome, reason="told so", probes=())

    return script


# --- permission ---


def test_without_approval_nothing_is_written() -> None:
    village = proposed()
    village.change(updatePolicy={"approvedProposal": "0123456789ab"})
    village.settle()
    assert village.condition("Applied") == ("False", "ApprovalStale")
    assert not village.applied


def test_off_writes_nothing_even_with_an_approval() -> None:
    village = proposed()
    village.change(updatePolicy={"mode": "Off", "approvedProposal": village.run.status.proposal.hash})  # type: ignore[union-attr]
    village.settle()
    assert village.condition("Applied") == ("False", "ModeOff")
    assert not village.applied


def test_auto_ignores_the_approval_field() -> None:
    village = proposed()
    village.change(updatePolicy={"mode": "Auto", "approvedProposal": "0123456789ab"})
    village.settle()
    assert village.condition("Applied") == ("True", "Applied")


def test_paused_starts_no_job_and_writes_nothing_but_takes_in_what_runs() -> None:
    village = Village(script=PLAY)
    for _ in range(4):
        village.tick()
    village.change(paused=True)
    village.settle()
    assert len(village.run.status.trials) == 1
    assert len(village.created_jobs) == 1
    assert village.condition("Paused") == ("True", "Paused")
    village.change(paused=False)
    village.settle()
    assert village.condition("ProposalReady")[0] == "True"


def test_a_read_only_operator_searches_but_does_not_write() -> None:
    village = approved(settings=some_settings(read_only=True))
    assert village.condition("Applied") == ("False", "ReadOnly")
    assert not village.applied


# --- the two writes ---


def test_the_template_comes_first_at_the_old_replica_count_and_is_verified_before_the_replicas_are_cut() -> None:
    village = approved()
    first, second = village.applied
    assert first["spec"].get("replicas", 4) == 4
    assert second["spec"]["replicas"] == 2
    log = village.writes[village.writes.index("apply target") :]
    between = log[1 : log.index("apply target", 1)]
    assert any(write.startswith("create job chat-verify") for write in between)
    assert village.condition("Applied") == ("True", "Applied")
    assert village.condition("SLOMet") == ("True", "Met")
    assert village.status.current is not None
    assert (village.status.current.gpus, village.status.current.evidence) == (2, "Observed")
    assert replicas(village) == 2


def test_both_verifications_are_at_the_full_demand_on_the_new_pods_only() -> None:
    seen: list[TrialAssignment] = []

    def script(assignment: Any) -> Any:
        if isinstance(assignment, TrialAssignment) and assignment.purpose == "Verify":
            seen.append(assignment)
        return verifying("Succeeded", part="nobody")(assignment)

    approved(script=script)
    assert [(one.rate_rps, len(one.endpoints), one.top_up) for one in seen] == [(7.5, 4, True), (7.5, 2, True)]
    assert len({one.seed for one in seen}) == 2


def test_a_scalers_replicas_are_left_alone() -> None:
    village = approved(scalers=("HorizontalPodAutoscaler/chat",))
    assert village.condition("Applied") == ("True", "Applied")
    assert replicas(village) == 4
    assert all("replicas" not in patch["spec"] for patch in village.applied)


def test_a_proposal_that_only_sizes_skips_the_template() -> None:
    village = approved(spec=a_spec(search={"precisions": ["AsIs"]}, workload={"static": {"requestRate": "4.5"}}))
    assert village.run.status.proposal is not None
    assert village.run.status.proposal.candidate == "as-is"
    assert [patch["spec"]["replicas"] for patch in village.applied] == [2]
    assert engine(village)["args"] == BASELINE_ARGS


# --- the way back ---


def test_a_roll_out_that_fails_goes_back_without_having_cut_a_replica() -> None:
    village = proposed()
    village.broken_image = "pods crash"
    village.approve()
    village.settle()
    assert village.condition("Applied") == ("False", "RolledBack")
    assert "pods crash" in village.message("Applied")
    assert serves_baseline(village)
    assert all(patch["spec"].get("replicas", 4) == 4 for patch in village.applied)


def test_a_miss_on_the_new_template_goes_back() -> None:
    village = approved(script=verifying("MissedSLO", "template"))
    assert village.condition("Applied") == ("False", "RolledBack")
    assert "p95 itl 80 ms" in village.message("Applied")
    assert serves_baseline(village)


def test_a_miss_at_the_new_size_restores_the_replicas_before_the_template() -> None:
    village = approved(script=verifying("MissedSLO", "replicas"))
    assert village.condition("Applied") == ("False", "RolledBack")
    steps = [
        (patch["spec"].get("replicas"), patch["spec"]["template"]["spec"]["containers"][0]["args"])
        for patch in village.applied
    ]
    assert [count for count, _ in steps] in ([None, 2, 4, 4], [4, 2, 4, 4])
    assert [args == BASELINE_ARGS for _, args in steps] == [False, False, False, True]
    assert serves_baseline(village)


def test_what_was_rolled_back_is_not_tried_again_until_asked() -> None:
    village = approved(script=verifying("MissedSLO", times=1))
    writes = list(village.applied)
    village.change(updatePolicy={"mode": "Auto"})
    village.settle()
    assert village.applied == writes
    village.change(search={"rerun": "again"})
    village.settle()
    assert village.condition("Applied") == ("True", "Applied")


@pytest.mark.parametrize("stop", [{"paused": True}, {"updatePolicy": {"mode": "Off"}}])
def test_a_needed_way_back_is_taken_though_new_writes_are_stopped(stop: Object) -> None:
    village = proposed()
    village.approve()
    for _ in range(3):
        village.tick()
    assert len(village.applied) == 1
    village.broken_image = "pods crash"
    village.roll()
    village.change(**stop)
    village.settle()
    assert village.condition("Applied") == ("False", "RolledBack")
    assert serves_baseline(village)


def test_stopped_mid_way_nothing_further_is_written() -> None:
    village = proposed()
    village.approve()
    for _ in range(3):
        village.tick()
    village.change(updatePolicy={"mode": "Off"})
    village.settle()
    assert len(village.applied) == 1
    assert village.condition("Applied") == ("False", "ModeOff")


def test_new_pods_that_are_not_ready_in_time_go_back() -> None:
    village = proposed()
    village.approve()
    village.tick()
    assert village.target is not None
    village.target["status"] |= {"availableReplicas": 1, "updatedReplicas": 1}
    village.tick()
    assert village.condition("Applied") == ("Unknown", "RollingOut")
    village.now += datetime.timedelta(seconds=village.settings.rollout_deadline_s + 1)
    village.tick()
    assert village.condition("Applied") == ("False", "RollingBack")
    village.settle()
    assert serves_baseline(village)


# --- no verdict ---


@pytest.mark.parametrize("outcome", ["no samples", "Void"])
def test_no_samples_is_inconclusive_never_a_pass(outcome: str) -> None:
    village = approved(script=verifying(outcome, "template"))
    assert village.condition("Applied") == ("Unknown", "VerificationInconclusive")
    assert len(village.applied) == 1
    assert replicas(village) == 4
    assert len([one for one in village.run.status.trials if one.purpose == "Verify"]) == 3


def test_after_no_verdict_withdrawing_puts_back_and_approving_verifies_again() -> None:
    village = approved(script=verifying("Void", "template", times=3))
    hash_ = village.run.status.proposal.hash  # type: ignore[union-attr]
    village.change(updatePolicy={"approvedProposal": ""})
    village.settle()
    assert serves_baseline(village)
    assert village.condition("Applied") == ("False", "AwaitingApproval")
    village.now += datetime.timedelta(minutes=1)
    village.change(updatePolicy={"approvedProposal": hash_})
    village.settle()
    assert village.condition("Applied") == ("True", "Applied")


# --- who may write ---


def owned_by(manager: str, operation: str = "Update") -> list[Object]:
    fields = {
        "f:spec": {
            "f:replicas": {},
            "f:template": {"f:spec": {"f:containers": {'k:{"name":"engine"}': {"f:image": {}, "f:args": {}}}}},
        }
    }
    return [
        {
            "manager": manager,
            "operation": operation,
            "apiVersion": "apps/v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
    ]


def test_fields_of_people_are_not_taken_without_being_allowed_to() -> None:
    village = Village(script=PLAY, spec=a_spec(targetRef={"takeOwnership": False}))
    assert village.target is not None
    village.target["metadata"]["managedFields"] = owned_by("kubectl-client-side-apply")
    village.settle()
    village.approve()
    village.settle()
    assert village.condition("OwnershipConflict") == ("True", "OwnershipConflict")
    assert "takeOwnership: true" in village.message("OwnershipConflict")
    assert not village.applied
    village.change(targetRef={"takeOwnership": True})
    village.settle()
    assert village.condition("OwnershipConflict") == ("False", "NoConflict")
    assert village.condition("Applied") == ("True", "Applied")


def test_fields_of_a_gitops_manager_need_the_targets_own_consent() -> None:
    village = Village(script=PLAY)
    assert village.target is not None
    village.target["metadata"]["managedFields"] = owned_by("argocd-controller", "Apply")
    village.settle()
    village.approve()
    village.settle()
    assert "released-fields" in village.message("OwnershipConflict")
    assert not village.applied
    village.target["metadata"]["annotations"]["rightsizer.dev/released-fields"] = "image,args,replicas"
    village.settle()
    assert village.condition("Applied") == ("True", "Applied")


def test_writes_are_forced_only_where_others_own_fields_and_allow_it() -> None:
    village = proposed()
    village.approve()
    (action,) = [one for one in advance(village.world()).actions if isinstance(one, ApplyTarget)]
    assert action.force is False
    assert village.target is not None
    village.target["metadata"]["managedFields"] = owned_by("kubectl-client-side-apply")
    (action,) = [one for one in advance(village.world()).actions if isinstance(one, ApplyTarget)]
    assert action.force is True


def test_a_conflict_of_the_dry_run_is_said_and_nothing_is_begun() -> None:
    village = proposed()
    village.approve()
    village.conflicts = ("flagger",)
    step = advance(village.world())
    assert not [one for one in step.actions if isinstance(one, ApplyTarget)]
    assert step.run_status is not None
    assert step.run_status.rollout is None
    village.perform(step)
    assert village.condition("OwnershipConflict") == ("True", "OwnershipConflict")
    assert "flagger" in village.message("OwnershipConflict")


# --- room ---


def test_without_spare_accelerators_the_rewrite_is_refused() -> None:
    village = proposed()
    village.nodes = [a_node(slots=4)]
    village.approve()
    village.settle()
    assert village.condition("Applied") == ("False", "NoSpareAccelerators")
    assert "needs 1 free rightsizer.dev/engine-slot" in village.message("Applied")
    assert not village.applied


def test_downtime_may_be_allowed_where_the_strategy_lets_old_pods_go() -> None:
    village = proposed()
    village.nodes = [a_node(slots=4)]
    village.change(updatePolicy={"allowDowntime": True})
    village.approve()
    village.settle()
    assert village.condition("Applied") == ("True", "Applied")


def test_allowed_downtime_is_still_refused_where_the_roll_out_could_not_move() -> None:
    target = a_target()
    target["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    village = proposed(target=target)
    village.nodes = [a_node(slots=4)]
    village.change(updatePolicy={"allowDowntime": True})
    village.approve()
    village.settle()
    assert village.condition("Applied") == ("False", "NoSpareAccelerators")
    assert "maxUnavailable" in village.message("Applied")


def test_a_recreate_strategy_needs_downtime_to_be_allowed() -> None:
    target = a_target()
    target["spec"]["strategy"] = {"type": "Recreate"}
    village = proposed(target=target)
    village.approve()
    village.settle()
    assert village.condition("Applied") == ("False", "NoSpareAccelerators")


# --- somebody else changes the target ---


def restore_baseline(village: Village) -> None:
    """What ``kubectl apply`` of the old manifest does: values back, our annotations left."""
    assert village.target is not None
    fresh = a_target()
    container = village.target["spec"]["template"]["spec"]["containers"][0]
    container["args"] = list(fresh["spec"]["template"]["spec"]["containers"][0]["args"])
    container["volumeMounts"] = copy.deepcopy(fresh["spec"]["template"]["spec"]["containers"][0]["volumeMounts"])
    village.target["spec"]["replicas"] = 4
    village.roll()


def test_a_baseline_put_back_is_answered_twice_an_hour_and_then_left() -> None:
    village = approved()
    for _ in range(2):
        restore_baseline(village)
        village.settle()
        assert village.condition("Applied") == ("True", "Applied")
    before = len(village.applied)
    restore_baseline(village)
    village.now -= datetime.timedelta(minutes=50)
    village.settle()
    assert village.condition("OwnershipConflict") == ("True", "Reverted")
    assert len(village.applied) == before
    assert serves_baseline(village)
    village.now += datetime.timedelta(hours=3)
    village.settle()
    assert village.condition("Applied") == ("True", "Applied")


def change_image(village: Village) -> None:
    engine(village)["image"] = "docker.example/vllm-openai:v0.12.0"
    village.roll()


@pytest.mark.parametrize("ticks", [4, 12, 30])
def test_new_values_on_the_target_are_new_intent_and_start_a_new_run(ticks: int) -> None:
    village = Village(script=PLAY)
    for _ in range(ticks):
        village.tick()
        village.play_jobs()
    first = village.run.name
    change_image(village)
    village.settle()
    assert village.run.name != first
    assert village.runs[first].status.phase == "Superseded"
    assert village.condition("ProposalReady")[0] == "True"
    assert village.run.spec.baseline.serving.image.endswith("v0.12.0")
    assert not village.applied


def test_new_values_during_a_roll_out_are_not_overwritten() -> None:
    village = proposed()
    village.approve()
    for _ in range(3):
        village.tick()
    change_image(village)
    before = len(village.applied)
    village.tick()
    assert len(village.applied) == before
    village.settle()
    assert engine(village)["image"].endswith("v0.12.0")
    assert village.condition("Applied")[0] == "False"


def test_the_proposal_applied_by_somebody_else_counts_as_applied() -> None:
    village = proposed()
    other = approved()
    village.target = copy.deepcopy(other.target)
    assert village.target is not None
    del village.target["metadata"]["annotations"]["rightsizer.dev/applied-proposal"]
    village.settle()
    assert village.condition("Applied") == ("True", "Applied")
    assert "not verified" in village.message("Applied")
    assert not village.applied


def test_a_target_that_was_deleted_and_made_again_gets_a_new_run() -> None:
    village = proposed()
    first = village.run.name
    assert village.target is not None
    village.target["metadata"]["uid"] = "another"
    village.replica_sets.clear()
    village.roll()
    village.settle()
    assert village.run.name != first


def test_a_job_is_never_started_beside_a_write() -> None:
    village = Village(script=PLAY, spec=a_spec(updatePolicy={"mode": "Auto"}))
    for _ in range(80):
        step = village.tick()
        kinds = {type(action) for action in step.actions}
        assert not {CreateJob, ApplyTarget} <= kinds
        village.play_jobs()
    assert village.condition("Applied") == ("True", "Applied")


def put_template_back(village: Village) -> None:
    """Somebody applies the old manifest, which names no replicas."""
    count = replicas(village)
    restore_baseline(village)
    assert village.target is not None
    village.target["spec"]["replicas"] = count
    village.roll()


def test_the_old_template_is_never_left_with_the_smaller_size_of_the_proposal() -> None:
    village = approved()
    village.change(updatePolicy={"approvedProposal": ""})
    put_template_back(village)
    village.settle()
    assert village.condition("Applied") == ("False", "AwaitingApproval")
    assert serves_baseline(village)


def test_a_claim_that_vanishes_during_a_roll_out_does_not_leave_it_half_way() -> None:
    village = proposed()
    village.approve()
    for _ in range(3):
        village.tick()
    village.claim = None
    village.settle()
    assert village.condition("Applied") == ("Unknown", "ClaimNotFound")
    assert village.run.status.rollout is not None
    assert village.run.status.rollout.step == "Applied"
    assert replicas(village) == 2


def test_records_that_fill_the_run_end_verification_without_a_pass() -> None:
    village = proposed()
    record = village.run.status.trials[0]
    filler = [record.model_copy(update={"job": f"old-{n}", "purpose": "Verify", "subject": "x"}) for n in range(90)]
    full = village.run.status.model_copy(update={"trials": (*village.run.status.trials, *filler)})
    village.runs[village.run.name] = replaced(village.run, full)
    village.approve()
    village.settle()
    assert village.condition("Applied") == ("Unknown", "VerificationInconclusive")
    assert len(village.run.status.trials) == 96
