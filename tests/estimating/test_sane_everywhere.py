"""Whatever model, GPU and engine: more hardware is never slower, more requests are never faster, nothing is free."""

import itertools
import random
from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rightsizer_operator.sizing.estimate import batching, capacity, memory, steps, tables
from rightsizer_operator.sizing.estimate.failures import DoesNotFit
from rightsizer_operator.sizing.estimate.memory import Configuration
from rightsizer_operator.sizing.estimate.questions import Question, Serving
from rightsizer_operator.sizing.estimate.tables import GpuFacts

MODELS = ("Llama-3.1-8B", "Llama-3.1-70B", "Qwen3-32B", "Qwen3-30B-A3B", "Mixtral-8x7B", "DeepSeek-V3", "gpt-oss-120b",
          "gpt-oss-20b")  # fmt: skip
GPUS = ("L4", "L40S", "A100-80GB", "H100-PCIe", "H100-SXM", "H200", "B200", "B300", "MI300X", "H20")
ENGINES = ("VLLM", "TensorRTLLM")
FORMATS = ("BF16", "FP8", "INT8", "INT4")


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    """One replica of anything the tables know; it need not fit."""
    model, gpu = tables.published_model(draw(st.sampled_from(MODELS))), tables.gpu(draw(st.sampled_from(GPUS)))
    assert model is not None
    assert gpu is not None
    return Configuration(
        model=model,
        gpu=gpu,
        rules=tables.ENGINES[draw(st.sampled_from(ENGINES))],
        weights=draw(st.sampled_from(FORMATS)),
        kv_format=draw(st.sampled_from(["BF16", "FP8"])),
        tensor_parallel=draw(st.sampled_from([1, 2, 4, 8])),
    )


def clock(found: Configuration) -> steps.StepClock:
    return steps.clock(found, tables.efficiencies(found.rules.name, found.gpu.name))


def on(found: Configuration, **facts: float) -> Configuration:
    gpu: GpuFacts = replace(found.gpu, **facts)  # type: ignore[arg-type]
    return replace(found, gpu=gpu)


batches = st.tuples(st.integers(0, 8192), st.integers(0, 256), st.integers(1, 16_000))
"""Prompt tokens, sequences, context of each."""


def seconds(found: Configuration, batch: tuple[int, int, int]) -> float:
    prompt, sequences, context = batch
    return clock(found).seconds(prompt, prompt * prompt / 2, sequences, float(sequences * context))


@given(configurations(), batches, st.floats(1.0, 4.0))
def test_more_bandwidth_is_never_slower(found: Configuration, batch: tuple[int, int, int], times: float) -> None:
    faster = on(found, bandwidth_gbs=found.gpu.bandwidth_gbs * times)
    assert seconds(faster, batch) <= seconds(found, batch) * (1 + 1e-12)


@given(configurations(), batches, st.floats(1.0, 4.0))
def test_more_arithmetic_is_never_slower(found: Configuration, batch: tuple[int, int, int], times: float) -> None:
    gpu = found.gpu
    faster = on(
        found, bf16_tflops=gpu.bf16_tflops * times, fp8_tflops=gpu.fp8_tflops * times,
        int8_tflops=gpu.int8_tflops * times, fp4_tflops=gpu.fp4_tflops * times,
    )  # fmt: skip
    # The share that is reached differs where 8-bit arithmetic is faster than 16-bit; scaling all keeps which is.
    assert seconds(faster, batch) <= seconds(found, batch) * (1 + 1e-12)


@given(configurations(), batches, st.integers(0, 2000), st.integers(0, 64))
def test_more_work_never_takes_less_time(
    found: Configuration, batch: tuple[int, int, int], tokens: int, sequences: int
) -> None:
    prompt, running, context = batch
    more = (prompt + tokens, running + sequences, context + tokens)
    assert seconds(found, more) >= seconds(found, batch) * (1 - 1e-12)


@given(configurations(), st.integers(100, 20_000))
def test_more_parallelism_never_takes_more_memory_of_an_accelerator(found: Configuration, tokens: int) -> None:
    wider = replace(found, tensor_parallel=found.tensor_parallel * 2)
    assert memory.accelerator_weight_bytes(wider) < memory.accelerator_weight_bytes(found)
    assert memory.kv_token_bytes(found.model, found.kv_format, wider.tensor_parallel) <= memory.kv_token_bytes(
        found.model, found.kv_format, found.tensor_parallel
    )
    try:
        narrow = memory.memory(found, tokens)
    except DoesNotFit:
        return
    assume(found.tensor_parallel > 1)  # the first collective brings its buffers
    assert memory.memory(wider, tokens).kv_tokens >= narrow.kv_tokens


@given(configurations(), st.integers(100, 20_000), st.floats(1.0, 4.0))
def test_a_larger_accelerator_never_holds_less(found: Configuration, tokens: int, times: float) -> None:
    try:
        held = memory.memory(found, tokens).kv_tokens
    except DoesNotFit:
        return
    assert memory.memory(on(found, memory_gib=found.gpu.memory_gib * times), tokens).kv_tokens >= held


@given(configurations())
def test_a_narrower_format_never_takes_more_memory(found: Configuration) -> None:
    taken = [memory.weight_bytes(found.model, weights) for weights in ("INT4", "INT8", "BF16")]
    assert taken == sorted(taken)
    assert memory.kv_token_bytes(found.model, "FP8", 1) < memory.kv_token_bytes(found.model, "BF16", 1)


def question(found: Configuration, demand: float) -> Question:
    return Question(
        model=found.model, gpu=found.gpu, serving=Serving(), percentile=95, limits_ms={"ttft": 5000.0},
        input_tokens=800, output_tokens=100, demand_rps=demand, steady=False, engines=("VLLM",),
        precisions=("AsIs",), kv_types=("Auto",), batch_limits=(), most_gpus=8, gpu_hourly=None,
    )  # fmt: skip


CHANCE = random.Random(7)
UNIT = tuple(itertools.accumulate(CHANCE.expovariate(1.0) for _ in range(300)))
"""Arrivals at one request a second; the same at every rate but for their speed."""


@settings(max_examples=25, deadline=None)
@given(configurations(), st.floats(0.05, 0.9), st.floats(1.5, 8.0))
def test_a_higher_rate_never_lowers_the_tail(found: Configuration, share: float, times: float) -> None:
    try:
        room = memory.memory(found, 900)
    except DoesNotFit:
        return
    of = tables.efficiencies(found.rules.name, found.gpu.name)
    made, asked = batching.limits(found.rules, of, room.kv_tokens), question(found, 1.0)
    quick = capacity.roofline(clock(found), made, asked)
    assume(quick is not None)
    assert quick is not None

    def at(rate: float) -> dict[str, float]:
        arrivals = [(when / rate, 800, 100) for when in UNIT]
        return capacity.at_rate(asked, batching.open_loop(clock(found), made, arrivals), rate).latencies_ms

    before, after = at(quick.rate_rps * share), at(quick.rate_rps * share * times)
    # Where in a step a request arrives is chance: a step of leeway.
    step = 1000 * seconds(found, (0, 1, 900))
    for metric in ("ttft", "e2e"):
        assert after[metric] >= before[metric] * 0.98 - step
    # Past saturation, prompts no longer come between the tokens of a finite run one by one but all at once.
    if share * times <= 1:
        assert after["tpot"] >= before["tpot"] * 0.98


@given(configurations())
def test_one_token_takes_at_least_the_reading_of_what_it_passes(found: Configuration) -> None:
    active = found.model.active_params * memory.BYTES[found.weights]
    least = active / (found.gpu.bandwidth_gbs * 1e9 * found.tensor_parallel)
    assert seconds(found, (0, 1, 1)) >= least
