"""Sets of 24 candidates: one model, one GPU, one demand, and the engines that a planner would offer for them.

Step costs and cache follow from the data sheets by the estimator's arithmetic, so that the spread of a set is that of
real choices; then each engine gets a character of its own, which no estimate knows.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks.oracle.cases import Case
from benchmarks.oracle.demand import Demand, Tokens
from benchmarks.oracle.engine import EngineShape
from rightsizer_jobs.contract import Slo
from rightsizer_operator.sizing.estimate import memory, questions, rows, steps, tables
from rightsizer_operator.sizing.estimate.failures import DoesNotFit
from rightsizer_operator.sizing.estimate.questions import Choice, Question

SIZE = 24
MODELS = ("Qwen3-32B", "Llama-3.1-70B", "Mixtral-8x7B")
GPUS = ("H100-SXM", "H200", "A100-80GB", "L40S")
CHARACTER = 0.12
"""How far each cost of an engine is from its data sheet beyond the estimator: standard deviation of the logarithm."""
BLOCK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One candidate of a set, named as the planner names it."""

    id: str
    accelerators: int
    case: Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """A set; the first engine is the target's."""

    name: str
    parallelism: int
    """Of the target."""
    engines: tuple[Engine, ...]


def candidates(seed: int) -> Candidates:
    """The set of a seed: 24 engines that fit, the target's among them."""
    source = random.Random(f"candidates/{seed}")
    while True:
        found = _drawn(source)
        if found is not None:
            return found


def _drawn(source: random.Random) -> Candidates | None:
    asked = _question(source)
    fitting = list(_fitting(asked))
    own = next((one for one in fitting if one[0].id == "as-is"), None)
    if own is None or len(fitting) < SIZE:
        return None
    others = source.sample([one for one in fitting if one is not own], SIZE - 1)
    chosen = [own, *sorted(others, key=lambda one: one[0].id)]
    demand = _demand(asked, source)
    slo = _slo(asked, own[1], source)
    engines = tuple(
        Engine(
            id=choice.id,
            accelerators=choice.parallelism,
            case=Case(name=choice.id, shape=_with_character(shape, source), demand=demand, slo=slo),
        )
        for choice, shape in chosen
    )
    name = f"{asked.model.name} on {asked.gpu.name}, {asked.input_tokens}/{asked.output_tokens}"
    return Candidates(name=name, parallelism=asked.serving.parallelism, engines=engines)


def _question(source: random.Random) -> Question:
    """Lengths, model and GPU; the limits are set from what the target does on its own."""
    model, gpu = tables.published_model(source.choice(MODELS)), tables.gpu(source.choice(GPUS))
    assert model is not None
    assert gpu is not None
    return Question(
        model=model, gpu=gpu, serving=questions.Serving(parallelism=source.choice((1, 2, 4, 8))), percentile=95,
        limits_ms={}, input_tokens=round(math.exp(source.uniform(math.log(200), math.log(3000)))),
        output_tokens=round(math.exp(source.uniform(math.log(120), math.log(500)))), demand_rps=1.0, steady=False,
        engines=("VLLM",), precisions=("AsIs", "FP8", "INT8", "INT4"), kv_types=("Auto", "FP8"), batch_limits=(),
        most_gpus=8, gpu_hourly=None,
    )  # fmt: skip


def _fitting(asked: Question) -> Iterator[tuple[Choice, EngineShape]]:
    for choice in questions.choices(asked):
        if questions.rule_against(asked, choice):
            continue
        try:
            shape = _shape(asked, choice)
        except DoesNotFit:
            continue
        if shape.kv_blocks * BLOCK > 8 * (asked.input_tokens + asked.output_tokens):
            yield choice, shape


def _shape(asked: Question, choice: Choice) -> EngineShape:
    """The estimator's step, split into the terms of the engine model; raises DoesNotFit."""
    configuration = questions.configured(asked, choice)
    clock = steps.clock(configuration, tables.efficiencies(choice.engine, asked.gpu.name))
    request = asked.input_tokens + asked.output_tokens
    room = memory.memory(configuration, request)
    idle, full, rules = clock.seconds(0, 0.0, 1, 0.0), clock.seconds(8192, 0.0, 0, 0.0), configuration.rules
    return EngineShape(
        weights_s=idle - clock.fixed_s,
        token_s=(full - clock.fixed_s) / 8192,
        context_s=clock.context_s,
        pair_s=clock.pair_s,
        overhead_s=clock.fixed_s,
        batched_tokens=rules.batched_tokens // 4,
        sequences=rules.sequences // 4,
        kv_blocks=rows.cache_tokens(asked.model, room.kv_tokens, request) // BLOCK,
        block_tokens=BLOCK,
    )


def _demand(asked: Question, source: random.Random) -> Demand:
    return Demand(
        Tokens(asked.input_tokens, source.uniform(0.3, 0.8), 8 * asked.input_tokens),
        Tokens(asked.output_tokens, source.uniform(0.3, 0.7), 6 * asked.output_tokens),
    )


def _slo(asked: Question, shape: EngineShape, source: random.Random) -> Slo:
    """Limits in proportion to what one request alone needs on the target."""
    prompt = shape.step_s(asked.input_tokens, 0, asked.input_tokens**2 / 2)
    token = shape.step_s(1, asked.input_tokens, 0.0)
    return Slo(
        ttft_ms=round(1000 * (source.uniform(4, 12) * prompt + 0.2)),
        tpot_ms=round(1000 * source.uniform(1.8, 4) * token),
    )


def _with_character(shape: EngineShape, source: random.Random) -> EngineShape:
    own = [math.exp(source.gauss(0, CHARACTER)) for _ in range(4)]
    return replace(
        shape, weights_s=shape.weights_s * own[0], token_s=shape.token_s * own[1], context_s=shape.context_s * own[2],
        overhead_s=shape.overhead_s * own[3],
    )  # fmt: skip
