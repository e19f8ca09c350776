"""Batching settings on a command line: the batch limit, tokens of a step, chunked prefill, memory share, CUDA graphs.
Called by ``serving``; raises Excluded for what the user's own flags fix or the engine would refuse at its start.

vLLM 0.11 to 0.33 (``vllm/engine/arg_utils.py``, ``vllm/config/scheduler.py``); TensorRT-LLM 1.2 (``trtllm-serve``,
``cuda_graph_config`` and ``kv_cache_config`` of its YAML). All of them need a new engine process.
"""

import re

from rightsizer_operator.manifests import engine_flags
from rightsizer_operator.manifests.engine_command import EngineCommand
from rightsizer_operator.manifests.engine_switch import Excluded
from rightsizer_operator.resource.run import Batching

Config = dict[str, object]
NOTHING = Batching()


def batched(
    command: EngineCommand, config: Config, max_num_seqs: int | None, settings: Batching
) -> tuple[EngineCommand, Config]:
    """The command line and YAML with the settings; raises Excluded."""
    if command.engine == "TensorRTLLM":
        return _tensorrt_llm(command, config, max_num_seqs, settings)
    return _vllm(command, max_num_seqs, settings), config


def _vllm(command: EngineCommand, max_num_seqs: int | None, settings: Batching) -> EngineCommand:
    if max_num_seqs is not None:
        command = command.with_flag(engine_flags.MAX_NUM_SEQS, str(max_num_seqs))
    if settings.max_num_batched_tokens is not None:
        command = command.with_flag(engine_flags.MAX_BATCHED_TOKENS, str(settings.max_num_batched_tokens))
    if settings.chunked_prefill is not None:
        on, off = engine_flags.CHUNKED_PREFILL, engine_flags.NO_CHUNKED_PREFILL
        command = command.without(on, off).with_flag(on if settings.chunked_prefill else off)
    if settings.memory_percent is not None:
        _refuse(command, "memory share", "--kv-cache-memory-bytes", "--num-gpu-blocks-override")
        command = command.with_flag(engine_flags.MEMORY_UTILIZATION, _share(settings.memory_percent))
    if settings.graph_size is not None:
        _refuse(
            command, "CUDA graph size", "--enforce-eager", "--cudagraph-capture-sizes", "--compilation-config", "-O0"
        )
        command = command.with_flag(engine_flags.MAX_GRAPH, str(settings.graph_size))
    if max_num_seqs is not None or settings != NOTHING:
        _refuse_small_steps(command)
    return command


def _tensorrt_llm(
    command: EngineCommand, config: Config, max_num_seqs: int | None, settings: Batching
) -> tuple[EngineCommand, Config]:
    if max_num_seqs is not None:
        command = command.with_flag(engine_flags.MAX_BATCH_SIZE, str(max_num_seqs))
    if settings.max_num_batched_tokens is not None:
        command = command.with_flag(engine_flags.MAX_NUM_TOKENS, str(settings.max_num_batched_tokens))
    if settings.chunked_prefill is not None:
        command = command.without(engine_flags.CHUNKED_PREFILL)
        command = command.with_flag(engine_flags.CHUNKED_PREFILL) if settings.chunked_prefill else command
    if settings.memory_percent is not None:
        share = _share(settings.memory_percent)
        if command.find(engine_flags.MEMORY_FRACTION):
            command = command.with_flag(engine_flags.MEMORY_FRACTION, share)
        else:
            # The flag's name differs between versions, the YAML's does not.
            config = _merged(config, "kv_cache_config", {"free_gpu_memory_fraction": float(share)})
    if settings.graph_size is not None:
        config = _merged(config, "cuda_graph_config", {"max_batch_size": settings.graph_size, "enable_padding": True})
    return command, config


def _refuse_small_steps(command: EngineCommand) -> None:
    """vLLM does not start where a step cannot hold a token of each sequence, or, without chunks, a whole prompt."""
    tokens, sequences = command.value(engine_flags.MAX_BATCHED_TOKENS), command.value(engine_flags.MAX_NUM_SEQS)
    if _number(tokens) and _number(sequences) and _number(tokens) < _number(sequences):
        raise Excluded(
            f"batch limit {sequences}: the flag --max-num-batched-tokens {tokens} is smaller, and vLLM refuses that"
        )
    if command.find(engine_flags.NO_CHUNKED_PREFILL) is None:
        return
    longest = command.value("--max-model-len")
    if not _number(longest) or not _number(tokens) or _number(tokens) < _number(longest):
        raise Excluded(
            "without chunked prefill vLLM needs --max-num-batched-tokens of at least --max-model-len, both as plain "
            f"numbers; they are {tokens or 'not set'} and {longest or 'not set'}"
        )


def _refuse(command: EngineCommand, what: str, *flags: str) -> None:
    for flag in flags:
        if command.find(flag):
            raise Excluded(f"{what}: the flag {flag} fixes it")


def _merged(config: Config, key: str, more: Config) -> Config:
    known = config.get(key)
    return {**config, key: {**(known if isinstance(known, dict) else {}), **more}}


def _share(percent: int) -> str:
    return f"{percent / 100:.2f}"


def _number(text: str | None) -> int:
    """A plain number; 0 for anything else, such as 8k."""
    return int(text) if text and re.fullmatch(r"\d{1,9}", text) else 0
