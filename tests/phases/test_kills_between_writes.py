"""Killed between any two writes, the operator goes on to the same end: one run, no Job twice, the same decision and
the same target.
"""

import copy

import pytest

from rightsizer_operator.phases import advance
from tests.phases.builders import a_spec
from tests.phases.rewrites import verifying
from tests.phases.village import Script, Village, capacities


def played(kill_before: int | None, script: Script | None = None) -> Village:
    """A whole life: search, approval by mode Auto, rewrite, verification."""
    changes = {} if script is None else {"script": script}
    village = Village(spec=a_spec(updatePolicy={"mode": "Auto"}), **changes)
    village.kill_before = kill_before
    village.settle()
    return village


def outcome(village: Village) -> dict[str, object]:
    """What must not depend on when the operator was killed: everything but times."""
    run, status = village.run, village.status
    return {
        "runs": sorted(village.runs),
        "jobs": sorted(village.created_jobs),
        "records": [(one.job, one.outcome, one.attempt) for one in run.status.trials],
        "proposal": run.status.proposal,
        "proof": run.status.proof,
        "step": run.status.rollout.step if run.status.rollout else "",
        "conditions": [(one.type, one.status, one.reason) for one in status.conditions],
        "target": village.target["spec"] if village.target else None,
        "left": (sorted(village.jobs), status.phase),
    }


UNDISTURBED = played(None)


def test_an_undisturbed_life_ends_applied_and_verified() -> None:
    assert UNDISTURBED.condition("Applied") == ("True", "Applied")
    assert UNDISTURBED.target is not None
    assert UNDISTURBED.target["spec"]["replicas"] == 2
    assert not UNDISTURBED.jobs


@pytest.mark.parametrize("write", range(len(UNDISTURBED.writes)))
def test_killed_before_any_write_it_ends_the_same(write: int) -> None:
    assert outcome(played(write)) == outcome(UNDISTURBED)


def too_slow_at_the_new_size() -> Script:
    return verifying("MissedSLO", "replicas")


TURNED_BACK = played(None, too_slow_at_the_new_size())
FROM_THE_REWRITE_ON = range(TURNED_BACK.writes.index("apply target") - 1, len(TURNED_BACK.writes))


@pytest.mark.parametrize("write", FROM_THE_REWRITE_ON)
def test_killed_before_any_write_of_a_way_back_it_ends_at_the_baseline(write: int) -> None:
    village = played(write, too_slow_at_the_new_size())
    assert village.condition("Applied") == ("False", "RolledBack")
    assert outcome(village) == outcome(TURNED_BACK)
    assert village.target is not None
    assert village.target["spec"]["replicas"] == 4


def test_from_every_stored_state_the_same_next_action_follows_and_no_second_one() -> None:
    village = Village(spec=a_spec(updatePolicy={"mode": "Auto"}))
    for _ in range(120):
        world = village.world()
        first, again = advance(world), advance(copy.deepcopy(world))
        assert first == again
        before = len(village.writes)
        village.perform(first)
        unchanged = village.world()
        second = advance(unchanged)
        made = [action for action in second.actions if action in first.actions]
        village.play_jobs()
        if len(village.writes) == before and not village.jobs:
            break
        creations = [action for action in made if type(action).__name__ == "CreateJob"]
        assert creations == []
    assert village.condition("Applied") == ("True", "Applied")


def test_a_settled_resource_is_left_alone() -> None:
    village = played(None)
    before = list(village.writes)
    for _ in range(3):
        village.tick()
    assert village.writes == before
    assert len(village.events) == len(UNDISTURBED.events)


def test_while_a_trial_runs_nothing_is_written() -> None:
    village = Village()
    for _ in range(4):
        village.tick()
    assert len(village.jobs) == 1
    before = list(village.writes)
    village.tick()
    village.now += (village.now - village.now.replace(minute=0)) * 2
    village.tick()
    assert village.writes == before


def test_a_job_deleted_by_hand_is_made_again_under_its_name() -> None:
    village = Village(script=capacities(int8=4.0))
    for _ in range(4):
        village.tick()
    (name,) = village.jobs
    village.jobs.clear()
    village.created_jobs.clear()
    village.tick()
    assert list(village.jobs) == [name]
