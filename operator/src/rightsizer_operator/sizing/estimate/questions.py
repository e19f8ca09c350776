"""What is asked of the estimator: the demand and the limits, the levers, and every combination of them with the rule
that excludes it. Called by ``ranking``.

The rules are those of hardware and engines that hold without trying; what fits is decided by ``memory``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from rightsizer_jobs.workload import TraceFacts, quantile_of
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.sizing import verdicts, workload
from rightsizer_operator.sizing.estimate import tables
from rightsizer_operator.sizing.estimate.failures import NotEstimable
from rightsizer_operator.sizing.estimate.memory import Configuration
from rightsizer_operator.sizing.estimate.model_facts import ModelFacts
from rightsizer_operator.sizing.estimate.tables import Efficiencies, GpuFacts
from rightsizer_operator.sizing.gpus import Requirement
from rightsizer_operator.sizing.workload import Resolved

INTEGERS = ("INT8", "INT8W8A16", "INT4")
LONG = 0.95
"""Share of the requests that are no longer than a long one."""
GROUP = 128
"""Weights that share a scale in INT4; a shard must hold whole groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How the target serves today, as far as the estimate needs it; the defaults stand for an unknown target."""

    engine: str = "VLLM"
    weights: str = ""
    """Empty: as the checkpoint is."""
    kv_cache: str = "Auto"
    parallelism: int = 1
    replicas: int | None = None
    max_num_seqs: int | None = None
    memory_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Everything an estimate rests on."""

    model: ModelFacts
    gpu: GpuFacts
    serving: Serving
    percentile: int
    limits_ms: dict[str, float]
    """By metric: ttft, itl, tpot, e2e."""
    input_tokens: int
    output_tokens: int
    demand_rps: float
    steady: bool
    """Arrivals at equal distances instead of a Poisson process."""
    engines: tuple[str, ...]
    precisions: tuple[str, ...]
    kv_types: tuple[str, ...]
    batch_limits: tuple[int, ...]
    most_gpus: int
    gpu_hourly: str | None
    efficiencies: dict[str, Efficiencies] | None = None
    headroom_percent: float = 0.0
    spare_replicas: int = 0
    most_tokens: int = 0
    """Of a long request, where lengths vary; 0: all are alike."""
    lengths_field: str = "spec.workload.static.inputTokens"

    @property
    def required(self) -> Requirement:
        return Requirement(self.demand_rps, self.headroom_percent, self.spare_replicas)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One combination of levers."""

    id: str
    engine: str
    precision: str
    kv_cache: str
    parallelism: int
    max_num_seqs: int | None


def question(
    spec: InferenceDeploymentSpec,
    model: ModelFacts,
    gpu: GpuFacts,
    serving: Serving,
    gpu_hourly: str | None,
    efficiencies: dict[str, Efficiencies] | None = None,
    facts: TraceFacts | None = None,
) -> Question:
    """The question an InferenceDeployment asks. ``facts``: what a trial found in the workload's trace; its mean lengths
    and its rate are then the workload, as if they arrived by chance.

    Raises NotEstimable where nobody knows its lengths or its demand: those of a trace, or a demand in Prometheus.
    """
    if spec.workload.prometheus is not None:
        raise NotEstimable(
            "spec.workload.prometheus",
            "the demand is in Prometheus, which is not asked offline",
            "Give the peak in spec.workload.static.requestRate instead, for this plan.",
        )
    slo, load, search = verdicts.slo_of(spec.slo), workload.resolved(spec.workload, facts), spec.search
    if not (load.known and load.input_tokens and load.output_tokens):
        raise NotEstimable(
            "spec.workload.trace",
            "its lengths and rate are read from the model volume by a trial",
            "State them as spec.workload.static: mean lengths and rate, as status.demand shows them after a trial.",
        )
    found = {"ttft": slo.ttft_ms, "itl": slo.itl_ms, "tpot": slo.tpot_ms, "e2e": slo.e2e_ms}
    return Question(
        model=model,
        gpu=gpu,
        serving=serving,
        percentile=slo.percentile,
        limits_ms={metric: float(limit) for metric, limit in found.items() if limit is not None},
        input_tokens=round(load.input_tokens),
        output_tokens=round(load.output_tokens),
        demand_rps=load.demand_rps,
        steady=load.arrivals == "Constant",
        engines=tuple(search.engines),
        precisions=tuple(search.precisions),
        kv_types=tuple(search.kv_cache),
        batch_limits=tuple(search.max_num_seqs),
        most_gpus=search.max_gpus_per_replica,
        gpu_hourly=gpu_hourly,
        efficiencies=efficiencies,
        headroom_percent=spec.sizing.headroom_percent,
        spare_replicas=spec.sizing.spare_replicas,
        most_tokens=_long(load),
        lengths_field="spec.workload.static.inputTokens" if spec.workload.static is not None else "spec.workload.trace",
    )


def _long(load: Resolved) -> int:
    """Tokens of a request that is long on one side, as one in twenty is, and of mean length on the other."""
    inputs = quantile_of(load.inputs, LONG) if load.inputs is not None else load.input_tokens
    outputs = quantile_of(load.outputs, LONG) if load.outputs is not None else load.output_tokens
    return round(max(inputs + load.output_tokens, load.input_tokens + outputs))


def beyond_context(asked: Question) -> NotEstimable | None:
    """Where requests are longer than the model's context: no engine takes them. None: they are not, or it is not
    stated."""
    longest, mean = asked.model.longest, asked.input_tokens + asked.output_tokens
    request = max(mean, asked.most_tokens)
    if not longest or request <= longest:
        return None
    which = "one request" if request == mean else f"one request in {round(1 / (1 - LONG))}"
    return NotEstimable(
        asked.lengths_field,
        f"{which} has {request} tokens with its answer, the context of {asked.model.name} is {longest}",
        "Shorten the requests, or state spec.model.architecture.longest where the engine is told of a longer context.",
    )


def without_batch_limits(asked: Question) -> Question:
    """The question with every candidate at the batch limit it has by default."""
    return replace(asked, batch_limits=())


def choices(asked: Question) -> Iterator[Choice]:
    """The target's own configuration first, then every combination."""
    serving = asked.serving
    yield _named(asked, serving.engine, "AsIs", "Auto", serving.parallelism, serving.max_num_seqs)
    engines = [engine for engine in asked.engines if engine in tables.ENGINES]
    limits = (serving.max_num_seqs, *(limit for limit in asked.batch_limits if limit != serving.max_num_seqs))
    for engine in engines:
        for parallelism in _parallelisms(serving.parallelism, asked.most_gpus):
            for kv_cache in asked.kv_types:
                for precision in asked.precisions:
                    for limit in limits:
                        made = _named(asked, engine, precision, kv_cache, parallelism, limit)
                        if made.id != "as-is":
                            yield made


def _parallelisms(found: int, most: int) -> tuple[int, ...]:
    return tuple(sorted({found, *(1 << power for power in range(7) if 1 << power <= most)}))


def _named(asked: Question, engine: str, precision: str, kv: str, parallelism: int, limit: int | None) -> Choice:
    """Ids as the operator's planner gives them: what differs from the target."""
    parts = [] if engine == asked.serving.engine else ["trtllm" if engine == "TensorRTLLM" else engine.lower()]
    parts.append("as-is" if precision == "AsIs" else precision.lower())
    parts += [f"{kv.lower()}kv"] if kv != "Auto" else []
    parts += [f"tp{parallelism}"] if parallelism != asked.serving.parallelism else []
    parts += [f"seqs{limit}"] if limit != asked.serving.max_num_seqs else []
    return Choice(
        id="-".join(parts), engine=engine, precision=precision, kv_cache=kv, parallelism=parallelism, max_num_seqs=limit
    )


def weights_of(asked: Question, choice: Choice) -> str:
    """The weight format that is served."""
    as_found = asked.serving.weights or asked.model.weights
    return as_found if choice.precision == "AsIs" else choice.precision


def configured(asked: Question, choice: Choice) -> Configuration:
    """The configuration of a choice; a cache type that is not chosen stays as the target or the checkpoint has it."""
    rules = tables.ENGINES[choice.engine]
    own = asked.serving.kv_cache if choice.engine == asked.serving.engine else "Auto"
    kv = choice.kv_cache if choice.kv_cache != "Auto" else own
    return Configuration(
        model=asked.model if choice.precision == "AsIs" else replace(asked.model, block_scaled=False),
        gpu=asked.gpu,
        rules=rules,
        weights=weights_of(asked, choice),
        kv_format="FP8" if kv == "FP8" else asked.model.kv_format,
        tensor_parallel=choice.parallelism,
        memory_share=asked.serving.memory_share if choice.engine == asked.serving.engine else None,
    )


def rule_against(asked: Question, choice: Choice) -> str:
    """The rule that excludes a choice; empty: none does."""
    return next((said for rule in _RULES if (said := rule(asked, choice))), "")


def _parallel_heads(asked: Question, choice: Choice) -> str:
    if asked.model.heads % choice.parallelism:
        return f"{choice.parallelism} accelerators do not divide {asked.model.heads} attention heads"
    return ""


def _context(asked: Question, _: Choice) -> str:
    problem = beyond_context(asked)
    return problem.problem if problem else ""


def _integers_in_tensorrt(asked: Question, choice: Choice) -> str:
    """What a target that runs on TensorRT-LLM serves today is let pass: its layout is then one that works."""
    served = weights_of(asked, choice)
    if choice.engine != "TensorRTLLM" or served not in INTEGERS:
        return ""
    if choice.precision != "AsIs":
        return "TensorRT-LLM reads INT compressed-tensors weights wrongly without an error: the pair is refused"
    if asked.serving.engine == "TensorRTLLM" and asked.serving.replicas is not None:
        return ""
    return (
        f"the weights served are {served}: TensorRT-LLM reads INT compressed-tensors weights wrongly without an error, "
        "and other layouts of them are not known to work"
    )


def _capability(gpu: GpuFacts) -> tuple[int, ...]:
    return tuple(int(part) for part in gpu.compute_capability.split(".") if part.isdigit())


def _arithmetic(asked: Question, choice: Choice) -> str:
    """vLLM widens FP8 weights where the GPU has no such arithmetic, so a checkpoint in FP8 runs with it."""
    gpu, served = asked.gpu, weights_of(asked, choice)
    narrow = choice.precision == "FP8" or (served == "FP8" and choice.engine == "TensorRTLLM")
    if narrow and not gpu.fp8_tflops:
        return f"{gpu.name} has no FP8 arithmetic (compute capability {gpu.compute_capability}, 8.9 needed)"
    if choice.precision == "INT8" and _capability(gpu) >= (10, 3):
        return f"{gpu.name} has no INT8 tensor arithmetic to speak of (compute capability {gpu.compute_capability})"
    return ""


def _group_shards(asked: Question, choice: Choice) -> str:
    shard = asked.model.hidden / choice.parallelism
    if choice.precision == "INT4" and shard % GROUP:
        return f"INT4 groups of {GROUP} weights do not divide a shard of {shard:g}"
    return ""


def _already(asked: Question, choice: Choice) -> str:
    """A format the target has already, or that only the original weights could be brought to."""
    as_found = asked.serving.weights or asked.model.weights
    if choice.precision == as_found:
        return f"the weights served today are {as_found} already: the same as AsIs"
    if choice.precision not in ("AsIs", "BF16") and asked.model.weights != "BF16":
        return f"the checkpoint is {asked.model.weights}: {choice.precision} needs unquantized weights"
    return ""


_RULES = (_context, _integers_in_tensorrt, _arithmetic, _parallel_heads, _group_shards, _already)
