"""The settings of the replayed scenario, played in virtual time: what takes ten minutes on a node is known to come out
before it is started there.
"""

from dataclasses import replace

import pytest

from benchmarks import replayed_choice
from e2e.replay.recordings import Curve
from e2e.scenarios import replayed
from e2e.scenarios.replayed import CASES, Case
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from tests.phases import builders


def hastened(curve: Curve, factor: int) -> Curve:
    return replace(
        curve,
        ttft_ms=tuple(value / factor for value in curve.ttft_ms),
        tpot_ms=tuple(value / factor for value in curve.tpot_ms),
    )


def spec_of(case: Case) -> InferenceDeploymentSpec:
    stated = replayed.inference_deployment(case)["spec"]
    accelerator = {**stated["accelerator"], "type": replayed.PRODUCT}
    spec = builders.a_spec(workload=stated["workload"], search=stated["search"], accelerator=accelerator)
    return InferenceDeploymentSpec.model_validate({**spec.wire(), "slo": stated["slo"]})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_case_comes_to_a_plan_with_the_fewest_gpus(case: Case) -> None:
    curves = {served: hastened(curve, case.time_scale) for served, curve in case.curves().items()}
    found = next(one for one in curves if (one.engine, one.parallelism) == ("VLLM", replayed.FOUND_TP))
    village = replayed_choice.played(spec_of(case), replayed_choice.target_of(found), curves)
    proposal = village.run.status.proposal
    assert proposal is not None, village.status.activity
    candidate = next(one for one in village.run.spec.candidates if one.id == proposal.candidate)
    best = case.best()
    assert (candidate.engine, candidate.parallelism) in {(one.served.engine, one.served.parallelism) for one in best}
    assert proposal.gpus == best[0].gpus(case.demand_rps)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_limits_are_whole_milliseconds_of_the_engines_clock(case: Case) -> None:
    assert case.ttft_ms % case.time_scale == 0
    assert case.tpot_ms % case.time_scale == 0


def test_no_other_plan_is_near_the_fewest_gpus() -> None:
    """A plan that needs as many GPUs at 5 % more or less demand would make the answer a matter of luck."""
    for case in CASES:
        known, best = case.choices(), {one.served for one in case.best()}
        for demand in (0.95 * case.demand_rps, 1.05 * case.demand_rps):
            fewest = min(one.gpus(demand) for one in known)
            assert {one.served for one in known if one.gpus(demand) == fewest} == best
