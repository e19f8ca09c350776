"""Whatever people, other managers and crashes do, in any order: the end is consistent, no write is out of place."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rightsizer_operator.actions import ApplyTarget, CreateJob
from rightsizer_operator.phases import gate
from rightsizer_operator.world import Step
from tests.phases.builders import a_claim, a_node
from tests.phases.rewrites import BASELINE_ARGS, PLAY, change_image, restore_baseline, verifying
from tests.phases.village import Killed, Village


def approve(village: Village) -> None:
    if village.status.proposal is not None:
        village.approve()


def kill_soon(village: Village) -> None:
    village.kill_before = len(village.writes) + 1


def deeds() -> dict[str, Callable[[Village], Any]]:
    """What may happen between two looks."""
    return {
        "approve": approve,
        "withdraw": lambda v: v.change(updatePolicy={"approvedProposal": ""}),
        "off": lambda v: v.change(updatePolicy={"mode": "Off"}),
        "manual": lambda v: v.change(updatePolicy={"mode": "Manual"}),
        "auto": lambda v: v.change(updatePolicy={"mode": "Auto"}),
        "pause": lambda v: v.change(paused=True),
        "resume": lambda v: v.change(paused=False),
        "more demand": lambda v: v.change(workload={"static": {"requestRate": "9"}}),
        "old demand": lambda v: v.change(workload={"static": {"requestRate": "7.5"}}),
        "rerun": lambda v: v.change(search={"rerun": str(v.generation)}),
        "kubectl apply": restore_baseline,
        "new image": change_image,
        "kill": kill_soon,
        "no claim": lambda v: setattr(v, "claim", None),
        "claim": lambda v: setattr(v, "claim", a_claim()),
        "no room": lambda v: setattr(v, "nodes", [a_node(slots=4)]),
        "room": lambda v: setattr(v, "nodes", [a_node(slots=6)]),
        "pods crash": lambda v: setattr(v, "broken_image", "crash"),
        "pods work": lambda v: setattr(v, "broken_image", ""),
        "latency up": lambda v: setattr(v, "script", verifying("MissedSLO")),
        "latency down": lambda v: setattr(v, "script", PLAY),
    }


def watched(village: Village) -> None:
    """One look, with every write checked against what was known when it was decided."""
    spec = village.spec
    try:
        step = village.tick()
    except Killed:
        return
    writes = [one for one in step.actions if isinstance(one, ApplyTarget)]
    stopped = spec.paused or spec.update_policy.mode == "Off"
    assert len(writes) <= 1
    assert not (spec.paused and any(isinstance(one, CreateJob) for one in step.actions))
    for write in writes:
        back = village.condition("Applied")[1] in ("RollingBack", "NotApplied", "ModeOff", "Paused")
        assert back or not stopped, write
        check_size(village, write, step)
    assert len(village.jobs) <= 1


def check_size(village: Village, write: ApplyTarget, step: Step) -> None:
    """Capacity is never cut in the write that changes the template."""
    assert step.run_status is not None
    args = write.patch["spec"]["template"]["spec"]["containers"][0]["args"]
    replicas, proposal = write.patch["spec"].get("replicas"), step.run_status.proposal
    restores = args == BASELINE_ARGS and proposal is not None and proposal.serving.args != tuple(args)
    if restores and replicas is not None:
        assert replicas == village.run.spec.baseline.replicas


def check_end(village: Village) -> None:
    """Quiet: the status says what is."""
    assert village.status.observed_generation == village.generation
    status, reason = village.condition("Applied")
    assert village.target is not None
    if village.condition("Stalled")[0] == "True" or village.status.run_ref is None:
        return
    run = village.run
    if village.spec.paused and run.status.phase == "Superseded":
        return
    state = gate.target_state(run, village.target)
    assert state.known
    if status == "True":
        assert state.applied, reason
    if reason == "RolledBack":
        assert state.is_baseline
    if village.status.proposal is not None:
        assert run.status.proposal is not None
        assert village.status.proposal.hash == run.status.proposal.hash
    kept = {village.run.name, village.status.applied_run_ref.name if village.status.applied_run_ref else ""}
    assert kept - {""} <= set(village.runs)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(deeds())), st.integers(0, 25)), max_size=8))
def test_any_order_of_events_ends_consistent(script: list[tuple[str, int]]) -> None:
    village, known = Village(script=PLAY), deeds()
    for name, looks in script:
        known[name](village)
        for _ in range(looks):
            watched(village)
            village.play_jobs()
    village.kill_before = None
    village.settle(400)
    check_end(village)
    before = list(village.writes)
    village.tick()
    assert village.writes == before
