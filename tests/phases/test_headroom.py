"""Headroom and spare replicas reach everything that counts replicas: the bar of the race, the plan, the words of the
proposal, the verification, the proof; and the decision as a whole is the least by enumeration.
"""

import random
from typing import Any

import pytest

from rightsizer_jobs.contract import TrialAssignment
from rightsizer_operator.manifests import baseline as baselines
from rightsizer_operator.sizing import fingerprint
from tests.phases.builders import a_spec, a_target
from tests.phases.village import Village, capacities


def settled(script: Any = None, **changes: Any) -> Village:
    village = Village(**{**({"script": script} if script else {}), **changes})
    village.settle()
    return village


def bars(village: Village) -> dict[str, str | None]:
    return {one.subject: one.rate_rps for one in village.run.status.trials if one.purpose == "Explore"}


def test_without_a_wish_nothing_is_kept_free() -> None:
    village = settled()
    assert village.status.proposal is not None
    assert village.status.proposal.gpus == "4 -> 2"
    assert village.status.proposal.sizing.startswith("2 replicas carry 7.5 requests/s at ")


def test_headroom_raises_the_bar_and_the_plan_and_is_told() -> None:
    village = settled(spec=a_spec(sizing={"headroomPercent": 20}), target=a_target(replicas=5), nodes=None)
    assert bars(village)["int8"] == "3"  # 9 requests/s on 3 replicas: one fewer than the baseline's 4
    proposal = village.status.proposal
    assert proposal is not None
    assert proposal.configuration.replicas == 3
    assert "3 replicas carry 9 requests/s (7.5 and 20 % headroom) at" in proposal.sizing
    assert proposal.sizing in village.message("ProposalReady")


def test_a_spare_replica_is_counted_told_and_proven() -> None:
    village = settled(spec=a_spec(sizing={"spareReplicas": 1}), target=a_target(replicas=5), nodes=None)
    proposal = village.status.proposal
    assert proposal is not None
    assert proposal.gpus == "5 -> 3"
    assert "2 replicas carry 7.5 requests/s" in proposal.sizing
    assert proposal.sizing.endswith("1 more spare")
    entry = next(one for one in village.run.status.proof if one.candidate == "int8")
    assert (entry.replicas, entry.needed_rps) == (2, "7.5")


def test_utilisation_and_headroom_are_told_at_the_demand_for_both_sides() -> None:
    village = settled()
    current, proposal = village.status.current, village.status.proposal
    assert current is not None and proposal is not None
    for side in (current, proposal.configuration):
        used = float(side.utilisation_percent or 0) / 100
        assert float(side.headroom_percent or 0) == pytest.approx(100 * (1 / used - 1), abs=0.5)


def test_a_baseline_that_falls_short_has_negative_headroom() -> None:
    village = settled(spec=a_spec(search={"precisions": ["AsIs"]}, workload={"static": {"requestRate": "13"}}))
    assert village.run.status.current is not None
    assert float(village.run.status.current.headroom_percent or 0) < 0


def test_the_full_demand_is_verified_on_the_replicas_that_are_not_spare() -> None:
    seen: list[tuple[int, float]] = []
    play = capacities(as_is=2.5, int8=4.0)

    def script(assignment: Any) -> Any:
        if isinstance(assignment, TrialAssignment) and assignment.purpose == "Verify":
            seen.append((len(assignment.endpoints), assignment.rate_rps or 0.0))
        return play(assignment)

    village = settled(script, spec=a_spec(sizing={"spareReplicas": 1}), nodes=None)
    village.approve()
    village.settle()
    assert village.condition("Applied") == ("True", "Applied")
    assert village.target is not None
    assert village.target["spec"]["replicas"] == 3
    assert seen == [(2, 7.5), (2, 7.5)]


def test_a_candidate_whose_spare_replica_alone_is_too_large_is_not_tried() -> None:
    spec = a_spec(
        search={"precisions": ["AsIs"], "maxGPUsPerReplica": 2}, sizing={"spareReplicas": 1},
        workload={"static": {"requestRate": "5"}},
    )  # fmt: skip
    village = settled(capacities(as_is=2.6), spec=spec, nodes=None)
    larger = next(one for one in village.run.status.candidates if one.id == "as-is-tp2")
    assert larger.outcome == "CannotBeat"
    assert "not tried: one replica and 1 spare have 4 accelerators" in larger.verdict


@pytest.mark.parametrize("sizing", [{"headroomPercent": 10}, {"spareReplicas": 1}])
def test_what_is_kept_free_is_an_input_of_the_run(sizing: dict[str, int]) -> None:
    snapshot = baselines.snapshot(a_target(), a_spec(), ())
    kept, none = (fingerprint.inputs_fingerprint(spec, snapshot, "h100") for spec in (a_spec(sizing=sizing), a_spec()))
    assert kept != none


@pytest.mark.parametrize("seed", range(12))
def test_no_certified_plan_is_smaller_than_the_proposal_whatever_the_engines_do(seed: int) -> None:
    """Random engines through the whole search; what any one of them would truly carry is known here."""
    dice = random.Random(seed)
    names = ("as-is", "int8", "int4")
    true = {name: round(dice.uniform(0.8, 6.0), 2) for name in names}
    headroom, spare = dice.choice((0, 15, 50)), dice.choice((0, 0, 1))
    demand = round(dice.uniform(2, 14), 1)
    spec = a_spec(
        sizing={"headroomPercent": headroom, "spareReplicas": spare}, workload={"static": {"requestRate": f"{demand}"}}
    )
    village = settled(
        capacities(**{name.replace("-", "_"): rate for name, rate in true.items()}), spec=spec, nodes=None
    )
    status = village.run.status
    rates = {one.id: float(one.configuration.certified_rps or 0) for one in status.candidates if one.configuration}
    decided = status.proposal.gpus if status.proposal else 4
    carried = demand * (1 + headroom / 100)
    for name, rate in rates.items():
        for replicas in range(1 + spare, decided):
            assert (replicas - spare) * rate < carried, (name, replicas, rates, decided)
    for entry in status.proof:
        true_rate = true.get(entry.candidate, 0.0)
        if entry.evidence == "Measured" and entry.needed_rps:
            assert true_rate * 0.9 < float(entry.needed_rps), entry
