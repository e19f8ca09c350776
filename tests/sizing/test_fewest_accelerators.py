"""The decision against exhaustive enumeration: no feasible plan has fewer accelerators, and the proof covers every one.

Candidates are random in accelerators per replica, rate, outcome and price; demands have headroom and spare replicas.
"""

import random
from collections.abc import Iterator

from rightsizer_jobs.contract import Probe, Slo, TrialReport
from rightsizer_operator.resource.run import Alternative, Candidate, Serving
from rightsizer_operator.sizing import proof, ranking
from rightsizer_operator.sizing.gpus import Requirement
from rightsizer_operator.sizing.verdicts import AS_IS, Standing

CASES = 2000
SLO = Slo(itl_ms=50)
OUTCOMES = ("Succeeded",) * 6 + ("MissedSLO", "FailedQuality", "EngineFailed", "CannotBeat", "Pending", "Unsupported")


def a_case(dice: random.Random) -> tuple[list[Standing], Requirement, float | None]:
    required = Requirement(
        round(dice.uniform(0.2, 60), 3), dice.choice((0, 0, 10, 25, 100)), dice.choice((0, 0, 0, 1, 2))
    )
    standings = [_standing(dice, AS_IS if index == 0 else f"c{index}") for index in range(dice.randint(1, 12))]
    return standings, required, dice.choice((None, 0.5, 2.5))


def _standing(dice: random.Random, id_: str) -> Standing:
    serving = Serving(image="i", accelerators=dice.choice((1, 1, 2, 4, 8)))
    outcome = dice.choice(OUTCOMES)
    rate = round(dice.uniform(0.05, 12), 3) if outcome == "Succeeded" else 0.0
    lost = outcome == "Succeeded" and dice.random() < 0.1
    return Standing(
        candidate=Candidate(id=id_, engine="VLLM", precision="AsIs", serving=serving),
        outcome=outcome,  # type: ignore[arg-type]
        rate_rps=rate,
        certified=outcome == "Succeeded",
        lost="its certification missed" if lost else "",
        missed_rps=rate if lost else None,
        reason=outcome,
    )


def carries(standing: Standing, replicas: int, required: Requirement) -> bool:
    """From first principles: with the spare replicas away, the others sustain the demand and its headroom."""
    if standing.outcome != "Succeeded" or standing.lost:
        return False
    left = replicas - required.spare_replicas
    return left >= 1 and left * standing.rate_rps * (1 + 1e-9) >= required.demand_rps * (
        1 + required.headroom_percent / 100
    )


def every_plan(standings: list[Standing], most_gpus: int) -> Iterator[tuple[Standing, int]]:
    for standing in standings:
        for replicas in range(1, most_gpus // standing.gpus_per_replica + 1):
            yield standing, replicas


def test_no_feasible_plan_has_fewer_accelerators_than_the_one_that_is_chosen() -> None:
    dice, decided = random.Random(20), 0
    for _ in range(CASES):
        standings, required, price = a_case(dice)
        plans = ranking.ranked(standings, required, SLO, price)
        feasible = [one for one in standings if one.outcome == "Succeeded" and not one.lost]
        assert bool(plans) == bool(feasible)
        if not plans:
            continue
        decided += 1
        best = plans[0]
        assert carries(best.standing, best.replicas, required)
        smaller = [plan for plan in every_plan(standings, best.gpus - 1) if carries(*plan, required)]
        assert smaller == [], (required, best, smaller)
    assert decided > 1000


def test_the_proof_covers_every_smaller_plan_and_is_open_only_where_nothing_was_measured() -> None:
    dice = random.Random(21)
    for _ in range(CASES):
        standings, required, price = a_case(dice)
        plans = ranking.ranked(standings, required, SLO, price)
        gpus = plans[0].gpus if plans else 8
        entries = proof.proof(standings, proof.Claim(required=required, gpus=gpus, slo=SLO, per_replica=1))
        by_candidate = {one.candidate: one for one in entries}
        assert len(by_candidate) == len(entries)
        for standing, replicas in every_plan(standings, gpus - 1):
            entry = by_candidate[standing.candidate.id]
            assert entry.replicas >= replicas
            assert entry.gpus < gpus
        for standing in standings:
            if standing.candidate.id not in by_candidate:
                assert standing.gpus_per_replica >= gpus
                assert standing.candidate.id in by_candidate[proof.NO_SMALLER].ruled_out_by
            else:
                _is_honest(standing, by_candidate[standing.candidate.id], required)


def _is_honest(standing: Standing, entry: Alternative, required: Requirement) -> None:
    """Nothing that was not measured is called measured, and nothing that carries the demand is called ruled out."""
    if entry.needed_rps is None:  # spare replicas only
        assert entry.evidence == "Rule"
    elif standing.outcome in ("Pending", "CannotBeat") or (standing.lost and _below(standing, entry, required)):
        assert entry.evidence == "Open"
    elif standing.outcome == "Unsupported":
        assert entry.evidence == "Rule"
    else:
        assert entry.evidence == "Measured"
        assert not carries(standing, entry.replicas, required)


def _below(standing: Standing, entry: Alternative, required: Requirement) -> bool:
    """Whether the plan asks a replica for less than the lowest rate that was missed."""
    assert standing.missed_rps is not None
    needed = required.carried_rps / (entry.replicas - required.spare_replicas)
    return needed < standing.missed_rps * (1 - 1e-9)


def test_two_accelerators_times_three_lose_to_four_times_one_whatever_their_cost_or_slack() -> None:
    pair = _fixed("tp2", 2, 2.0)
    quad = _fixed("tp4", 4, 6.0)
    (first, second) = ranking.ranked([pair, quad], Requirement(6.0), SLO, 2.5)
    assert [(plan.candidate_id, plan.replicas, plan.gpus) for plan in (first, second)] == [
        ("tp4", 1, 4),
        ("tp2", 3, 6),
    ]


def test_one_spare_replica_makes_small_replicas_the_better_choice() -> None:
    """The spare of four accelerators costs more than the one of two."""
    pair, quad = _fixed("tp2", 2, 3.0), _fixed("tp4", 4, 6.5)
    assert ranking.ranked([pair, quad], Requirement(6.0), SLO)[0].gpus == 4
    first, second = ranking.ranked([pair, quad], Requirement(6.0, 0, 1), SLO)
    assert (first.candidate_id, first.gpus, second.gpus) == ("tp2", 6, 8)


def _fixed(id_: str, accelerators: int, rate: float, p95: float = 40.0) -> Standing:
    serving = Serving(image="i", accelerators=accelerators)
    probe = Probe(
        rate_rps=rate, achieved_rps=rate, seconds=600, requests=1000, failed=0, violations={"itl": 0.01},
        p_ms={"itl": p95}, output_tps=1, variance_inflation=1,
    )  # fmt: skip
    report = TrialReport(purpose="Certify", candidate=id_, attempt=1, seed=1, outcome="Succeeded", probes=(probe,))
    return Standing(
        candidate=Candidate(id=id_, engine="VLLM", precision="AsIs", parallelism=accelerators, serving=serving),
        outcome="Succeeded",
        rate_rps=rate,
        certified=True,
        certification=report,
    )


def test_as_many_accelerators_at_equal_cost_are_told_apart_by_the_distance_to_the_limits() -> None:
    near, far = _fixed("near", 2, 3.0, p95=49.0), _fixed("far", 2, 3.0, p95=30.0)
    assert [plan.candidate_id for plan in ranking.ranked([near, far], Requirement(6.0), SLO, 2.5)] == ["far", "near"]
