"""Back to the recorded baseline where a rewrite fails, replicas first; without a verdict it holds and says so."""

import datetime

import pytest

from tests.phases.builders import Object
from tests.phases.rewrites import BASELINE_ARGS, approved, proposed, replicas, serves_baseline, verifying
from tests.phases.village import stamp

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


def test_new_pods_that_stop_being_ready_before_they_are_verified_go_back() -> None:
    village = proposed()
    village.approve()
    while village.run.status.rollout is None or village.run.status.rollout.step != "VerifyTemplate":
        village.tick()
    assert village.target is not None
    for pod in village.target_pods:
        pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    village.target["status"]["availableReplicas"] = 0
    village.tick()
    assert village.condition("Applied") == ("Unknown", "Verifying")
    village.now += datetime.timedelta(seconds=village.settings.rollout_deadline_s + 2)
    village.tick()
    assert village.condition("Applied") == ("False", "RollingBack")
    village.settle()
    assert serves_baseline(village)


def test_a_roll_out_that_moves_on_pod_by_pod_is_given_time() -> None:
    village = proposed()
    village.approve()
    village.tick()
    assert village.target is not None
    deadline = datetime.timedelta(seconds=village.settings.rollout_deadline_s)
    for updated in (1, 2, 3):
        village.now += deadline - datetime.timedelta(minutes=1)
        progress = {"type": "Progressing", "status": "True", "lastUpdateTime": stamp(village.now)}
        village.target["status"] |= {"availableReplicas": 3, "updatedReplicas": updated, "conditions": [progress]}
        village.tick()
        assert village.condition("Applied") == ("Unknown", "RollingOut")
    village.now += deadline + datetime.timedelta(seconds=1)
    village.tick()
    assert village.condition("Applied") == ("False", "RollingBack")


def test_a_pause_between_the_two_writes_is_not_held_against_the_roll_out() -> None:
    village = proposed()
    village.approve()
    while village.run.status.rollout is None or village.run.status.rollout.step != "Replicas":
        village.tick()
        village.play_jobs()
    assert replicas(village) == 4
    village.change(paused=True)
    village.settle()
    village.now += datetime.timedelta(hours=5)
    village.settle()
    assert village.condition("Applied") == ("False", "Paused")
    village.change(paused=False)
    village.settle()
    assert village.condition("Applied") == ("True", "Applied")
    assert replicas(village) == 2


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
