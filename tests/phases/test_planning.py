"""Which candidates a run has, in which order, and which rule excludes the others."""

from typing import Any

import pytest

from rightsizer_operator.resource.run import Candidate
from tests.phases.builders import SLOT, a_node, a_spec, a_target, some_settings
from tests.phases.village import Village

GPU = {"resource": "nvidia.com/gpu", "type": "NVIDIA-H100-80GB-HBM3"}
IMAGES = {"TensorRTLLM": "docker.example/tensorrt-llm:1", "VLLM": "docker.example/vllm-openai:1"}


def planned(*, gpu: str = "", images: Any = None, target: Any = None, **search: Any) -> dict[str, Candidate]:
    """Candidates by id, in order; on NVIDIA GPUs of that product where one is named."""
    spec: dict[str, Any] = {"search": search}
    resource = SLOT
    if gpu:
        spec["accelerator"] = {**GPU, "type": gpu}
        resource = "nvidia.com/gpu"
    target = target or a_target(resources={"limits": {resource: "1"}})
    village = Village(spec=a_spec(**spec), target=target, settings=some_settings(engine_images=images or {}))
    village.tick()
    (run,) = village.runs.values()
    return {one.id: one for one in run.spec.candidates}


def test_the_baseline_comes_first_then_precisions_then_kv_types() -> None:
    found = planned(precisions=["INT4", "FP8", "INT8", "AsIs", "INT8W8A16"], kvCache=["FP8", "Auto"])
    assert list(found) == [
        "as-is", "int8", "int4", "fp8", "int8w8a16",
        "as-is-fp8kv", "int8-fp8kv", "int4-fp8kv", "fp8-fp8kv", "int8w8a16-fp8kv",
    ]  # fmt: skip
    assert not any(one.excluded for one in found.values())


def test_candidates_of_one_precision_share_an_artefact_and_keep_the_served_name() -> None:
    found = planned(precisions=["AsIs", "INT8"], kvCache=["Auto", "FP8"])
    servings = [found["int8"].serving, found["int8-fp8kv"].serving]
    assert all(one is not None and one.artefact.startswith("chat-int8-w8a8-") for one in servings)
    assert len({one.artefact for one in servings if one}) == 1
    assert all("chat" in one.args for one in servings if one)


def test_tensorrt_llm_is_excluded_as_a_whole_without_a_gpu_or_an_image() -> None:
    assert "NVIDIA GPUs only" in planned(engines=["VLLM", "TensorRTLLM"], images=IMAGES)["trtllm"].excluded
    without = planned(gpu=GPU["type"], engines=["VLLM", "TensorRTLLM"])["trtllm"].excluded
    assert "engineImages.TensorRTLLM" in without


def test_tensorrt_llm_with_integer_weights_is_refused() -> None:
    found = planned(
        gpu=GPU["type"], images=IMAGES, engines=["VLLM", "TensorRTLLM"], precisions=["AsIs", "INT8", "INT4", "FP8"]
    )
    assert "refused" in found["trtllm-int8"].excluded
    assert "refused" in found["trtllm-int4"].excluded
    assert found["trtllm-fp8"].serving is not None
    assert found["trtllm-fp8"].serving.image == IMAGES["TensorRTLLM"]


@pytest.mark.parametrize(
    ("product", "precision", "excluded"),
    [
        ("NVIDIA-A100-SXM4-80GB", "FP8", True),
        ("NVIDIA-A10", "FP8", True),
        ("Tesla-T4", "FP8", True),
        ("NVIDIA-L40S", "FP8", False),
        ("NVIDIA-H100-80GB-HBM3", "FP8", False),
        ("NVIDIA-B300", "INT8", True),
        ("NVIDIA-GB300", "INT8", True),
        ("NVIDIA-B200", "INT8", False),
    ],
)
def test_precisions_that_the_gpu_has_no_arithmetic_for_are_excluded(
    product: str, precision: str, excluded: bool
) -> None:
    found = planned(gpu=product, precisions=["AsIs", precision])[precision.lower()]
    assert bool(found.excluded) is excluded


def test_integer_weights_need_calibration_samples() -> None:
    village = Village(spec=a_spec(model={"calibrationPath": None}, search={"precisions": ["AsIs", "INT8", "FP8"]}))
    village.tick()
    (run,) = village.runs.values()
    rules = {one.id: one.excluded for one in run.spec.candidates}
    assert "spec.model.calibrationPath" in rules["int8"]
    assert rules["fp8"] == ""


def test_a_candidate_that_is_the_baseline_again_is_excluded() -> None:
    assert planned(precisions=["AsIs", "BF16"])["bf16"].excluded.startswith("precision BF16: the same as the baseline")


def test_parallelism_goes_from_as_found_to_smaller_to_larger() -> None:
    target = a_target(
        args=["--model", "/m", "--served-model-name", "chat", "--tensor-parallel-size", "2"],
        resources={"limits": {SLOT: "2"}},
    )
    found = planned(target=target, precisions=["AsIs"], maxGPUsPerReplica=8)
    assert list(found) == ["as-is", "as-is-tp1", "as-is-tp4", "as-is-tp8"]
    assert [one.serving.accelerators for one in found.values() if one.serving] == [2, 1, 4, 8]


def test_what_does_not_fit_a_run_is_left_out_and_said() -> None:
    precisions = ["AsIs", "INT8", "INT4", "FP8", "INT8W8A16", "BF16"]
    found = planned(
        gpu=GPU["type"],
        images=IMAGES,
        engines=["VLLM", "TensorRTLLM"],
        precisions=precisions,
        kvCache=["Auto", "FP8"],
        maxGPUsPerReplica=64,
    )
    assert len(found) == 56
    assert "further combinations were left out" in found["more"].excluded
    assert not any(one.excluded for one in found.values() if one.id != "more")


def test_the_run_is_owned_by_its_resource_and_named_by_its_inputs() -> None:
    village = Village(nodes=[a_node()])
    action = next(one for one in village.tick().actions if type(one).__name__ == "CreateRun")
    metadata = action.manifest["metadata"]  # type: ignore[union-attr]
    assert metadata["ownerReferences"][0]["uid"] == "infdep-uid"
    assert metadata["name"] == f"chat-{village.run.spec.fingerprint[:8]}-1"
