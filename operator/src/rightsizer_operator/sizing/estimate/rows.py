"""Recorded closed-loop runs, estimated: one row is one engine at a fixed number of requests in flight. Called by
``rightsizer estimate`` and the accuracy benchmark.

A row that cannot be estimated (unknown GPU or model, does not fit) carries the reason; a table with wrong columns is an
error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rightsizer_operator.sizing.estimate import batching, memory, steps, tables
from rightsizer_operator.sizing.estimate.failures import DoesNotFit, NotEstimable
from rightsizer_operator.sizing.estimate.memory import Configuration
from rightsizer_operator.sizing.estimate.model_facts import ModelFacts
from rightsizer_operator.sizing.estimate.tables import Efficiencies, GpuFacts

COLUMNS = ("backend", "model_path", "system", "precision", "isl", "osl", "concurrency", "tp_size")
ENGINES = {"vllm": "VLLM", "trtllm": "TensorRTLLM", "sglang": "SGLang"}
PRECISIONS = {
    "": "", "bf16": "BF16", "fp16": "BF16", "fp8": "FP8", "int8": "INT8", "int4": "INT4", "fp4": "FP4", "nvfp4": "FP4",
    "mxfp4": "FP4",
}  # fmt: skip
WAVES = 10
"""Requests of a recording, as a multiple of its concurrency."""
BUSIEST = 16_384
"""Most requests in flight of one row: a run of that size takes seconds."""
RECORDED_SHARE = {"VLLM": 0.90}
"""Memory share of the versions that were recorded, where it is not today's default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One recorded configuration; ``precision`` is empty where the checkpoint's own format was served."""

    engine: str
    model: str
    gpu: str
    precision: str
    input_tokens: int
    output_tokens: int
    concurrency: int
    tensor_parallel: int
    pipeline_parallel: int
    attention_data_parallel: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RowEstimate:
    """Means over all requests, as recordings have them; None with a ``reason``; answers of one token have no TPOT."""

    ttft_ms: float | None = None
    tpot_ms: float | None = None
    reason: str = ""


def parsed(record: Mapping[str, str | None], line: int) -> Row:
    """One line of the file; raises NotEstimable with the column at fault."""
    engine, precision = _text(record, "backend").lower(), _text(record, "precision").lower()
    if engine not in ENGINES:
        raise NotEstimable(f"line {line}, backend", f"{engine!r} is unknown", f"One of {', '.join(ENGINES)}.")
    if precision not in PRECISIONS:
        known = ", ".join(name for name in PRECISIONS if name)
        raise NotEstimable(f"line {line}, precision", f"{precision!r} is unknown", f"Empty, or one of {known}.")
    return Row(
        engine=ENGINES[engine],
        model=_text(record, "model_path"),
        gpu=_text(record, "system"),
        precision=PRECISIONS[precision],
        input_tokens=_whole(record, "isl", line),
        output_tokens=_whole(record, "osl", line),
        concurrency=_whole(record, "concurrency", line, most=BUSIEST),
        tensor_parallel=_whole(record, "tp_size", line),
        pipeline_parallel=_whole(record, "pp_size", line, 1),
        attention_data_parallel=_whole(record, "attention_dp_size", line, 1),
    )


def check_columns(columns: Sequence[str]) -> None:
    """Raises NotEstimable where one is missing."""
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise NotEstimable(
            "columns", f"{', '.join(missing)} missing", f"The first line must name at least {', '.join(COLUMNS)}."
        )


def check_models(found: Sequence[Row], model: ModelFacts | None) -> None:
    """Raises NotEstimable where one config.json would have to stand for several models."""
    unknown = {tables.model_key(row.model): row.model for row in found if tables.published_model(row.model) is None}
    if model is not None and len(unknown) > 1:
        names = ", ".join(sorted(unknown.values())[:4])
        problem = f"one config.json, but {len(unknown)} models are not in the table: {names[:200]}"
        raise NotEstimable("--model-config", problem, "Split the file: rows of one such model at a time.")


def _text(record: Mapping[str, str | None], column: str) -> str:
    return (record.get(column) or "").strip()


def _whole(
    record: Mapping[str, str | None], column: str, line: int, default: int | None = None, most: int = 10_000_000
) -> int:
    text = _text(record, column)
    if not text and default is not None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 20 or not 0 < int(text) <= most:
        problem = f"{text[:40]!r} is no whole number from 1 to {most}"
        raise NotEstimable(f"line {line}, {column}", problem, "Correct the file.")
    return int(text)


def estimate(
    row: Row,
    *,
    model: ModelFacts | None = None,
    gpus: Mapping[str, GpuFacts] | None = None,
    efficiencies: Mapping[str, Efficiencies] | None = None,
) -> RowEstimate:
    """Mean TTFT and TPOT of the recording; ``model``: facts of a model that is not in the table (``check_models``)."""
    facts = tables.published_model(row.model) or model
    if facts is None:
        return RowEstimate(reason=f"model {row.model} is not in the table: give its config.json with --model-config")
    gpu = tables.gpu(row.gpu, gpus)
    if gpu is None:
        return RowEstimate(reason=f"GPU {row.gpu} is unknown: it can be measured, not estimated; or give --gpus FILE")
    if facts.heads % row.tensor_parallel:
        return RowEstimate(reason=f"tp_size {row.tensor_parallel} does not divide {facts.heads} attention heads")
    longest, request = facts.longest, row.input_tokens + row.output_tokens
    if longest and request > longest:
        return RowEstimate(reason=f"isl + osl is {request} tokens, the context of {row.model} is {longest}")
    configuration = configured(row, facts, gpu)
    of = tables.efficiencies(row.engine, gpu.name, efficiencies)
    try:
        figures = _run(row, configuration, of)
    except DoesNotFit as problem:
        return RowEstimate(reason=str(problem))
    tpot = 1000 * sum(figures.tpot) / len(figures.tpot) if figures.tpot else None
    return RowEstimate(ttft_ms=1000 * sum(figures.ttft) / len(figures.ttft), tpot_ms=tpot)


def configured(row: Row, model: ModelFacts, gpu: GpuFacts) -> Configuration:
    """The configuration of a recorded row. Recordings of FP8 and FP4 weights had an FP8 cache; those of INT8 and INT4
    are taken to have the checkpoint's own."""
    weights = row.precision or model.weights
    narrow = weights in ("FP8", "FP4") and row.precision != ""
    return Configuration(
        model=model,
        gpu=gpu,
        rules=tables.ENGINES[row.engine],
        weights=weights,
        kv_format="FP8" if narrow else model.kv_format,
        tensor_parallel=row.tensor_parallel,
        pipeline_parallel=row.pipeline_parallel,
        attention_data_parallel=row.attention_data_parallel,
        memory_share=RECORDED_SHARE.get(row.engine),
    )


def _run(row: Row, configuration: Configuration, of: Efficiencies) -> batching.Figures:
    request = row.input_tokens + row.output_tokens
    room = memory.memory(configuration, request)
    limits = batching.limits(configuration.rules, of, cache_tokens(configuration.model, room.kv_tokens, request))
    concurrency = -(-row.concurrency // row.attention_data_parallel)
    drifts = drift(min(of.drift_tokens, row.output_tokens - 1), WAVES * concurrency)
    lengths = [(row.input_tokens, max(1, row.output_tokens + tokens)) for tokens in drifts]
    return batching.closed_loop(steps.clock(configuration, of), limits, lengths, concurrency)


def cache_tokens(model: ModelFacts, kv_tokens: int, request_tokens: int) -> int:
    """Room in tokens of context: sliding layers forget, so a request of that length takes less than its length."""
    return int(kv_tokens * request_tokens / memory.resident_tokens(model, request_tokens))


def drift(tokens: float, count: int) -> list[int]:
    """Whole numbers spread evenly between -tokens and +tokens, in an order without pattern."""
    return [round(tokens * (2 * (index * _GOLDEN % 1.0) - 1)) for index in range(1, count + 1)]


_GOLDEN = 0.6180339887498949
"""Its multiples modulo 1 fill the interval evenly: no randomness, the same result every time."""
