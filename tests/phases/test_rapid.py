"""Strategy Rapid: candidates are estimated; nothing is started, proposed or written to the target."""

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rightsizer_operator.actions import ApplyTarget, CreateJob
from rightsizer_operator.resource.run import CandidateStatus
from rightsizer_operator.settings import Gpu
from tests.phases.builders import a_spec, a_target, some_settings
from tests.phases.village import Village

GPU = {"resource": "nvidia.com/gpu", "type": "NVIDIA-H100-80GB-HBM3"}
LLAMA: dict[str, Any] = {
    "model": {"name": "meta-llama/Llama-3.1-8B-Instruct"},
    "accelerator": GPU,
    "slo": {"ttftMs": 800, "itlMs": 50},
    "workload": {"static": {"inputTokens": 1000, "outputTokens": 200, "requestRate": "12"}},
}
SHAPE = {
    "layers": 32, "hiddenSize": 4096, "heads": 32, "kvHeads": 8, "intermediateSize": 14336, "vocabulary": 128256,
}  # fmt: skip


def village(settings_: Any = None, replicas: int = 4, **changes: Any) -> Village:
    """A target on H100 GPUs; ``changes`` of the spec by section."""
    spec = {**LLAMA, **changes}
    spec["search"] = {"strategy": "Rapid", "precisions": ["AsIs", "FP8", "INT8"], **changes.get("search", {})}
    target = a_target(replicas, resources={"limits": {"nvidia.com/gpu": "1"}})
    return Village(spec=a_spec(**spec), target=target, settings=settings_ or some_settings())


def settled(place: Village) -> Village:
    for _ in range(6):
        place.tick()
    return place


def entries(place: Village) -> dict[str, CandidateStatus]:
    return {one.id: one for one in place.run.status.candidates}


def test_every_candidate_is_estimated_and_says_so() -> None:
    place = settled(village())
    found = entries(place)
    assert set(found) == {"as-is", "fp8", "int8"}
    for one in found.values():
        assert one.outcome == "Estimated"
        assert one.estimate is not None
        assert one.configuration is not None
        assert one.configuration.evidence == "Estimated"
        assert one.configuration.certified_rps is None
        assert one.configuration.gpus == one.configuration.replicas
        assert one.verdict.startswith("Estimated by simulation")
        assert "ttft" in one.verdict


def test_candidates_are_ranked_by_accelerators() -> None:
    plans = [one for one in settled(village()).run.status.candidates if one.configuration]
    assert [one.estimate.rank for one in plans if one.estimate] == [1, 2, 3]
    counts = [one.configuration.gpus for one in plans if one.configuration]
    assert counts == sorted(counts)


def test_nothing_is_started_proposed_or_written() -> None:
    place = settled(village(updatePolicy={"mode": "Auto"}))
    assert not place.created_jobs
    assert not place.applied
    assert place.status.proposal is None
    assert place.run.status.proposal is None
    assert place.condition("ProposalReady") == ("False", "EstimatesOnly")
    assert "set spec.search.strategy to Thorough" in place.message("ProposalReady")
    assert place.condition("Optimized") == ("Unknown", "EstimatesOnly")
    assert place.condition("SLOMet") == ("Unknown", "NotMeasured")
    assert place.condition("Ready")[0] == "True"
    assert place.condition("Reconciling")[0] == "False"
    assert place.status.phase == "Estimated"


def test_an_approval_changes_nothing() -> None:
    place = settled(village(updatePolicy={"mode": "Manual", "approvedProposal": "0123456789ab"}))
    assert place.status.proposal is None
    assert not place.applied


def test_the_same_world_is_written_once() -> None:
    place = settled(village())
    writes = len(place.writes)
    for _ in range(3):
        place.tick()
    assert len(place.writes) == writes


def test_thorough_starts_a_measured_run() -> None:
    place = settled(village())
    estimated = place.run.name
    place.spec = a_spec(**{**LLAMA, "search": {"precisions": ["AsIs", "FP8", "INT8"]}})
    place.generation += 1
    place.nodes = [{"metadata": {"name": "node", "labels": {"nvidia.com/gpu.product": GPU["type"]}}, "spec": {},
                    "status": {"allocatable": {"nvidia.com/gpu": "8"}, "conditions": [{"type": "Ready", "status": "True"}]}}]  # fmt: skip  # noqa: E501
    for _ in range(8):
        place.tick()
    assert place.run.name != estimated
    assert place.created_jobs


def test_neither_the_volume_nor_a_ready_replica_is_needed() -> None:
    place = village()
    place.claim = None
    assert place.target is not None
    place.target["status"] = {}
    assert settled(place).status.phase == "Estimated"


def test_a_price_that_changes_is_followed() -> None:
    place = settled(village())
    before = entries(place)["fp8"].configuration
    place.spec = a_spec(**{**LLAMA, "search": {"strategy": "Rapid", "precisions": ["AsIs", "FP8", "INT8"]},
                           "cost": {"gpuHourly": "4.00"}})  # fmt: skip
    place.generation += 1
    after = entries(settled(place))["fp8"].configuration
    assert before is not None
    assert after is not None
    assert float(after.cost_per_hour or 0) == 2 * float(before.cost_per_hour or 0)


@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        ({"model": {"name": "acme/chat"}}, "ModelArchitectureUnknown", "spec.model.architecture"),
        ({"accelerator": {**GPU, "type": "ACME-9000"}}, "AcceleratorNotEstimable", "measured, not estimated"),
        ({"accelerator": {**GPU, "type": None}}, "AcceleratorTypeUnknown", "spec.accelerator.type"),
    ],
)
def test_what_an_estimate_lacks_is_named_with_its_remedy(changes: Any, reason: str, said: str) -> None:
    place = settled(village(**changes))
    assert place.condition("Stalled") == ("True", reason)
    assert said in place.message("Stalled")
    assert "Thorough" in place.message("Stalled") or "set it" in place.message("Stalled")
    assert not place.runs


def test_a_stated_architecture_and_a_stated_gpu_are_estimated() -> None:
    acme = Gpu(
        name="ACME-9000", memory_gib=190, bandwidth_gbs=8000, bf16_tflops=2000, fp8_tflops=4000, link_gbs=900,
        compute_capability="10.0", source="data sheet of 2026-10",
    )  # fmt: skip
    place = settled(
        village(
            some_settings(gpus=(acme,)),
            model={"name": "acme/chat", "architecture": SHAPE},
            accelerator={**GPU, "type": "ACME-9000"},
        )
    )
    assert entries(place)["fp8"].configuration is not None
    assert "data sheet of 2026-10" in place.status.activity


def test_a_limit_below_one_request_alone_is_named() -> None:
    place = settled(village(slo={"ttftMs": 800, "itlMs": None, "tpotMs": 1}))
    assert place.condition("Optimized") == ("Unknown", "SLOUnreachable")
    assert "spec.slo.tpotMs" in place.message("Optimized")
    assert "Allow at least" in place.message("Optimized")
    assert all(one.configuration is None for one in entries(place).values())
    place.tick()
    assert place.condition("Optimized") == ("Unknown", "SLOUnreachable")


def test_what_does_not_fit_says_what_it_needs() -> None:
    place = settled(village(model={"name": "meta-llama/Llama-3.1-70B"}))
    found = entries(place)["as-is"]
    assert found.configuration is None
    assert "does not fit: weights and overhead need" in found.verdict


def test_a_flag_outside_the_estimator_is_said() -> None:
    place = village()
    place.target = a_target(
        args=["--model", "/models/base", "--served-model-name", "chat", "--pipeline-parallel-size", "2"],
        resources={"limits": {"nvidia.com/gpu": "2"}},
    )
    place.roll()
    assert "--pipeline-parallel-size 2" in entries(settled(place))["as-is"].verdict


def test_a_stated_architecture_is_no_input_of_a_measured_search() -> None:
    def run_of(**model: Any) -> str:
        place = Village(spec=a_spec(model=model))
        place.tick()
        return next(iter(place.runs))

    assert run_of() == run_of(architecture=SHAPE)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    mode=st.sampled_from(["Manual", "Auto", "Off"]),
    rates=st.lists(st.sampled_from(["0.5", "12", "400"]), min_size=1, max_size=3),
    limit=st.sampled_from([1, 300, 60_000]),
)
def test_whatever_is_asked_no_job_and_no_write_follows(mode: str, rates: list[str], limit: int) -> None:
    place = village(slo={"ttftMs": limit, "itlMs": None}, updatePolicy={"mode": mode})
    for rate, _ in itertools.product(rates, range(3)):
        static = {"inputTokens": 1000, "outputTokens": 200, "requestRate": rate}
        place.spec = place.spec.model_copy(update={"workload": a_spec(workload={"static": static}).workload})
        step = place.tick()
        assert not any(isinstance(action, CreateJob | ApplyTarget) for action in step.actions)
    assert place.status.proposal is None
