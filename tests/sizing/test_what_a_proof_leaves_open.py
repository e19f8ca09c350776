"""What nobody looked at is not ruled out: rates below every miss, void attempts, weights that could not be made,
combinations left out; and which plan of an excluded candidate a proof speaks of.
"""

from typing import Any

import pytest

from rightsizer_jobs.contract import Capacity, Probe, Slo, TrialReport, dump_report
from rightsizer_operator.resource.run import Candidate, RunSpec, Serving, TrialRecord
from rightsizer_operator.sizing import proof, verdicts
from rightsizer_operator.sizing.gpus import Requirement
from rightsizer_operator.sizing.verdicts import AS_IS, MORE, Standing
from tests.phases import builders
from tests.phases.village import Village

MISSES = "certification missed the limits 4 times, last 3 steps of 4 % down"
VOIDS = "could not be certified: void 3 times, last: the pod was disrupted"


def a_candidate(id_: str = "int8", *, parallelism: int = 1, accelerators: int = 1, excluded: str = "") -> Candidate:
    serving = None if excluded else Serving(image="i", accelerators=accelerators)
    return Candidate(
        id=id_, engine="VLLM", precision="INT8", parallelism=parallelism, serving=serving, excluded=excluded
    )


def lost(**changes: Any) -> Standing:
    return Standing(**{"candidate": a_candidate(), "outcome": "Succeeded", "rate_rps": 0.849, **changes})


def proven(*standings: Standing, demand: float = 1.0, gpus: int = 3, per_replica: int = 1) -> tuple[Any, ...]:
    claim = proof.Claim(required=Requirement(demand), gpus=gpus, slo=Slo(itl_ms=50), per_replica=per_replica)
    return proof.proof(standings, claim)


# --- certifications ---


@pytest.mark.parametrize(("demand", "evidence"), [(1.0, "Open"), (1.76, "Open"), (1.77, "Measured"), (3.0, "Measured")])
def test_missed_certifications_rule_out_from_the_lowest_rate_that_missed_on(demand: float, evidence: str) -> None:
    (only,) = proven(lost(lost=MISSES, missed_rps=0.885), demand=demand)
    assert (only.evidence, only.ruled_out_by.startswith(MISSES)) == (evidence, True)


def test_a_rate_below_every_missed_one_is_said_to_be_untried() -> None:
    (only,) = proven(lost(lost=MISSES, missed_rps=0.885))
    assert only.ruled_out_by == (
        f"{MISSES}: 0.885 requests/s is the lowest rate that was missed; the 0.500 needed per replica was not tried"
    )


def test_void_certifications_rule_nothing_out_that_the_lower_bound_carries() -> None:
    (only,) = proven(lost(rate_rps=2.0, lost=VOIDS))
    assert (only.evidence, only.ruled_out_by.endswith(f"but was not certified: {VOIDS}")) == ("Open", True)


def test_void_certifications_leave_standing_what_the_exploration_measured() -> None:
    capacity = Capacity(rate_rps=2.1, standard_error=0.03, lower_rps=2.0, slope=10)
    (only,) = proven(lost(rate_rps=2.0, capacity=capacity, lost=VOIDS), demand=5.0)
    assert (only.evidence, "needs 2.500 requests/s" in only.ruled_out_by) == ("Measured", True)


def test_an_engine_that_broke_in_its_certification_is_out_at_every_rate() -> None:
    (only,) = proven(lost(lost="certification on a fresh start: EngineFailed: out of memory", missed_rps=0.0))
    assert only.evidence == "Measured"


# --- how the trials come to it ---


def a_run() -> RunSpec:
    village = Village()
    for _ in range(3):
        village.tick()
    return village.run.spec


def a_record(purpose: Any, outcome: str, attempt: int, rate: str | None = None, report: str = "") -> TrialRecord:
    return TrialRecord(
        job=f"{purpose}-{attempt}".lower(), purpose=purpose, subject="as-is", attempt=attempt, outcome=outcome,
        reason="disrupted" if outcome == "Void" else "", rate_rps=rate, report=report,
    )  # fmt: skip


def explored(outcome: str = "Succeeded", rate: str | None = None) -> TrialRecord:
    report = TrialReport(
        purpose="Explore", candidate="as-is", attempt=1, seed=1, outcome=outcome,  # type: ignore[arg-type]
        answers=builders.answers(), probes=builders.probes(2.0),
    )  # fmt: skip
    return a_record("Explore", outcome, 1, rate, dump_report(report))


def standing_after(*records: TrialRecord) -> Standing:
    return verdicts.standings(a_run(), (), records, void_retries=2)[0]


def missed(*rates: str) -> list[TrialRecord]:
    return [a_record("Certify", "MissedSLO", number, rate) for number, rate in enumerate(rates, 1)]


def test_the_lowest_missed_rate_of_a_lost_candidate_is_kept() -> None:
    found = standing_after(explored(), *missed("1.5", "1.44", "1.382", "1.327"))
    assert ("missed the limits 4 times" in found.lost, found.missed_rps) == (True, 1.327)


def test_void_certifications_show_no_missed_rate_of_their_own() -> None:
    voids = [a_record("Certify", "Void", number) for number in (2, 3, 4)]
    without, after = standing_after(explored(), *voids), standing_after(explored(), *missed("1.5"), *voids)
    assert ("void 3 times" in without.lost, without.missed_rps, after.missed_rps) == (True, None, 1.5)


def test_a_broken_engine_leaves_no_rate_to_a_lost_candidate() -> None:
    assert standing_after(explored(), a_record("Certify", "EngineHung", 1, "1.5")).missed_rps == 0.0


@pytest.mark.parametrize(("voids", "exhausted"), [(0, False), (2, False), (3, True)])
def test_repetitions_after_a_stop_against_an_older_bar_are_limited(voids: int, exhausted: bool) -> None:
    found = standing_after(explored("CannotBeat", "3"), *(a_record("Explore", "Void", n) for n in range(2, 2 + voids)))
    assert (found.outcome, found.exhausted, found.attempts) == ("CannotBeat", exhausted, 1 + voids)


# --- never tried ---


def test_weights_that_could_not_be_made_rule_nothing_out() -> None:
    run = a_run()
    artefact = next(one.serving.artefact for one in run.candidates if one.serving and one.serving.artefact)
    standings = verdicts.standings(run, (), (), void_retries=2, failed_artefacts={artefact: "void 3 times"})
    (found,) = [one for one in standings if one.outcome == "Unsupported"]
    (only,) = proven(found)
    assert (only.evidence, "its weights could not be made: void 3 times" in only.ruled_out_by) == ("Open", True)
    assert not proof.complete((only,))


def test_combinations_left_out_for_want_of_room_are_open_and_a_rule_is_a_rule() -> None:
    run = a_run()
    rules = (a_candidate(MORE, excluded="40 further combinations"), a_candidate("fp8", excluded="no FP8 arithmetic"))
    wider = run.model_copy(update={"candidates": (*run.candidates, *rules)})
    standings = verdicts.standings(wider, (), (), void_retries=2)
    found = {one.candidate: one.evidence for one in proven(*standings)}
    assert (found[MORE], found["fp8"]) == ("Open", "Rule")


# --- the plan that an entry speaks of ---


def excluded(id_: str, parallelism: int) -> Standing:
    candidate = a_candidate(id_, parallelism=parallelism, excluded="needs calibration samples")
    return Standing(candidate=candidate, outcome="Unsupported", reason=candidate.excluded)


def test_an_excluded_candidate_has_the_plans_of_its_own_parallelism() -> None:
    served = Standing(candidate=a_candidate(AS_IS, parallelism=8, accelerators=8), outcome="Succeeded", rate_rps=1.0)
    _, one, eight = proven(served, excluded("int8-tp1", 1), excluded("int8", 8), gpus=12, per_replica=8)
    assert [(found.replicas, found.gpus) for found in (one, eight)] == [(11, 11), (1, 8)]
    one, without = proven(served, excluded("int8-tp1", 1), gpus=4, per_replica=8)
    assert (one.candidate, one.replicas, one.gpus, one.evidence) == ("int8-tp1", 3, 3, "Rule")
    assert "int8-tp1" not in without.ruled_out_by


def test_unchanged_parallelism_keeps_the_accelerators_as_found() -> None:
    served = Standing(candidate=a_candidate(AS_IS, parallelism=1, accelerators=2), outcome="Succeeded", rate_rps=1.0)
    (_, only) = proven(served, excluded("int8", 1), gpus=6, per_replica=2)
    assert (only.replicas, only.gpus) == (2, 4)


def test_a_probe_that_held_at_the_needed_rate_is_never_told_as_ruled_out() -> None:
    probe = Probe(
        rate_rps=0.5, achieved_rps=0.5, seconds=60, requests=1000, failed=0, violations={"itl": 0.0},
        p_ms={"itl": 40.0}, output_tps=1, variance_inflation=1,
    )  # fmt: skip
    report = TrialReport(purpose="Explore", candidate="int8", attempt=1, seed=1, outcome="Succeeded", probes=(probe,))
    (only,) = proven(lost(lost=MISSES, missed_rps=0.885, report=report))
    assert not proof.complete((only,))
