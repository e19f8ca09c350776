"""Every plan with fewer accelerators is named with what rules it out; what was not measured is never called ruled
out.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rightsizer_jobs.contract import Capacity
from rightsizer_jobs.stats import QualityVerdict
from rightsizer_operator.resource.run import Candidate, Serving
from rightsizer_operator.sizing import proof
from rightsizer_operator.sizing.verdicts import Standing


def a_standing(id_: str = "int8", accelerators: int = 1, **changes: Any) -> Standing:
    serving = Serving(image="i", accelerators=accelerators)
    candidate = Candidate(id=id_, engine="VLLM", precision="INT8", serving=serving)
    return Standing(**{"candidate": candidate, "outcome": "Succeeded", "rate_rps": 2.0, **changes})


def entries(*standings: Standing, demand: float = 5.5, gpus: int = 3) -> tuple[Any, ...]:
    return proof.proof(standings, demand_rps=demand, proposed_gpus=gpus, default_per_replica=1)


@given(
    st.lists(st.tuples(st.integers(1, 8), st.floats(0.1, 10)), min_size=1, max_size=20),
    st.floats(0.5, 40),
    st.integers(1, 32),
)
def test_every_smaller_plan_of_every_candidate_is_covered(
    made: list[tuple[int, float]], demand: float, proposed: int
) -> None:
    standings = [a_standing(f"c{index}", count, rate_rps=rate) for index, (count, rate) in enumerate(made)]
    found = {
        one.candidate: one
        for one in proof.proof(standings, demand_rps=demand, proposed_gpus=proposed, default_per_replica=1)
    }
    for standing in standings:
        largest = (proposed - 1) // standing.gpus_per_replica
        if largest == 0:
            assert standing.candidate.id not in found
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
        ({"rate_rps": 4.0, "lost": "certification missed the limits 4 times"}, "certification missed", "Measured"),
    ],
)  # fmt: skip
def test_each_outcome_rules_out_by_what_it_is(changes: dict[str, Any], says: str, evidence: str) -> None:
    (only,) = entries(a_standing(**changes))
    assert says in only.ruled_out_by
    assert only.evidence == evidence
    assert proof.complete((only,)) == (evidence != "Open")
