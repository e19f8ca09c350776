"""Estimates decide the order of trials and what is too far behind for one; a favourite that fails brings back what it
had put out; nothing estimated is called measured.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rightsizer_jobs.contract import Slo
from rightsizer_operator.resource.run import Candidate, Forecast, Serving
from rightsizer_operator.sizing import gpus, proof, race
from rightsizer_operator.sizing.gpus import Requirement
from rightsizer_operator.sizing.race import Race
from rightsizer_operator.sizing.verdicts import AS_IS, Standing


def a_standing(id_: str, accelerators: int = 1, **changes: Any) -> Standing:
    serving = Serving(image="i", accelerators=accelerators)
    parent = changes.pop("parent", "")
    candidate = Candidate(id=id_, engine="VLLM", precision="AsIs", serving=serving, parent=parent)
    return Standing(**{"candidate": candidate, **changes})


def measured(id_: str, rate: float, accelerators: int = 1) -> Standing:
    return a_standing(id_, accelerators, outcome="Succeeded", rate_rps=rate)


def a_race(demand: float = 100.0, **rates: float | None) -> Race:
    """Estimated rates by candidate (underscores stand for dashes); None: estimated to fail."""
    found = []
    for name, rate in rates.items():
        told: dict[str, Any] = {"rate_rps": f"{rate:g}"} if rate is not None else {"fails": True, "reason": "no room"}
        found.append(Forecast(candidate=name.replace("_", "-"), **told))
    return race.race(found, Requirement(demand))


def behind(found: Race, standing: Standing, standings: Sequence[Standing]) -> str:
    return found.behind(standing, found.best(standings))


def names(standings: tuple[Standing, ...]) -> list[str]:
    return [one.candidate.id for one in standings]


def test_the_baseline_comes_first_then_the_cheapest_estimate_at_the_demand_then_the_unknown_then_the_derived() -> None:
    standings = [
        a_standing(AS_IS), a_standing("odd"), a_standing("slow"), a_standing("int8-seqs64", parent="int8"),
        a_standing("int8"), a_standing("fp8-tp2", 2),
    ]  # fmt: skip
    found = a_race(as_is=1.0, slow=1.1, int8=2.0, fp8_tp2=3.0)
    assert names(found.queue(standings)) == [AS_IS, "int8", "fp8-tp2", "slow", "odd", "int8-seqs64"]


def test_a_replica_larger_than_the_demand_costs_its_accelerators_not_a_share_of_them() -> None:
    standings = [a_standing("tp8", 8), a_standing("tp1", 1)]
    assert names(a_race(demand=1.0, tp8=20.0, tp1=0.8).queue(standings)) == ["tp1", "tp8"]


def test_without_estimates_the_planned_order_stays_and_nobody_is_behind() -> None:
    standings = [a_standing(AS_IS), a_standing("int8"), a_standing("int4")]
    found = a_race()
    assert names(found.queue(standings)) == [AS_IS, "int8", "int4"]
    assert not any(behind(found, one, standings) for one in standings)


def test_who_is_below_the_share_of_the_best_estimate_is_behind_and_the_figures_are_said_as_estimated() -> None:
    standings = [a_standing("best"), a_standing("near"), a_standing("far")]
    found = a_race(best=2.0, near=1.12, far=1.08)
    assert [bool(behind(found, one, standings)) for one in standings] == [False, False, True]
    text = behind(found, standings[2], standings)
    assert "Estimated" in text
    assert "about 92.6 accelerators at 1.08 requests/s a replica, 50 with best" in text


def test_who_is_estimated_not_to_fit_is_behind_only_while_another_stands() -> None:
    best, huge = a_standing("best"), a_standing("huge")
    found = a_race(best=2.0, huge=None)
    assert "no room" in behind(found, huge, [best, huge])
    assert behind(found, huge, [a_standing("best", outcome="EngineFailed"), huge]) == ""


@pytest.mark.parametrize("end", ["FailedQuality", "EngineFailed", "MissedSLO", "CannotBeat", "Undecided", "Void"])
def test_a_favourite_that_ends_without_a_rate_brings_back_what_it_had_put_out(end: Any) -> None:
    found = a_race(best=4.0, other=1.0)
    other = a_standing("other")
    assert behind(found, other, [a_standing("best"), other])
    assert behind(found, other, [a_standing("best", outcome=end), other]) == ""


def test_a_favourite_that_measures_far_worse_than_estimated_brings_back_the_others() -> None:
    found = a_race(best=4.0, other=2.0)
    other = a_standing("other")
    assert behind(found, other, [a_standing("best"), other])
    assert behind(found, other, [measured("best", 3.9), other])
    assert behind(found, other, [measured("best", 1.5), other]) == ""


def test_an_estimator_that_is_too_low_for_all_puts_nobody_out_for_it() -> None:
    """The best measured twice its estimate: the others are held against the estimate, not against the measurement."""
    found = a_race(best=1.0, near=0.8)
    near = a_standing("near")
    assert behind(found, near, [measured("best", 2.0), near]) == ""


def test_where_the_baseline_is_estimated_to_fail_no_such_word_is_believed() -> None:
    found = a_race(as_is=None, huge=None, best=2.0)
    standings = [measured(AS_IS, 1.0), a_standing("huge"), a_standing("best")]
    assert behind(found, standings[1], standings) == ""


@given(
    st.dictionaries(st.sampled_from([f"c{n}" for n in range(12)]), st.floats(0.01, 50), min_size=1), st.floats(0.1, 500)
)
def test_the_best_estimate_is_never_behind_and_everybody_keeps_a_place_in_the_queue(
    rates: dict[str, float], demand: float
) -> None:
    found = a_race(demand, **{name: round(rate, 4) for name, rate in rates.items()})
    standings = [a_standing(name, 1 + index % 4) for index, name in enumerate(rates)]
    queue = found.queue(standings)
    assert sorted(names(queue)) == sorted(rates)
    assert behind(found, queue[0], standings) == ""


@given(st.lists(st.tuples(st.floats(0.05, 20), st.integers(1, 8)), min_size=2, max_size=10), st.floats(0.5, 300))
def test_who_is_behind_would_not_be_the_smallest_plan_even_at_almost_twice_the_estimated_rate(
    made: list[tuple[float, int]], demand: float
) -> None:
    found = a_race(demand, **{f"c{n}": round(rate, 3) for n, (rate, _) in enumerate(made)})
    standings = [a_standing(f"c{n}", count) for n, (_, count) in enumerate(made)]
    smallest = min(count * gpus.replicas_for(Requirement(demand), round(rate, 3)) for rate, count in made)
    for one in standings:
        if behind(found, one, standings):
            assert found.accelerators(one) * race.DROP_BELOW > smallest


def test_a_plan_that_only_an_estimate_rules_out_is_neither_measured_nor_a_rule_in_the_proof() -> None:
    left_out = race.not_tried(a_standing("far"), "not tried (Estimated): far behind")
    claim = proof.Claim(required=Requirement(5.0), gpus=3, slo=Slo(ttft_ms=800), per_replica=1)
    (entry,) = proof.proof([left_out], claim)
    assert (entry.evidence, entry.ruled_out_by) == ("Estimated", "not tried (Estimated): far behind")
