"""Memory of a configuration: weights by format, cache by type, what the engine takes."""

from collections.abc import Callable

import pytest

from rightsizer_operator.sizing.estimate import memory
from rightsizer_operator.sizing.estimate.failures import DoesNotFit
from rightsizer_operator.sizing.estimate.memory import Configuration

Made = Callable[..., Configuration]


@pytest.mark.parametrize(
    ("gpu", "weights", "tensor_parallel", "thousand_tokens"),
    [
        ("H100-SXM", "BF16", 4, 485), ("H100-SXM", "INT8", 2, 236), ("H100-SXM", "INT8", 4, 693),
        ("H100-SXM", "INT4", 2, 337), ("H200", "INT8", 1, 189), ("H200", "BF16", 2, 392), ("B200", "INT8", 2, 834),
        ("L40S", "INT4", 2, 127), ("A100-40GB", "INT8", 4, 214),
    ],
)  # fmt: skip
def test_the_cache_of_a_70b_model_is_what_a_hand_calculation_gives(
    configuration: Made, gpu: str, weights: str, tensor_parallel: int, thousand_tokens: int
) -> None:
    found = memory.memory(configuration(gpu=gpu, weights=weights, tensor_parallel=tensor_parallel), 2000)
    # The hand calculation takes 3 GiB of overhead and the marketed size of the GPU.
    assert found.kv_tokens / 1000 == pytest.approx(thousand_tokens, rel=0.15)


@pytest.mark.parametrize(("gpu", "tensor_parallel"), [("H100-SXM", 1), ("L40S", 2), ("A100-40GB", 2)])
def test_what_does_not_fit_says_what_it_needs_and_what_there_is(
    configuration: Made, gpu: str, tensor_parallel: int
) -> None:
    with pytest.raises(DoesNotFit, match=r"need [\d.]+ GiB on each accelerator, [\d.]+ GiB of a"):
        memory.memory(configuration(gpu=gpu, tensor_parallel=tensor_parallel), 2000)


def test_one_request_must_fit_the_cache(configuration: Made) -> None:
    with pytest.raises(DoesNotFit, match="one request needs 120000 tokens"):
        memory.memory(configuration(weights="INT4", tensor_parallel=1), 120_000)


def test_an_8_bit_cache_holds_twice_the_tokens(configuration: Made) -> None:
    wide, narrow = (memory.memory(configuration(tensor_parallel=4, kv_format=kv), 2000) for kv in ("BF16", "FP8"))
    assert narrow.kv_tokens == pytest.approx(2 * wide.kv_tokens, abs=2)


def test_key_value_heads_beyond_their_number_are_replicated(configuration: Made) -> None:
    facts = configuration(model="Qwen3-30B-A3B").model
    assert facts.kv_heads == 4
    four, eight = (memory.kv_token_bytes(facts, "BF16", tensor_parallel) for tensor_parallel in (4, 8))
    assert four == eight


def test_a_latent_cache_is_held_whole_by_every_accelerator(configuration: Made) -> None:
    facts = configuration(model="DeepSeek-V3").model
    assert memory.kv_token_bytes(facts, "BF16", 8) == memory.kv_token_bytes(facts, "BF16", 1)


def test_sliding_layers_keep_their_window_only(configuration: Made) -> None:
    facts = configuration(model="gpt-oss-120b").model
    assert memory.resident_tokens(facts, 100) == 100
    assert memory.resident_tokens(facts, 8000) == pytest.approx((8000 + 128) / 2)


def test_tensorrt_takes_its_share_of_what_is_free(configuration: Made) -> None:
    vllm, trtllm = (
        memory.memory(configuration(engine=engine, tensor_parallel=4), 2000) for engine in ("VLLM", "TensorRTLLM")
    )
    both = [found.weights_gib + found.overhead_gib for found in (vllm, trtllm)]
    assert vllm.kv_gib == pytest.approx(0.92 * 79.2 - both[0])
    assert trtllm.kv_gib == pytest.approx(0.9 * (79.2 - both[1]))


def test_experts_are_spread_over_all_groups(configuration: Made) -> None:
    one = configuration(model="DeepSeek-V3", gpu="H200", tensor_parallel=8)
    grouped = configuration(model="DeepSeek-V3", gpu="H200", tensor_parallel=1, attention_data_parallel=8)
    difference = memory.accelerator_weight_bytes(grouped) - memory.accelerator_weight_bytes(one)
    shared = memory.weight_bytes(one.model, "FP8") - one.model.expert_params * memory.BYTES["FP8"]
    assert difference == pytest.approx(shared * 7 / 8)
