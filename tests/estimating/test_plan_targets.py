"""``rightsizer plan`` reads the target's Deployment as the operator does: what cannot be read for certain is refused,
what had to be assumed is said."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from rightsizer_cli.documents import Place
from rightsizer_cli.failure import Failure
from rightsizer_cli.target import the_target
from rightsizer_operator.manifests import baseline
from rightsizer_operator.phases import estimates
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from tests.estimating.command_line import MODEL, CommandLine, deployment, example

GPUS = {"resources": {"limits": {"nvidia.com/gpu": "4"}}}
TENSORRT = {"image": "registry.local/nvidia/tensorrt-llm/release:1.2.0"}


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("RIGHTSIZER_KUBECTL", "/nonexistent/kubectl")
    return CommandLine(tmp_path, capsys)


REFUSED_BY_BOTH = {
    "a shell": deployment("vllm serve m --tensor-parallel-size 4", command=("sh", "-c"), **GPUS),
    "a shell's script": deployment(command=("/bin/bash", "-c", "exec vllm serve m -tp 4"), **GPUS),
    "a shell behind an entrypoint": deployment("bash", "-c", "vllm serve m -tp 4", command=(), **GPUS),
    "another server": deployment("--model-path", "m", command=("python3", "-m", "sglang.launch_server"), **GPUS),
    "a script": deployment("--port", "1", command=("python3", "serve.py"), **GPUS),
    "an unknown image": deployment("--model-id", "m", command=(), image="registry.local/tgi:3", **GPUS),
    "an image of no server": deployment("-tp", "4", command=(), **{**GPUS, **TENSORRT}),
    "a helper of trtllm": deployment(command=("trtllm-serve", "disaggregated"), **{**GPUS, **TENSORRT}),
    "an abbreviation": deployment(MODEL, "--tensor-parallel", "4", **GPUS),
    "a file of settings": deployment(MODEL, "--config", "vllm.yaml", **GPUS),
}
READ_BY_BOTH = {
    "words apart": deployment(MODEL, "-tp", "4", "--max-num-seqs", "64", "--kv-cache-dtype", "fp8", **GPUS),
    "words joined": deployment(MODEL, "--tensor_parallel_size=4", "--kv_cache_dtype=fp8_e4m3", **GPUS),
    "the last one counts": deployment(MODEL, "-tp", "4", "-tp=2", "--gpu-memory-utilization", "0.95000", **GPUS),
    "an entrypoint": deployment("--model", MODEL, "-tp", "4", "-q", "fp8", command=(), **GPUS),
    "words in args": deployment("vllm", "serve", MODEL, "-tp=4", command=(), image="registry.local/llm:1", **GPUS),
    "a module": deployment("--model=m", "-tp=4", command=("python3", "-u", "-m", "vllm.entrypoints.openai.api_server")),
    "a wrapper": deployment(MODEL, "-tp", "4", command=("tini", "--", "/usr/bin/vllm", "serve"), **GPUS),
    "vllm of a registry": deployment("--model", MODEL, command=(), image="tensorrt-mirror/vllm:1", **GPUS),
    "a model of that name": deployment("/models/trtllm-x", "-tp", "4", **GPUS),
    "trtllm": deployment(
        "m", "--tp_size", "4", "--max_batch_size", "128", "--kv_cache_free_gpu_memory_fraction", "0.8",
        command=("trtllm-serve", "serve"), **{**GPUS, **TENSORRT},
    ),
    "weights made by Rightsizer": deployment(
        "/rightsizer/model", "-tp", "4", volumeMounts=[{
            "name": "models", "mountPath": "/rightsizer/model", "subPath": "artefacts/m-int4-w4a16-0123456789",
        }], **GPUS,
    ),
}  # fmt: skip


def parsed(found: dict[str, Any]) -> tuple[InferenceDeploymentSpec, Place]:
    return InferenceDeploymentSpec.model_validate(example()["spec"]), Place("d.yaml", "", found)


@pytest.mark.parametrize("name", REFUSED_BY_BOTH)
def test_what_the_operator_refuses_is_refused_with_field_and_remedy(line: CommandLine, name: str) -> None:
    spec, _ = parsed(REFUSED_BY_BOTH[name])
    with pytest.raises(baseline.Refused):
        baseline.snapshot(REFUSED_BY_BOTH[name], spec, ())
    code, out, err = line.plan(REFUSED_BY_BOTH[name])
    assert (code, out) == (4, "")
    assert "deployment.yaml: spec.template.spec.containers[0]: " in err
    assert "remedy: " in err


@pytest.mark.parametrize("name", READ_BY_BOTH)
def test_what_the_operator_reads_is_read_alike(name: str) -> None:
    given = {**READ_BY_BOTH[name]}
    given["spec"]["template"]["spec"]["containers"][0].update(GPUS)
    spec, document = parsed(given)
    assert the_target([document], spec).serving == estimates.served(baseline.snapshot(given, spec, ()))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("-tp", "$(TP)"), "-tp '$(TP)' is a variable"),
        (("-tp", "abc"), "--tensor-parallel-size 'abc' is no whole number"),
        (("-tp", "0"), "--tensor-parallel-size '0' is no whole number"),
        (("-tp", "1000"), "--tensor-parallel-size '1000' is no whole number from 1 to 999"),
        (("-tp",), "-tp has no value"),
        (("-tp", "--port"), "-tp has no value"),
        (("--tensor-parallel-size 4",), "'--tensor-parallel-size 4' is one word"),
        (("-tp=2", "-pp", "2"), "--pipeline-parallel-size '2' is not known to estimates"),
        (("--data-parallel-size=2",), "--data-parallel-size '2' is not known to estimates"),
        (("--max-num-seqs", "many"), "--max-num-seqs 'many' is no whole number"),
        (("--gpu-memory-utilization", "1.5"), "--gpu-memory-utilization '1.5' is no share"),
        (("--gpu-memory-utilization", "0.0"), "--gpu-memory-utilization '0.0' is no share"),
    ],
)
def test_a_flag_that_cannot_be_read_is_refused_by_name(line: CommandLine, args: tuple[str, ...], words: str) -> None:
    code, out, err = line.plan(deployment(MODEL, *args, **GPUS))
    assert (code, out) == (4, "")
    assert words in err
    assert "remedy: " in err


@pytest.mark.parametrize(
    ("quantization", "gib", "note"),
    [
        ("fp8", 17.08, ""),
        ("awq", 9.425, "--quantization awq: weights of 4 bits are assumed"),
        ("gptq_marlin", 9.425, "--quantization gptq_marlin: weights of 4 bits are assumed"),
        ("bitsandbytes", 9.425, "--quantization bitsandbytes: weights of 4 bits are assumed"),
        ("quark", 32.85, "--quantization quark: its format is not known, BF16 is assumed"),
    ],
)
def test_quantized_weights_are_counted_as_such(line: CommandLine, quantization: str, gib: float, note: str) -> None:
    found, as_is = line.as_is(deployment(MODEL, "-tp", "4", "--quantization", quantization, **GPUS))
    assert as_is["memoryGib"]["weights"] == pytest.approx(gib, rel=0.02)
    said = [one for one in found["notes"] if "--quantization" in one]
    assert len(said) == bool(note)
    assert note in "".join(said)


def test_a_quantized_checkpoint_says_itself_what_its_weights_are(line: CommandLine) -> None:
    config = {
        "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
        "intermediate_size": 28672, "vocab_size": 128256, "quantization_config": {"quant_method": "gptq", "bits": 8},
    }  # fmt: skip
    file = line.written("config.json", json.dumps(config))
    found, as_is = line.as_is(deployment(MODEL, "-tp", "4", "-q", "gptq", **GPUS), "--model-config", file)
    assert as_is["memoryGib"]["weights"] == pytest.approx(17.0, rel=0.02)
    assert not [note for note in found["notes"] if "--quantization" in note]


def test_accelerators_that_the_engine_leaves_idle_count_as_held(line: CommandLine) -> None:
    found, _ = line.as_is(deployment(MODEL, **GPUS))
    assert found["gpusToday"] == 8
    assert "the target requests 4 nvidia.com/gpu for each replica, and its engine uses 1 of them" in found["notes"]


def test_fewer_accelerators_than_the_engine_uses_are_refused(line: CommandLine) -> None:
    code, _, err = line.plan(deployment(MODEL, "-tp", "8", **GPUS))
    assert code == 4
    assert "containers[0].resources.limits.nvidia.com/gpu: the engine uses 8" in err


@pytest.mark.parametrize(("replicas", "today"), [(0, None), (None, 4), (3, 12)])
def test_the_replicas_are_said_as_they_are(line: CommandLine, replicas: int | None, today: int | None) -> None:
    given = deployment(MODEL, "-tp", "4", **GPUS)
    given["spec"]["replicas"] = replicas
    found, _ = line.as_is(given)
    assert found.get("gpusToday") == today
    said = " ".join(found["notes"])
    assert "was not given" not in said
    assert ("has 0 replicas" in said) == (replicas == 0)
    assert ("states no replicas: 1 is counted" in said) == (replicas is None)


@pytest.mark.parametrize("replicas", ["2", -1, True, 1.5])
def test_replicas_that_are_no_count_are_refused(line: CommandLine, replicas: object) -> None:
    given = deployment(MODEL, **GPUS)
    given["spec"]["replicas"] = replicas
    code, _, err = line.plan(given)
    assert code == 4
    assert "spec.replicas: is " in err
    assert "must be a whole number, 0 or more" in err


def test_settings_of_tensorrt_in_a_file_are_said_to_be_unread_unless_rightsizer_wrote_them(line: CommandLine) -> None:
    args, command = ("m", "--tp_size", "4", "--config", "/rightsizer/config/engine.yaml"), ("trtllm-serve",)
    given = deployment(*args, command=command, **{**GPUS, **TENSORRT})
    assert "--config: the settings in that file are not read" in " ".join(line.as_is(given)[0]["notes"])
    settings = json.dumps({"kv_cache_config": {"dtype": "fp8"}})
    given["spec"]["template"]["metadata"] = {"annotations": {"rightsizer.dev/engine-config": settings}}
    spec, document = parsed(yaml.safe_load(yaml.safe_dump(given)))
    assert the_target([document], spec).serving.kv_cache == "FP8"
    assert the_target([document], spec).notes == ()


def test_a_cache_type_that_nobody_knows_is_said_to_be_assumed(line: CommandLine) -> None:
    found, _ = line.as_is(deployment(MODEL, "-tp", "4", "--kv-cache-dtype", "nvfp4", **GPUS))
    assert "--kv-cache-dtype nvfp4: not known to estimates" in " ".join(found["notes"])


@pytest.mark.parametrize("other", ["extensions/v1beta1", None])
def test_a_deployment_of_another_api_version_is_refused(other: str | None) -> None:
    spec, document = parsed({**deployment(MODEL, **GPUS), "apiVersion": other})
    with pytest.raises(Failure, match=r"apiVersion: is .*; of kind Deployment, apps/v1 is read"):
        the_target([document], spec)
