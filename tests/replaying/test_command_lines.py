"""The replay engine's command lines are the engines' own; what was never recorded is refused by name."""

import json
from pathlib import Path

import pytest

from e2e.replay.command import Refused, Setting, read
from e2e.replay.recordings import load

HERE = {"RIGHTSIZER_REPLAY_GPU": "h200_sxm"}
MODEL = "meta-llama/Llama-3.1-70B"
CURVES = load()


@pytest.fixture
def model(tmp_path: Path) -> str:
    config = {"_name_or_path": MODEL, "vocab_size": 128256, "quantization_config": {"quant_method": "fp8"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return str(tmp_path)


def vllm(*words: str, **environ: str) -> Setting:
    return read("VLLM", words, CURVES, HERE | environ)


def trtllm(*words: str, **environ: str) -> Setting:
    return read("TensorRTLLM", words, CURVES, HERE | environ)


def test_vllm_takes_its_flags_with_dashes_or_underscores(model: str) -> None:
    found = vllm(
        "--model", model, "--served-model-name", "chat", "--tensor_parallel_size=4", "--port", "9", "--max-num-seqs=8"
    )
    assert (found.served.engine, found.served.parallelism, found.served.precision) == ("VLLM", 4, "fp8")
    assert (found.name, found.port, found.batch_limit, found.interval, found.time_scale) == ("chat", 9, 8, 1, 1.0)


def test_vllm_takes_its_model_as_a_word_and_quantization_as_a_flag() -> None:
    found = vllm(MODEL, "-tp", "8", "-q", "fp8", RIGHTSIZER_REPLAY_TIME_SCALE="10")
    assert (found.name, found.served.parallelism, found.time_scale) == (MODEL, 8, 10.0)
    assert found.statement == f"recorded latencies of {MODEL} (fp8) on h200_sxm with VLLM at TP8, 10 times as fast"


def test_trtllm_serve_takes_its_flags_and_its_settings_file(model: str, tmp_path: Path) -> None:
    settings = tmp_path / "config.yaml"
    settings.write_text(json.dumps({"stream_interval": 32}))
    found = trtllm("serve", model, "--backend", "pytorch", "--tp_size", "2", "--port", "9", "--config", str(settings))
    assert (found.served.engine, found.served.parallelism, found.interval) == ("TensorRTLLM", 2, 32)
    assert found.host == "localhost"
    assert (found.iteration_stats, found.prometheus) == (False, False)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--kv-cache-dtype", "fp8"), "--kv-cache-dtype"),
        (("--enforce-eager",), "--enforce-eager"),
        (("--max-num-batched-tokens", "4096"), "--max-num-batched-tokens"),
        (("-tp", "3"), "no recording of meta-llama/Llama-3.1-70B .* at TP3; recorded of it: TP1, TP2, TP4, TP8"),
        (("-tp", "0"), "--tensor-parallel-size must be at least 1"),
        (("--quantization", "awq"), "weights in awq"),
    ],
)  # fmt: skip
def test_what_was_never_recorded_is_refused_by_name(model: str, words: tuple[str, ...], told: str) -> None:
    with pytest.raises(Refused, match=told):
        vllm("--model", model, *words)


def test_settings_that_no_recording_shows_are_refused(model: str, tmp_path: Path) -> None:
    settings = tmp_path / "config.yaml"
    settings.write_text(json.dumps({"kv_cache_config": {"dtype": "fp8"}}))
    with pytest.raises(Refused, match="kv_cache_config: no recording shows what it does"):
        trtllm(model, "--config", str(settings))


def test_weights_that_are_not_fp8_have_recordings_of_their_own() -> None:
    with pytest.raises(Refused, match=r"no recording of .*\(as the checkpoint is\)"):
        vllm(MODEL)


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"RIGHTSIZER_REPLAY_GPU": "b200"}, "one of h100_sxm, h200_sxm; it is b200"),
        ({"RIGHTSIZER_REPLAY_TIME_SCALE": "fast"}, "must be a number from 0.01 to 1000"),
        ({"RIGHTSIZER_REPLAY_TIME_SCALE": "0"}, "must be a number from 0.01 to 1000"),
    ],
)
def test_a_wrong_environment_is_named(environ: dict[str, str], told: str) -> None:
    with pytest.raises(Refused, match=told):
        vllm(MODEL, "-q", "fp8", **environ)


def test_a_model_directory_has_to_say_whose_recordings_it_wants(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(Refused, match="_name_or_path"):
        vllm(str(tmp_path))
