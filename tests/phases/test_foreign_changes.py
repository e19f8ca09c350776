"""Somebody else writes the target: old values are answered twice an hour at most, new values are new intent."""

import copy
import datetime

import pytest

from rightsizer_operator.actions import ApplyTarget, CreateJob
from rightsizer_operator.phases import advance
from rightsizer_operator.world import Step
from tests.phases.builders import a_spec
from tests.phases.rewrites import (
    PLAY,
    approved,
    change_image,
    engine,
    proposed,
    replicas,
    restore_baseline,
    serves_baseline,
)
from tests.phases.village import Village, replaced

# --- somebody else changes the target ---


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
    assert village.status.current is not None
    assert (village.status.current.candidate, village.status.current.gpus) == ("int8", 2)
    assert village.status.current.evidence == "Measured"


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


def test_a_replaced_manifest_that_lost_our_mark_is_a_baseline_put_back_too() -> None:
    village = approved()
    for _ in range(2):
        replace_manifest(village)
        village.settle()
        assert village.condition("Applied") == ("True", "Applied")
    before = len(village.applied)
    replace_manifest(village)
    village.now -= datetime.timedelta(minutes=50)
    village.settle()
    assert village.condition("OwnershipConflict") == ("True", "Reverted")
    assert len(village.applied) == before


def replace_manifest(village: Village) -> None:
    """``kubectl replace``: the old manifest as it is in a file, without our annotations."""
    assert village.target is not None
    village.target["metadata"]["annotations"].pop("rightsizer.dev/applied-proposal")
    restore_baseline(village)


def test_replicas_set_back_by_somebody_are_left_alone_and_said() -> None:
    village = approved()
    assert village.target is not None
    before = len(village.applied)
    village.target["spec"]["replicas"] = 4
    village.roll()
    village.settle()
    assert village.condition("Applied") == ("False", "Reverted")
    assert "scale the Deployment to 2" in village.message("Applied")
    assert village.status.current is not None
    assert (village.status.current.candidate, village.status.current.gpus) == ("int8", 4)
    assert len(village.applied) == before
    village.target["spec"]["replicas"] = 2
    village.roll()
    village.settle()
    assert village.condition("Applied") == ("True", "Applied")


def test_while_the_baseline_is_put_back_it_is_what_serves() -> None:
    village = approved()
    village.change(updatePolicy={"mode": "Off"})
    restore_baseline(village)
    village.settle()
    assert village.status.current is not None
    assert (village.status.current.candidate, village.status.current.gpus) == ("as-is", 4)
    assert not village.message("SLOMet").startswith("observed")


def test_a_roll_out_that_another_manager_keeps_from_its_first_write_does_not_hold_up_new_inputs() -> None:
    village = proposed()
    village.approve()
    begun = advance(village.world()).run_status
    village.perform(Step(status=village.status, run_status=begun))
    assert village.run.status.rollout is not None
    assert not village.applied
    village.conflicts = ("flagger",)
    village.settle()
    assert village.condition("OwnershipConflict") == ("True", "OwnershipConflict")
    before = village.run.name
    village.change(workload={"static": {"requestRate": "9"}})
    village.settle()
    assert village.run.name != before
    village.change(workload={"static": {"requestRate": "7.5"}})
    village.settle()
    assert village.run.name == before
    assert village.run.status.rollout is None
    village.conflicts = ()
    village.settle()
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


def test_a_sidecar_added_during_a_roll_out_does_not_leave_it_half_way() -> None:
    spec = a_spec(targetRef={"container": None})
    village = proposed(spec=spec)
    village.approve()
    for _ in range(3):
        village.tick()
    assert village.target is not None
    village.target["spec"]["template"]["spec"]["containers"].append({"name": "proxy", "image": "docker.example/p:1"})
    village.roll()
    village.settle()
    assert village.condition("Stalled") == ("True", "ContainerAmbiguous")
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
