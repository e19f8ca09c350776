"""How long one step takes, and what makes it longer."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from rightsizer_operator.sizing.estimate import steps, tables
from rightsizer_operator.sizing.estimate.memory import Configuration
from rightsizer_operator.sizing.estimate.steps import StepClock

Made = Callable[..., Configuration]


def clock(configuration: Configuration) -> StepClock:
    return steps.clock(configuration, tables.efficiencies(configuration.rules.name, configuration.gpu.name))


def decode(configuration: Configuration, sequences: int = 1, context: float = 2000) -> float:
    return clock(configuration).seconds(0, 0.0, sequences, sequences * context)


def test_a_decode_step_takes_at_least_the_time_to_read_the_weights(configuration: Made) -> None:
    found = configuration(tensor_parallel=4)
    assert decode(found) > 141e9 / 4 / 3350e9


def test_a_step_never_gets_shorter_with_more_work(configuration: Made) -> None:
    found = clock(configuration(tensor_parallel=2, weights="FP8"))
    base = found.seconds(512, 512 * 256, 8, 16_000)
    assert base < found.seconds(1024, 512 * 256, 8, 16_000)
    assert base < found.seconds(512, 512 * 2048, 8, 16_000)
    assert base < found.seconds(512, 512 * 256, 64, 16_000)
    assert base < found.seconds(512, 512 * 256, 8, 64_000)


def test_narrow_weights_read_faster_and_widen_for_arithmetic(configuration: Made) -> None:
    wide, eight, four = (configuration(weights=weights, tensor_parallel=4) for weights in ("BF16", "FP8", "INT4"))
    assert decode(four) < decode(eight) < decode(wide)
    prompt = [clock(found).seconds(8192, 0.0, 0, 0.0) for found in (wide, eight, four)]
    assert prompt[1] < prompt[2] == pytest.approx(prompt[0], rel=0.05)


def test_more_accelerators_shorten_a_step_by_less_than_their_number(configuration: Made) -> None:
    two, eight = (decode(configuration(weights="FP8", tensor_parallel=tp), 32) for tp in (2, 8))
    assert two / 4 < eight < two


def test_a_faster_memory_shortens_decoding(configuration: Made) -> None:
    old, new, newest = (
        decode(configuration(gpu=gpu, tensor_parallel=4), 16) for gpu in ("A100-80GB", "H100-SXM", "B200")
    )
    assert newest < new < old


def test_without_fp8_arithmetic_there_is_no_gain_in_prompts(configuration: Made) -> None:
    wide, eight = (
        clock(configuration(gpu="A100-80GB", weights=weights, tensor_parallel=4)).seconds(8192, 0.0, 0, 0.0)
        for weights in ("BF16", "FP8")
    )
    assert eight == pytest.approx(wide, rel=0.05)


def test_few_tokens_read_few_experts_and_many_read_all(configuration: Made) -> None:
    found = clock(configuration(model="Qwen3-235B-A22B", gpu="H200", tensor_parallel=8, weights="FP8"))
    whole = replace(found, expert_skipped=0.0)
    assert found.seconds(0, 0.0, 1, 100) < whole.seconds(0, 0.0, 1, 100) - 0.9 * found.expert_weights_s
    assert found.seconds(0, 0.0, 256, 25_600) == pytest.approx(whole.seconds(0, 0.0, 256, 25_600), rel=0.01)


def test_a_long_context_costs_sliding_layers_nothing(configuration: Made) -> None:
    found = clock(configuration(model="gpt-oss-120b", weights="FP4"))
    near, far = found.seconds(0, 0.0, 8, 8 * 128), found.seconds(0, 0.0, 8, 8 * 8128)
    assert far - near == pytest.approx(8 * 8000 / 2 * found.context_s)


def test_block_scaled_weights_multiply_more_slowly(configuration: Made) -> None:
    found = configuration(model="DeepSeek-V3", gpu="H200", tensor_parallel=8)
    assert found.model.block_scaled
    of = tables.efficiencies("VLLM", "H200")
    whole = steps.clock(found, of).token_s
    assert whole * of.block_scaled * of.compute_8bit == pytest.approx(
        2 * found.model.active_params / (1979e12 * 8), rel=1e-6
    )


def test_scaling_inputs_block_by_block_costs_launches_in_every_layer(configuration: Made) -> None:
    found = configuration(model="Qwen3-32B", weights="FP8")
    plain = replace(found, model=replace(found.model, block_scaled=False))
    launches = found.model.layers * steps.BLOCK_SCALED_LAYER_US / 1e6
    assert clock(found).fixed_s - clock(plain).fixed_s == pytest.approx(launches)
    wide = replace(found, weights="BF16")
    assert clock(wide).fixed_s == clock(plain).fixed_s
