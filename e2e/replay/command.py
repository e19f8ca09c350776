"""The replay engine's command line: vLLM's and TensorRT-LLM's own, read into what is to be replayed. Standard library
only, since the image holds nothing else.

A flag that would change the speed of the real engine in a way that no recording shows is refused by name, never
ignored: what is answered is what was recorded, or nothing.
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from e2e.replay.recordings import Curves, Served

EngineKind = Literal["VLLM", "TensorRTLLM"]
GPU = "RIGHTSIZER_REPLAY_GPU"
TIME_SCALE = "RIGHTSIZER_REPLAY_TIME_SCALE"
FP8_METHODS = frozenset({"fp8", "modelopt", "fbgemm_fp8"})
KV_NOTE = "the recordings were made with the engines' default KV type"


class Refused(ValueError):
    """The command line asks for something that was never recorded; the message says what was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is served, where, and how fast the clock runs: ``time_scale`` 10 answers in a tenth of the time."""

    served: Served
    name: str
    host: str
    port: int
    batch_limit: int | None
    interval: int
    """Tokens a chunk carries."""
    time_scale: float
    iteration_stats: bool = True
    prometheus: bool = True

    @property
    def statement(self) -> str:
        """What every answer about this engine has to say."""
        speed = "" if self.time_scale == 1 else f", {self.time_scale:g} times as fast"
        return f"recorded latencies of {self.served}{speed}"


def read(engine: EngineKind, words: Sequence[str], curves: Curves, environ: Mapping[str, str] = os.environ) -> Setting:
    """The setting; raises Refused for anything that cannot be replayed."""
    given = _vllm(words) if engine == "VLLM" else _tensorrt_llm(words)
    model, checkpoint = _model(given.model)
    precision = "fp8" if _is_fp8(given.quantization, checkpoint) else ""
    served = Served(model, _gpu(environ, curves), precision, engine, given.tensor_parallel_size)
    if served not in curves:
        known = ", ".join(f"TP{one.parallelism}" for one in sorted(curves) if _same_but_parallelism(one, served))
        raise Refused(f"there is no recording of {served}; recorded of it: {known or 'nothing'}")
    config = given.config
    default = (
        given.model.rstrip("/").rpartition("/")[2]
        if engine == "TensorRTLLM" and "/" in given.model[:1]
        else given.model
    )
    return Setting(
        served=served,
        name=given.served_model_name or default,
        host=given.host,
        port=given.port,
        batch_limit=given.max_num_seqs,
        interval=int(config.get("stream_interval", given.stream_interval)),
        time_scale=_time_scale(environ),
        iteration_stats=engine == "VLLM" or bool(config.get("enable_iter_perf_stats")),
        prometheus=engine == "VLLM" or bool(config.get("return_perf_metrics")),
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refused(f"{self.prog}: {message}")


def _vllm(words: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(prog="vllm serve (replay)", allow_abbrev=False)
    parser.add_argument("model_tag", nargs="?")
    parser.add_argument("--model")
    parser.add_argument("--served-model-name", nargs="+", default=[])
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--tensor-parallel-size", "-tp", type=int, default=1)
    parser.add_argument("--quantization", "-q")
    parser.add_argument("--kv-cache-dtype", choices=("auto",), default="auto", help=KV_NOTE)
    parser.add_argument("--max-num-seqs", type=int)
    parser.add_argument("--stream-interval", type=int, default=1)
    for inert in ("--dtype", "--max-model-len", "--gpu-memory-utilization", "--download-dir", "--seed", "--tokenizer"):
        parser.add_argument(inert)
    parser.add_argument("--trust-remote-code", action="store_true")
    dashed = [_dashed(word) for word in words]
    given = parser.parse_args(dashed)
    given.model = given.model or given.model_tag
    given.config = {}
    given.served_model_name = given.served_model_name[0] if given.served_model_name else ""
    return _with_model(given, "vllm serve MODEL or --model MODEL")


def _tensorrt_llm(words: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(prog="trtllm-serve (replay)", allow_abbrev=False)
    parser.add_argument("model")
    parser.add_argument("--served_model_name", default="")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--backend", choices=("pytorch",), default="pytorch")
    parser.add_argument("--tp_size", "--tensor_parallel_size", dest="tensor_parallel_size", type=int, default=1)
    parser.add_argument("--max_batch_size", dest="max_num_seqs", type=int)
    parser.add_argument("--config", "--extra_llm_api_options", dest="config_file")
    inert = (
        "--max_seq_len",
        "--free_gpu_memory_fraction",
        "--kv_cache_free_gpu_memory_fraction",
        "--log_level",
        "--tokenizer",
    )
    for flag in inert:
        parser.add_argument(flag)
    parser.add_argument("--trust_remote_code", action="store_true")
    given = parser.parse_args(words[1:] if words and words[0] == "serve" else words)
    given.quantization, given.stream_interval = None, 1
    given.config = _config(given.config_file)
    return _with_model(given, "trtllm-serve MODEL")


def _with_model(given: argparse.Namespace, usage: str) -> argparse.Namespace:
    if not given.model:
        raise Refused(f"no model is named: {usage}")
    for name in ("tensor_parallel_size", "max_num_seqs", "stream_interval"):
        value = getattr(given, name)
        if value is not None and value < 1:
            raise Refused(f"--{name.replace('_', '-')} must be at least 1, not {value}")
    return given


def _dashed(word: str) -> str:
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if word.startswith("--") else word


def _config(path: str | None) -> dict[str, object]:
    """The settings file of TensorRT-LLM: YAML there, here its subset JSON, in which Rightsizer writes it."""
    if path is None:
        return {}
    try:
        found = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise Refused(f"--config {path}: cannot be read as JSON: {error}") from error
    known = {"stream_interval", "enable_iter_perf_stats", "return_perf_metrics"}
    unknown = sorted(set(found) - known) if isinstance(found, dict) else ["no mapping"]
    if unknown:
        raise Refused(
            f"--config {path}: {', '.join(unknown)}: no recording shows what it does; known: {', '.join(sorted(known))}"
        )
    return dict(found)


def _model(given: str) -> tuple[str, dict[str, object]]:
    """The model's name as the recordings have it, and its config.json: from a directory, else the name as given."""
    path = Path(given) / "config.json"
    if not path.is_file():
        return given, {}
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Refused(f"{path}: cannot be read: {error}") from error
    name = config.get("_name_or_path") if isinstance(config, dict) else None
    if not isinstance(name, str) or not name:
        raise Refused(f"{path}: has no _name_or_path, which says whose recordings to replay")
    return name, config


def _is_fp8(quantization: str | None, config: Mapping[str, object]) -> bool:
    stated = config.get("quantization_config")
    method = quantization or (stated.get("quant_method") if isinstance(stated, dict) else None)
    if method is None:
        return False
    if method not in FP8_METHODS:
        raise Refused(
            f"weights in {method}: recorded were FP8 ({', '.join(sorted(FP8_METHODS))}) and the plain checkpoint"
        )
    return True


def _gpu(environ: Mapping[str, str], curves: Curves) -> str:
    known = sorted({one.system for one in curves})
    found = environ.get(GPU, "")
    if found not in known:
        raise Refused(f"{GPU} must say which GPU is replayed, one of {', '.join(known)}; it is {found or 'not set'}")
    return found


def _time_scale(environ: Mapping[str, str]) -> float:
    text = environ.get(TIME_SCALE, "1")
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if not 0.01 <= scale <= 1000:
        raise Refused(
            f"{TIME_SCALE} must be a number from 0.01 to 1000 (10 answers in a tenth of the time), not {text!r}"
        )
    return scale


def _same_but_parallelism(one: Served, other: Served) -> bool:
    return (one.model, one.system, one.precision, one.engine) == (
        other.model,
        other.system,
        other.precision,
        other.engine,
    )
