"""Two writes, each verified on the new pods; nothing is written without permission, ownership and room."""

from typing import Any

from rightsizer_jobs.contract import TrialAssignment
from rightsizer_operator.actions import ApplyTarget
from rightsizer_operator.phases import advance
from rightsizer_operator.sizing import verdicts
from tests.phases.builders import (
    DIGEST,
    Object,
    a_compress_report,
    a_node,
    a_report,
    a_spec,
    a_target,
    some_settings,
)
from tests.phases.rewrites import (
    BASELINE_ARGS,
    PLAY,
    approved,
    engine,
    proposed,
    replicas,
    serves_baseline,
    verifying,
)
from tests.phases.village import Village

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


def test_what_replayed_engines_showed_is_never_told_as_seen_or_measured() -> None:
    def script(assignment: Any) -> Any:
        if not isinstance(assignment, TrialAssignment):
            return a_compress_report(assignment)
        rate = {"as-is": 2.5, "int8": 4.0, "int4": 3.0}.get(assignment.candidate, 1000.0)
        return a_report(assignment, capacity=rate, replayed="recorded latencies")

    before = Village(script=script)
    before.settle()
    assert before.condition("SLOMet")[0] == "True"
    assert before.message("SLOMet").endswith("(replayed)")
    village = approved(script=script)
    assert village.condition("Applied") == ("True", "Applied")
    assert village.message("SLOMet").startswith("replayed on the new pods")
    assert village.status.current is not None
    assert village.status.current.evidence == "Replayed"


def test_both_verifications_put_the_full_demand_on_as_many_new_pods_as_are_planned() -> None:
    seen: list[TrialAssignment] = []

    def script(assignment: Any) -> Any:
        if isinstance(assignment, TrialAssignment) and assignment.purpose == "Verify":
            seen.append(assignment)
        return verifying("Succeeded", part="nobody")(assignment)

    approved(script=script)
    assert [(one.rate_rps, len(one.endpoints), one.top_up) for one in seen] == [(7.5, 2, True), (7.5, 2, True)]
    assert len({one.seed for one in seen}) == 2


def test_the_new_template_is_asked_a_few_questions_and_has_to_answer_as_in_its_trial() -> None:
    told: dict[str, TrialAssignment] = {}

    def script(assignment: Any) -> Any:
        if isinstance(assignment, TrialAssignment) and assignment.purpose == "Verify":
            told[assignment.candidate.partition("-")[2]] = assignment
        return PLAY(assignment)

    village = approved(script=script)
    assert village.condition("Applied") == ("True", "Applied")
    questions, report = told["template"].questions, village.run.status
    assert questions is not None
    assert (questions.max_questions, questions.sha256) == (100, DIGEST)
    measured = next(one for one in report.trials if (one.purpose, one.subject) == ("Explore", "int8"))
    found = verdicts.report_of(measured)
    assert found is not None
    assert told["template"].baseline_answers == found.answers
    assert told["replicas"].questions is None


def test_new_pods_that_answer_worse_than_the_trial_go_back() -> None:
    village = approved(script=verifying("FailedQuality", "template"))
    assert village.condition("Applied") == ("False", "RolledBack")
    assert serves_baseline(village)
    assert replicas(village) == 4


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


def test_the_way_back_is_tried_unforced_though_the_permission_was_withdrawn_meanwhile() -> None:
    village = proposed()
    village.broken_image = "pods crash"
    village.approve()
    village.tick()
    assert len(village.applied) == 1
    assert village.target is not None
    village.target["metadata"]["managedFields"] = owned_by("kubectl-client-side-apply")
    village.change(targetRef={"takeOwnership": False})
    (action,) = [one for one in advance(village.world()).actions if isinstance(one, ApplyTarget)]
    assert action.force is False
    village.settle()
    assert village.condition("Applied") == ("False", "RolledBack")
    assert serves_baseline(village)


def test_a_conflict_on_the_way_back_is_said_with_what_to_paste() -> None:
    village = proposed()
    village.broken_image = "pods crash"
    village.approve()
    village.tick()
    assert village.target is not None
    village.target["metadata"]["managedFields"] = owned_by("kubectl-client-side-apply")
    village.change(targetRef={"takeOwnership": False})
    village.conflicts = ("kubectl-client-side-apply",)
    step = advance(village.world())
    assert not [one for one in step.actions if isinstance(one, ApplyTarget)]
    village.perform(step)
    assert village.condition("OwnershipConflict") == ("True", "OwnershipConflict")
    assert "takeOwnership: true" in village.message("OwnershipConflict")


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


def test_where_neither_surge_nor_absence_is_allowed_the_controller_takes_one_pod_away() -> None:
    village = proposed(spec=a_spec(updatePolicy={"allowDowntime": True}))
    assert village.target is not None
    village.target["spec"]["strategy"] = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "20%"}}
    village.approve()
    village.settle()
    assert village.condition("Applied") == ("True", "Applied")


def test_a_deployment_that_waits_shorter_than_the_engine_loads_is_not_rewritten() -> None:
    village = proposed()
    assert village.target is not None
    village.target["spec"]["progressDeadlineSeconds"] = 60
    village.approve()
    village.settle()
    assert village.condition("Applied") == ("False", "ProgressDeadlineTooShort")
    assert "took 60 s" in village.message("Applied")
    assert not village.applied
    village.target["spec"]["progressDeadlineSeconds"] = 61
    village.settle()
    assert village.condition("Applied") == ("True", "Applied")


def test_a_recreate_strategy_needs_downtime_to_be_allowed() -> None:
    target = a_target()
    target["spec"]["strategy"] = {"type": "Recreate"}
    village = proposed(target=target)
    village.approve()
    village.settle()
    assert village.condition("Applied") == ("False", "NoSpareAccelerators")
