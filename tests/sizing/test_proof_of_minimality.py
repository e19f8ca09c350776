"""Every plan with fewer accelerators is named with what rules it out; what was not measured is never called ruled
out.
"""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rightsizer_jobs.contract import Capacity, Probe, Saturation, Slo, TrialReport
from rightsizer_jobs.stats import QualityVerdict
from rightsizer_operator.resource.run import Candidate, Serving
from rightsizer_operator.sizing import figures, proof
from rightsizer_operator.sizing.gpus import Requirement
from rightsizer_operator.sizing.verdicts import Standing


def a_standing(id_: str = "int8", accelerators: int = 1, **changes: Any) -> Standing:
    serving = Serving(image="i", accelerators=accelerators)
    candidate = Candidate(id=id_, engine="VLLM", precision="INT8", serving=serving)
    return Standing(**{"candidate": candidate, "outcome": "Succeeded", "rate_rps": 2.0, **changes})


def a_claim(demand: float = 5.5, gpus: int = 3, **changes: Any) -> proof.Claim:
    given = {"required": Requirement(demand), "gpus": gpus, "slo": Slo(itl_ms=50), "per_replica": 1}
    return proof.Claim(**{**given, **changes})


def entries(*standings: Standing, **claim: Any) -> tuple[Any, ...]:
    return proof.proof(standings, a_claim(**claim))


def a_probe(rate: float, share: float) -> Probe:
    return Probe(
        rate_rps=rate, achieved_rps=rate, seconds=60, requests=1000, failed=0, violations={"itl": share},
        p_ms={"itl": 50 * (share / 0.05) ** 0.1}, output_tps=1, variance_inflation=1,
    )  # fmt: skip


def a_report(*probes: Probe, **changes: Any) -> TrialReport:
    given = {"purpose": "Explore", "candidate": "x", "attempt": 1, "seed": 1, "outcome": "Succeeded", "probes": probes}
    return TrialReport(**{**given, **changes})


@given(
    st.lists(st.tuples(st.integers(1, 8), st.floats(0.1, 10)), min_size=1, max_size=20),
    st.floats(0.5, 40),
    st.integers(1, 32),
)
def test_every_smaller_plan_of_every_candidate_is_covered(
    made: list[tuple[int, float]], demand: float, proposed: int
) -> None:
    standings = [a_standing(f"c{index}", count, rate_rps=rate) for index, (count, rate) in enumerate(made)]
    found = {one.candidate: one for one in entries(*standings, demand=demand, gpus=proposed)}
    for standing in standings:
        largest = (proposed - 1) // standing.gpus_per_replica
        if largest == 0:
            assert standing.candidate.id not in found
            assert standing.candidate.id in found[proof.NO_SMALLER].ruled_out_by
            continue
        entry = found[standing.candidate.id]
        assert (entry.replicas, entry.gpus) == (largest, largest * standing.gpus_per_replica)
        assert entry.gpus < proposed
        carries = standing.rate_rps * largest >= demand
        assert (entry.evidence == "Open") == carries or abs(standing.rate_rps * largest - demand) < 1e-6 * demand


def test_the_proof_is_never_empty() -> None:
    (only,) = entries(a_standing(), gpus=1)
    assert (only.replicas, only.evidence) == (0, "Rule")


def test_a_capacity_that_falls_short_is_told_with_figures() -> None:
    capacity = Capacity(rate_rps=2.1, standard_error=0.03, lower_rps=2.0, slope=10)
    (only,) = entries(a_standing(capacity=capacity))
    assert (
        only.ruled_out_by
        == "needs 2.750 requests/s per replica, measured lower bound 2.000 (27% short, capacity 2.100 ± 3%)"
    )
    assert only.evidence == "Measured"


QUALITY = QualityVerdict(asked=900, lost=40, won=5, drop_points=3.9, lower_points=2.8, upper_points=5.1, settled="Fail")


@pytest.mark.parametrize(
    ("changes", "says", "evidence"),
    [
        ({"outcome": "FailedQuality", "quality": QUALITY}, "drop 3.90 points, between 2.80 and 5.10", "Measured"),
        ({"outcome": "EngineFailed", "reason": "no kernel"}, "EngineFailed: no kernel", "Measured"),
        ({"outcome": "EngineHung", "reason": "no token within 40 s"}, "EngineHung", "Measured"),
        ({"outcome": "Unsupported", "reason": "no FP8 arithmetic"}, "no FP8 arithmetic", "Rule"),
        ({"outcome": "MissedSLO", "reason": "idle misses"}, "misses the limits", "Measured"),
        ({"outcome": "CannotBeat", "bar_rps": 2.75, "reason": "saturates at 2.1"}, "cannot reach 2.750", "Measured"),
        ({"outcome": "CannotBeat", "bar_rps": 5.5, "reason": "saturates at 2.9"}, "was not measured", "Open"),
        ({"outcome": "Pending"}, "not measured", "Open"),
        ({"outcome": "Void", "reason": "void 3 times"}, "void 3 times", "Open"),
        ({"rate_rps": 4.0}, "was not certified", "Open"),
        ({"rate_rps": 4.0, "lost": "certification missed", "missed_rps": 2.7}, "certification missed", "Measured"),
        ({"outcome": "Unsupported", "reason": "volume full", "unseen": True}, "volume full", "Open"),
    ],
)  # fmt: skip
def test_each_outcome_rules_out_by_what_it_is(changes: dict[str, Any], says: str, evidence: str) -> None:
    (only,) = entries(a_standing(**changes))
    assert says in only.ruled_out_by
    assert only.evidence == evidence
    assert proof.complete((only,)) == (evidence != "Open")


# --- what rules out, with figures ---


def test_a_missed_limit_is_told_with_rate_share_and_percentile() -> None:
    report = a_report(a_probe(1.8, 0.02), a_probe(2.2, 0.08), a_probe(2.6, 0.3))
    (only,) = entries(a_standing(report=report))
    assert "8.0% of requests above the itl limit of 50 ms (p95 52.41 ms) at 2.200 requests/s" in only.ruled_out_by
    assert (only.needed_rps, only.shown_rps) == ("2.75", "2")


def test_an_error_that_leaves_room_for_the_plan_is_said() -> None:
    capacity = Capacity(rate_rps=2.7, standard_error=0.2, lower_rps=2.2, slope=10)
    (only,) = entries(a_standing(capacity=capacity, rate_rps=2.2))
    assert "its error leaves room for that, but no measurement shows it" in only.ruled_out_by
    assert only.evidence == "Measured"


def test_a_rate_below_every_probe_was_not_measured_and_is_open() -> None:
    report = a_report(a_probe(4.0, 0.5), outcome="MissedSLO")
    (only,) = entries(a_standing(outcome="MissedSLO", report=report))
    assert only.evidence == "Open"
    assert "the 2.750 needed per replica was not tried" in only.ruled_out_by
    (missed,) = entries(a_standing(outcome="MissedSLO", report=report), demand=8.2)
    assert missed.evidence == "Measured"


def test_a_saturation_rules_out_though_the_bar_was_higher() -> None:
    report = a_report(saturation=Saturation(rps=2.5, output_tps=1, concurrency=8), outcome="CannotBeat")
    (only,) = entries(a_standing(outcome="CannotBeat", bar_rps=5.5, report=report))
    assert only.ruled_out_by == "cannot reach 2.750 requests/s per replica: at most 2.500 was shown"
    assert only.evidence == "Measured"


def test_a_saturation_of_an_engine_with_room_for_more_rules_nothing_out() -> None:
    some = Saturation(rps=2.5, output_tps=1, concurrency=8, ceiling=False)
    capacity = Capacity(rate_rps=2.5, standard_error=0.03, lower_rps=2.5, slope=8, bound="AtLeast")
    standing = a_standing(rate_rps=2.5, capacity=capacity, report=a_report(a_probe(2.5, 0.0), saturation=some))
    (only,) = entries(standing)
    assert "its error leaves room for that" in only.ruled_out_by
    full = a_report(a_probe(2.5, 0.0), saturation=some.model_copy(update={"ceiling": True}))
    (only,) = entries(dataclasses.replace(standing, report=full))
    assert "leaves room" not in only.ruled_out_by


def test_what_was_never_tried_because_it_could_not_win_is_open_where_a_smaller_plan_exists() -> None:
    (only,) = entries(a_standing(outcome="CannotBeat", reason="not tried: one replica has 2 accelerators"))
    assert (only.evidence, "was not measured" in only.ruled_out_by) == ("Open", True)


def test_a_plan_of_spare_replicas_only_is_out_by_rule() -> None:
    (only,) = entries(a_standing(), required=Requirement(5.5, 0, 2))
    assert (only.replicas, only.evidence) == (2, "Rule")
    assert "spec.sizing.spareReplicas asks for 2 more" in only.ruled_out_by


def test_headroom_and_spare_replicas_raise_what_one_replica_must_carry() -> None:
    (only,) = entries(a_standing(), required=Requirement(5.5, 20, 1))
    assert (only.replicas, only.needed_rps) == (2, "6.6")


def test_what_the_search_was_not_allowed_is_named() -> None:
    *_, last = entries(a_standing(), allowed="engines VLLM; precisions AsIs")
    assert (last.candidate, last.evidence) == (proof.OUTSIDE, "Rule")
    assert "engines VLLM; precisions AsIs" in last.ruled_out_by


def test_more_entries_than_fit_are_put_together_by_rule_and_else_said_to_be_open() -> None:
    ruled = [a_standing(f"r{i}", outcome="Unsupported", reason="no FP8") for i in range(40)]
    measured = [a_standing(f"m{i}") for i in range(40)]
    found = entries(*ruled, *measured)
    assert len(found) <= proof.MOST
    assert proof.complete(found)
    assert {one.candidate.id for one in measured} <= {one.candidate for one in found}
    assert "r0: no FP8" in next(one for one in found if one.candidate == proof.REST).ruled_out_by
    many = entries(*(a_standing(f"m{i}") for i in range(80)))
    assert len(many) == proof.MOST
    assert not proof.complete(many)


def test_what_a_replaying_engine_showed_is_never_called_measured() -> None:
    report = a_report(a_probe(2.1, 0.05), replayed="recorded latencies")
    capacity = Capacity(rate_rps=2.1, standard_error=0.03, lower_rps=2.0, slope=10)
    (only,) = entries(a_standing(capacity=capacity, report=report))
    assert only.evidence == "Replayed"
    assert figures.evidence_of(report) == "Replayed"
    assert figures.evidence_of(report.model_copy(update={"replayed": None})) == "Measured"
