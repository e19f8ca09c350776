import json

import pytest

from rightsizer_operator.manifests import baseline, engine_command
from rightsizer_operator.manifests.serving import Excluded, candidate_serving, parallelism_of
from tests.manifests.examples import ARTEFACT, a_spec, a_target, an_engine

IMAGES = {"TensorRTLLM": "engines/tensorrt-llm:1.3", "VLLM": "engines/vllm:0.33"}


def a_baseline_of(*args, image="engines/vllm:0.33", command=("vllm", "serve")):
    target = a_target(an_engine(image=image, command=list(command), args=list(args), env=None))
    return baseline.snapshot(target, a_spec(), ())


def candidate(found, **changes):
    fields = {
        "engine": found.engine,
        "precision": "AsIs",
        "kv_cache": "Auto",
        "parallelism": parallelism_of(found),
        "max_num_seqs": None,
        "artefact": "",
        "engine_images": IMAGES,
    }
    return candidate_serving(found, **{**fields, **changes})


def int8(found, **changes):
    return candidate(found, precision="INT8", artefact=ARTEFACT, **changes)


def flags_of(serving):
    command = engine_command.parse(
        {"name": "e", "image": serving.image, "command": list(serving.command), "args": list(serving.args)}
    )
    return {flag.name: flag.values for flag in command.flags}


def test_the_baseline_as_it_is_stays_byte_for_byte():
    for found in (
        a_baseline_of("/m", "-tp=2", "--max_num_seqs", "8"),
        a_baseline_of("--model", "/m", command=("python3", "-m", "vllm.entrypoints.openai.api_server")),
        a_baseline_of("/m", "--tp_size", "2", "--config", "/user.yaml", command=("trtllm-serve",)),
    ):
        assert candidate(found) == found.serving


def test_an_artefact_is_served_from_its_mount_under_the_name_the_baseline_had():
    found = a_baseline_of("/models/m26", "--port", "8000", "--enable-prefix-caching")
    serving = int8(found)
    assert serving.args == (
        "/rightsizer/model",
        "--port",
        "8000",
        "--enable-prefix-caching",
        "--served-model-name",
        "/models/m26",
    )
    assert (serving.artefact, serving.image, serving.accelerators) == (ARTEFACT, found.serving.image, 1)


def test_an_artefact_replaces_the_model_behind_a_flag_too():
    found = a_baseline_of("--model=/m", command=("python3", "-m", "vllm.entrypoints.openai.api_server"))
    assert int8(found).args == ("--model=/rightsizer/model", "--served-model-name", "/m")


def test_served_names_of_the_user_stay_as_they_are():
    serving = int8(a_baseline_of("/m", "--served-model-name", "chat", "chat-latest"))
    assert flags_of(serving)["--served-model-name"] == ("chat", "chat-latest")


def test_a_served_name_with_a_dollar_survives_the_kubelets_expansion():
    found = a_baseline_of("/models/$$x")
    assert found.served_model_name == "/models/$x"
    assert flags_of(int8(found))["--served-model-name"] == ("/models/$$x",)


def test_flags_about_the_baselines_own_weights_go_with_them():
    serving = int8(a_baseline_of("a/b", "--revision", "r1", "-q", "fp8", "--dtype", "bfloat16", "--tokenizer", "a/b"))
    assert flags_of(serving) == {"--dtype": ("bfloat16",), "--tokenizer": ("a/b",), "--served-model-name": ("a/b",)}


def test_fp8_kv_cache_is_a_flag_that_replaces_the_users():
    found = a_baseline_of("/m", "--kv_cache_dtype", "auto", "--port", "8000")
    assert candidate(found, kv_cache="FP8").args == (
        "/m",
        "--kv_cache_dtype",
        "fp8",
        "--port",
        "8000",
        "--served-model-name",
        "/m",
    )


def test_parallelism_sets_the_flag_and_the_accelerators():
    found = a_baseline_of("/m", "-tp", "4")
    serving = candidate(found, parallelism=2)
    assert (serving.accelerators, serving.args[:3]) == (2, ("/m", "-tp", "2"))


def test_parallelism_multiplies_with_pipeline_stages():
    found = a_baseline_of("/m", "-tp", "4", "-pp", "2")
    assert candidate(found, parallelism=2).accelerators == 4


def test_unchanged_parallelism_keeps_the_accelerators_as_found():
    engine = an_engine(args=["/m"], resources={"limits": {"rightsizer.dev/engine-slot": "2"}})
    found = baseline.snapshot(a_target(engine), a_spec(), ())
    assert int8(found).accelerators == 2


def test_a_batch_limit_is_set_and_otherwise_as_the_baseline_has_it():
    found = a_baseline_of("/m", "--max-num-seqs", "64")
    assert flags_of(candidate(found, max_num_seqs=16))["--max-num-seqs"] == ("16",)
    assert flags_of(int8(found))["--max-num-seqs"] == ("64",)


def test_cpu_and_memory_stay_the_baselines():
    found = a_baseline_of("/m")
    serving = int8(found)
    fields = ("cpu_request", "cpu_limit", "memory_request", "memory_limit", "env")
    assert [getattr(serving, field) for field in fields] == [getattr(found.serving, field) for field in fields]


def test_bf16_drops_quantization_at_load():
    serving = candidate(a_baseline_of("/m", "-q", "fp8_per_tensor"), precision="BF16")
    assert flags_of(serving) == {"--served-model-name": ("/m",), "--dtype": ("bfloat16",)}


EXCLUDED = {
    "INT8 on TensorRT-LLM": (
        ["/m"],
        {"engine": "TensorRTLLM", "precision": "INT8", "artefact": ARTEFACT},
        "compressed-tensors",
    ),
    "W8A16 on TensorRT-LLM": (
        ["/m"],
        {"engine": "TensorRTLLM", "precision": "INT8W8A16", "artefact": ARTEFACT},
        "compressed-tensors",
    ),
    "INT4 on TensorRT-LLM": (
        ["/m"],
        {"engine": "TensorRTLLM", "precision": "INT4", "artefact": ARTEFACT},
        "compressed-tensors",
    ),
    "another engine without an image": (
        ["/m"],
        {"engine": "TensorRTLLM", "engine_images": {}},
        "engineImages.TensorRTLLM",
    ),
    "an engine nobody knows": (["/m"], {"engine": "Triton"}, "Triton"),
    "a precision without its artefact": (["/m"], {"precision": "INT8"}, "artefact"),
    "BF16 where it is served already": (["/m", "--dtype", "bfloat16"], {"precision": "BF16"}, "same as the baseline"),
    "an artefact with another load format": (
        ["/m", "--load-format", "tensorizer"],
        {"precision": "INT8", "artefact": ARTEFACT},
        "--load-format",
    ),
    "an artefact with another config": (
        ["/m", "--hf-config-path", "/c"],
        {"precision": "INT8", "artefact": ARTEFACT},
        "--hf-config-path",
    ),
    "an artefact under adapters": (
        ["/m", "--lora-modules", "a=b"],
        {"precision": "INT8", "artefact": ARTEFACT},
        "--lora-modules",
    ),
    "parallelism beside data parallelism": (["/m", "-dp", "2"], {"parallelism": 2}, "--data-parallel-size"),
    "a batch above the token budget": (
        ["/m", "--max-num-batched-tokens", "512"],
        {"max_num_seqs": 1024},
        "--max-num-batched-tokens",
    ),
    "a KV type nobody knows": (["/m"], {"kv_cache": "H2O"}, "H2O"),
    "an argument list that no record can hold": (["/m", *["--seed", "1"] * 127, "-O3"], {"kv_cache": "FP8"}, "args"),
}


@pytest.mark.parametrize("what", EXCLUDED, ids=list(EXCLUDED))
def test_excluded_by_a_rule_that_is_named_is(what):
    args, changes, word = EXCLUDED[what]
    with pytest.raises(Excluded, match=word):
        candidate(a_baseline_of(*args), **changes)


def test_a_harmless_load_format_does_not_exclude_an_artefact():
    assert flags_of(int8(a_baseline_of("/m", "--load-format", "safetensors")))["--load-format"] == ("safetensors",)


def test_tensorrt_llm_gets_the_same_service_in_its_own_words():
    found = a_baseline_of(
        "/models/m26",
        "--port",
        "9000",
        "-tp",
        "2",
        "--max-num-seqs",
        "64",
        "--max-num-batched-tokens=8192",
        "--max-model-len",
        "4096",
        "--trust-remote-code",
        "--gpu-memory-utilization",
        "0.9",
        "--enforce-eager",
        "-O3",
        "--enable-prefix-caching",
        "--dtype",
        "auto",
        "--served-model-name",
        "chat",
    )
    serving = candidate(found, engine="TensorRTLLM")
    assert serving.image == "engines/tensorrt-llm:1.3"
    assert serving.command == ("trtllm-serve",)
    assert serving.args == (
        "/models/m26",
        "--port",
        "9000",
        "--tensor_parallel_size",
        "2",
        "--max_batch_size",
        "64",
        "--max_num_tokens",
        "8192",
        "--max_seq_len",
        "4096",
        "--trust_remote_code",
        "--served_model_name",
        "chat",
        "--host",
        "0.0.0.0",
    )
    assert serving.engine_config == ""


def test_tensorrt_llm_settings_without_a_flag_travel_in_a_file():
    found = a_baseline_of("/m", "--no-enable-prefix-caching", "--dtype", "bfloat16", "--stream-interval", "32")
    serving = candidate(found, engine="TensorRTLLM", kv_cache="FP8")
    assert json.loads(serving.engine_config) == {
        "dtype": "bfloat16",
        "kv_cache_config": {"dtype": "fp8", "enable_block_reuse": False},
        "stream_interval": 32,
    }
    assert flags_of(serving)["--config"] == ("/rightsizer/config/engine.yaml",)


def test_fp8_weights_may_be_tried_on_tensorrt_llm():
    serving = candidate(
        a_baseline_of("/m"), engine="TensorRTLLM", precision="FP8", artefact="m26-fp8-dynamic-0123456789"
    )
    assert serving.args[0] == "/rightsizer/model"
    assert flags_of(serving)["--served-model-name"] == ("/m",)


@pytest.mark.parametrize(
    "flag",
    [
        ["--chat-template", "/t"],
        ["--reasoning-parser", "x"],
        ["--max-model-len", "8k"],
        ["--served-model-name", "a", "b"],
        ["--made-up"],
    ],
)
def test_a_flag_without_counterpart_excludes_the_other_engine_by_name(flag):
    with pytest.raises(Excluded, match=flag[0]):
        candidate(a_baseline_of("/m", *flag), engine="TensorRTLLM")


def test_vllm_takes_over_from_tensorrt_llm():
    found = a_baseline_of(
        "/models/m26",
        "--tp_size",
        "4",
        "--max_batch_size",
        "64",
        "--kv_cache_free_gpu_memory_fraction",
        "0.9",
        image="engines/tensorrt-llm:1.3",
        command=("trtllm-serve", "serve"),
    )
    serving = candidate(found, engine="VLLM")
    assert serving.command == ("vllm", "serve")
    assert serving.args == (
        "/models/m26",
        "--tensor-parallel-size",
        "4",
        "--max-num-seqs",
        "64",
        "--host",
        "0.0.0.0",
        "--served-model-name",
        "m26",
    )


def test_a_settings_file_of_the_users_excludes_what_would_have_to_be_merged_into_it():
    found = a_baseline_of("/m", "--extra_llm_api_options", "/c.yaml", command=("trtllm-serve",))
    with pytest.raises(Excluded, match=r"--config /c\.yaml"):
        candidate(found, kv_cache="FP8")
    with pytest.raises(Excluded, match="--extra_llm_api_options"):
        candidate(found, engine="VLLM")


def test_settings_of_an_earlier_rewrite_are_merged():
    target = a_target(
        an_engine(command=["trtllm-serve"], args=["/m", "--config", "/rightsizer/config/engine.yaml"], env=None)
    )
    target["spec"]["template"]["metadata"]["annotations"] = {"rightsizer.dev/engine-config": '{"dtype": "bfloat16"}'}
    found = baseline.snapshot(target, a_spec(), ())
    assert json.loads(candidate(found, kv_cache="FP8").engine_config) == {
        "dtype": "bfloat16",
        "kv_cache_config": {"dtype": "fp8"},
    }


def test_an_artefact_of_an_earlier_rewrite_stays_mounted_under_other_candidates():
    engine = an_engine(args=["/rightsizer/model"])
    engine["volumeMounts"].append(
        {"name": "weights", "mountPath": "/rightsizer/model", "subPath": f"artefacts/{ARTEFACT}"}
    )
    found = baseline.snapshot(a_target(engine), a_spec(), ())
    assert candidate(found, kv_cache="FP8").artefact == ARTEFACT
    assert int8(found).artefact == ARTEFACT
    assert candidate(found, precision="INT4", artefact="other").artefact == "other"


def test_integer_weights_of_an_earlier_rewrite_are_neither_given_to_tensorrt_llm_nor_called_bf16():
    engine = an_engine(args=["/rightsizer/model"])
    engine["volumeMounts"].append(
        {"name": "weights", "mountPath": "/rightsizer/model", "subPath": f"artefacts/{ARTEFACT}"}
    )
    found = baseline.snapshot(a_target(engine), a_spec(), ())
    with pytest.raises(Excluded, match="compressed-tensors"):
        candidate(found, engine="TensorRTLLM")
    with pytest.raises(Excluded, match="artefact"):
        candidate(found, precision="BF16")


@pytest.mark.parametrize("precision", ["INT8", "INT8W8A16", "INT4"])
def test_integer_weights_are_refused_to_tensorrt_llm_whatever_their_artefact_is_called(precision):
    with pytest.raises(Excluded, match="compressed-tensors"):
        candidate(a_baseline_of("/m"), engine="TensorRTLLM", precision=precision, artefact="anything")
