"""Carries a command line from one engine to the other, flag by flag; a flag without a counterpart excludes the
candidate by name.

Called by ``serving``. TensorRT-LLM's side is written against its documentation and source (trtllm-serve 1.2-1.3),
nothing of it was run.
"""

import re

from rightsizer_operator.manifests import engine_flags
from rightsizer_operator.manifests.engine_command import EngineCommand, Flag


class Excluded(Exception):
    """The candidate cannot be tried; the text is the rule that excludes it."""


Config = dict[str, object]

TO_TENSORRT_LLM = {
    engine_flags.HOST: engine_flags.HOST,
    engine_flags.PORT: engine_flags.PORT,
    engine_flags.SERVED_MODEL_NAME: engine_flags.SERVED_MODEL_NAME,
    engine_flags.TENSOR_PARALLEL: engine_flags.TENSOR_PARALLEL,
    engine_flags.PIPELINE_PARALLEL: engine_flags.PIPELINE_PARALLEL,
    engine_flags.MAX_NUM_SEQS: engine_flags.MAX_BATCH_SIZE,
    "--max-num-batched-tokens": "--max-num-tokens",
    "--max-model-len": "--max-seq-len",
    "--tokenizer": "--tokenizer",
    "--revision": "--revision",
    "--trust-remote-code": "--trust-remote-code",
    "--enable-chunked-prefill": "--enable-chunked-prefill",
    "--otlp-traces-endpoint": "--otlp-traces-endpoint",
}
"""vLLM flag to the TensorRT-LLM flag that means the same."""

TO_VLLM = {theirs: ours for ours, theirs in TO_TENSORRT_LLM.items()}

STREAM_INTERVAL = "--stream-interval"
"""Tokens a chunk carries: the same under both engines, in TensorRT-LLM's settings file."""

NUMBERS = frozenset({engine_flags.MAX_NUM_SEQS, "--max-num-batched-tokens", "--max-model-len", STREAM_INTERVAL})
"""vLLM also takes 8k or auto; TensorRT-LLM takes plain integers."""

VLLM_ONLY = frozenset({
    "--gpu-memory-utilization", "--kv-cache-memory-bytes", "--block-size", "--num-gpu-blocks-override",
    "--swap-space", "--enforce-eager", "--no-enforce-eager", "--cudagraph-capture-sizes",
    "--max-cudagraph-capture-size", "--compilation-config", "--optimization-level", "--performance-mode",
    "--attention-backend", "--async-scheduling", "--no-async-scheduling", "--disable-log-stats",
    "--enable-log-requests", "--no-enable-log-requests", "--disable-log-requests", "--uvicorn-log-level",
    "--disable-uvicorn-access-log", "--max-log-len", "--distributed-executor-backend", "--disable-custom-all-reduce",
    "--seed", "--enable-prefix-caching", "--no-enable-chunked-prefill", "--download-dir", "--api-server-count",
    "--max-num-scheduled-tokens", "--shutdown-timeout", "--quantization", "--quantization-config",
})  # fmt: skip
"""They tune vLLM's own memory, graphs and logs, or are TensorRT-LLM's default; the API stays the same without them."""

TENSORRT_LLM_ONLY = frozenset({
    "--free-gpu-memory-fraction", "--backend", "--log-level", "--num-postprocess-workers",
    "--fail-fast-on-attention-window-too-large", "--gpus-per-node",
})  # fmt: skip


def switched(command: EngineCommand, engine: str) -> tuple[EngineCommand, Config]:
    """The same service on the other engine, with the settings that have no flag there; raises Excluded."""
    flags: list[Flag] = []
    config: Config = {}
    for flag in command.flags:
        if flag.name != engine_flags.MODEL:
            flags += _to_tensorrt_llm(flag, config) if engine == "TensorRTLLM" else _to_vllm(flag)
    start = ("trtllm-serve",) if engine == "TensorRTLLM" else ("vllm", "serve")
    other = EngineCommand(
        engine="TensorRTLLM" if engine == "TensorRTLLM" else "VLLM",
        command=start,
        positional=command.model,
        flags=tuple(flags),
    )
    # TensorRT-LLM listens on localhost unless told otherwise, where no Service reaches it.
    return (other if other.find(engine_flags.HOST) else other.with_flag(engine_flags.HOST, "0.0.0.0")), config  # noqa: S104


def refuse_weight_flags(command: EngineCommand) -> None:
    """Raises Excluded for a flag that would make the engine read an artefact as something else than it is."""
    for name, harmless in WEIGHT_READERS.items():
        flag = command.find(name)
        if flag is not None and not harmless.intersection(flag.values):
            raise Excluded(
                f"the flag {' '.join(flag.words())[:120]}: it does not fit artefacts (safetensors with config.json)"
            )


WEIGHT_READERS: dict[str, frozenset[str]] = {
    "--load-format": frozenset({"auto", "safetensors"}),
    "--config-format": frozenset({"auto", "hf"}),
    "--hf-config-path": frozenset(),
    "--model-loader-extra-config": frozenset(),
    "--enable-lora": frozenset(),
    "--lora-modules": frozenset(),
}
"""Flags about how weights are read, with the values that are right for artefacts too. Adapters were made for the
original weights, and the quality gate asks the base model only."""


def _to_tensorrt_llm(flag: Flag, config: Config) -> tuple[Flag, ...]:
    if flag.name in NUMBERS and not re.fullmatch(r"\d+", "".join(flag.values)):
        raise Excluded(f"TensorRTLLM: the flag {flag.spelled} {' '.join(flag.values)[:60]} is no plain number there")
    if flag.name == engine_flags.SERVED_MODEL_NAME and len(flag.values) > 1:
        raise Excluded("TensorRTLLM: the flag --served-model-name with several names: it answers to one name only")
    if flag.name == "--no-enable-prefix-caching":
        config["kv_cache_config"] = {"enable_block_reuse": False}
        return ()
    if flag.name == STREAM_INTERVAL:
        config["stream_interval"] = int("".join(flag.values))
        return ()
    if flag.name == "--dtype" and flag.values[:1] != ("auto",):
        config["dtype"] = "".join(flag.values)
        return ()
    if flag.name in VLLM_ONLY or flag.name.startswith("-O") or _is_automatic(flag):
        return ()
    return _mapped(flag, TO_TENSORRT_LLM, engine_flags.TENSORRT_LLM, "TensorRTLLM")


def _to_vllm(flag: Flag) -> tuple[Flag, ...]:
    if flag.name in TENSORRT_LLM_ONLY:
        return ()
    return _mapped(flag, TO_VLLM, engine_flags.VLLM, "VLLM")


def _is_automatic(flag: Flag) -> bool:
    return flag.name in ("--dtype", engine_flags.KV_CACHE_DTYPE, "--load-format") and flag.values == ("auto",)


def _mapped(flag: Flag, table: dict[str, str], dialect: engine_flags.Dialect, engine: str) -> tuple[Flag, ...]:
    name = table.get(flag.name)
    if name is None:
        raise Excluded(f"{engine}: the flag {flag.spelled} has no counterpart there")
    return (Flag(name=name, values=flag.values, spelled=dialect.spell(name)),)
