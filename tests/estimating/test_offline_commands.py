"""``rightsizer plan`` and ``rightsizer estimate`` from the outside: files and arguments in, text and exit code out, and
never a kubectl."""

import csv
import html.parser
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from rightsizer_cli.__main__ import main

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "examples/llama-70b.yaml"
MEASURED = REPOSITORY / "benchmarks/data/measured.csv"
HEADER = "backend,model_path,system,precision,isl,osl,concurrency,tp_size"
Manifest = Callable[..., Path]


@pytest.fixture(autouse=True)
def without_kubectl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGHTSIZER_KUBECTL", "/nonexistent/kubectl")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Exit code, output and errors of a command line."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        caught = capsys.readouterr()
        return code, caught.out, caught.err

    return run


Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def target(tmp_path: Path) -> Callable[..., Path]:
    """The example's Deployment as a file."""

    def made(name: str = "support-chat", args: tuple[str, ...] = ("/model", "-tp", "4"), replicas: int = 1) -> Path:
        container = {"name": "engine", "image": "vllm/vllm-openai:v0.33.0", "args": list(args)}
        pod = {"containers": [container, {"name": "log", "image": "log"}]}
        file = tmp_path / "deployment.yaml"
        document = {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": replicas, "template": {"spec": pod}},
        }  # fmt: skip
        file.write_text(yaml.safe_dump(document))
        return file

    return made


def test_a_plan_ranks_candidates_and_says_that_all_is_estimated(said: Said) -> None:
    code, out, err = said("plan", "-f", EXAMPLE)
    assert (code, err) == (0, "")
    assert "Every figure is Estimated" in out
    assert "GPUS" in out
    assert "EXCLUDED" in out


def test_a_plan_asks_no_prometheus_and_says_what_to_give_instead(said: Said, tmp_path: Path) -> None:
    document = yaml.safe_load(EXAMPLE.read_text())
    document["spec"]["workload"] = {"prometheus": {"inputTokens": 1020, "outputTokens": 210}}
    file = tmp_path / "asking.yaml"
    file.write_text(yaml.safe_dump(document))
    code, _, err = said("plan", "-f", file)
    assert code == 4
    assert "spec.workload.prometheus: the demand is in Prometheus" in err
    assert "spec.workload.static.requestRate" in err


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_the_document_holds_every_candidate_with_its_evidence_class(said: Said, form: str) -> None:
    found = yaml.safe_load(said("plan", "-f", EXAMPLE, "-o", form)[1])
    assert found["evidence"] == "Estimated"
    assert [one["rank"] for one in found["candidates"] if "rank" in one] == list(
        range(1, 1 + sum("rank" in one for one in found["candidates"]))
    )
    for one in found["candidates"]:
        assert one["evidence"] == "Estimated"
        assert ("gpus" in one) != ("excludedBy" in one)
    best = found["candidates"][0]
    assert set(best["latenciesMs"]) == {"ttft", "itl", "tpot", "e2e"}
    assert best["costPerMillionTokens"] > 0
    assert best["memoryGib"]["weights"] > 10


def test_csv_has_one_line_for_each_candidate(said: Said) -> None:
    rows = list(csv.DictReader(io.StringIO(said("plan", "-f", EXAMPLE, "-o", "csv")[1])))
    document = json.loads(said("plan", "-f", EXAMPLE, "-o", "json")[1])
    assert [row["id"] for row in rows] == [one["id"] for one in document["candidates"]]
    assert float(rows[0]["ttftMs"]) == document["candidates"][0]["latenciesMs"]["ttft"]


def test_the_page_is_self_contained_and_escapes_what_files_say(said: Said, manifest: Manifest) -> None:
    file = manifest()
    file.write_text(file.read_text().replace("name: support-chat\n  namespace", "name: <script>x\n  namespace"))
    page = said("plan", "-f", file, "-o", "html")[1]
    html.parser.HTMLParser().feed(page)
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "Estimated" in page


def test_the_deployment_gives_the_target_as_it_is(said: Said, target: Callable[..., Path]) -> None:
    file = target(
        args=("/model", "--tensor_parallel_size=4", "--kv-cache-dtype", "fp8", "--max-num-seqs", "64"), replicas=2
    )
    found = json.loads(said("plan", "-f", EXAMPLE, "-f", file, "-o", "json")[1])
    as_is = next(one for one in found["candidates"] if one["id"] == "as-is")
    assert (as_is["parallelism"], as_is["maxNumSeqs"]) == (4, 64)
    assert found["gpusToday"] == 8


def test_an_unknown_gpu_is_measured_not_estimated(said: Said, manifest: Manifest) -> None:
    code, out, _ = said("plan", "-f", manifest(accelerator__type="ACME-9000"))
    assert code == 0
    assert "GPU ACME-9000: measured, not estimated" in out
    assert "--gpus FILE" in out


def test_facts_of_a_gpu_can_be_given(said: Said, manifest: Manifest, tmp_path: Path) -> None:
    gpu = {
        "name": "ACME-9000", "memory_gib": 190.0, "bandwidth_gbs": 8000, "bf16_tflops": 2000, "link_gbs": 900,
        "compute_capability": "10.0",
    }  # fmt: skip
    table = tmp_path / "gpus.json"
    table.write_text(json.dumps({"gpus": [gpu]}))
    found = json.loads(said("plan", "-f", manifest(accelerator__type="ACME-9000"), "--gpus", table, "-o", "json")[1])
    assert any("rank" in one for one in found["candidates"])
    del gpu["bandwidth_gbs"]
    table.write_text(json.dumps({"gpus": [gpu]}))
    code, _, err = said("plan", "-f", EXAMPLE, "--gpus", table)
    assert code == 4
    assert "gpus[0].bandwidth_gbs: is missing" in err


def test_a_config_of_the_model_is_read(said: Said, manifest: Manifest, tmp_path: Path) -> None:
    file, config = manifest(model__name="acme/house-model"), tmp_path / "config.json"
    code, _, err = said("plan", "-f", file)
    assert code == 4
    assert "spec.model.name: acme/house-model" in err
    assert "--model-config" in err
    config.write_text(json.dumps({
        "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "intermediate_size": 14336, "vocab_size": 128256,
    }))  # fmt: skip
    assert said("plan", "-f", file, "--model-config", config)[0] == 0
    config.write_text(json.dumps({"hidden_size": 4096, "mamba_d_state": 16}))
    code, _, err = said("plan", "-f", file, "--model-config", config)
    assert code == 4
    assert "mamba_d_state" in err
    assert "remedy: " in err


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"slo__ttftMs": 3}, "spec.slo.ttftMs: 3 ms is below what one request alone needs"),
        ({"workload__static__requestRate": "0"}, "spec.workload.static.requestRate: must be greater than 0"),
        ({"workload__static__inputTokens": 0}, "spec.workload.static.inputTokens"),
        ({"workload": {"trace": {"path": "t.csv"}}}, "spec.workload.trace: its lengths and rate are read"),
        ({"slo": None}, "spec.slo: Field required"),
        ({"slo__percentile": 100}, "spec.slo.percentile"),
    ],
)
def test_bad_input_names_the_field_and_the_remedy(
    said: Said, manifest: Manifest, changes: dict[str, object], field: str
) -> None:
    code, out, err = said("plan", "-f", manifest(**changes))
    assert code == 4
    assert out == ""
    assert field in err
    assert "remedy: " in err


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("kind: Deployment\n", 2, "0 InferenceDeployments"),
        ("a: [b\n", 2, "is no YAML"),
        ("\xff", 2, "0 InferenceDeployments"),
    ],
)
def test_files_that_are_something_else_are_refused(
    said: Said, tmp_path: Path, text: str, code: int, words: str
) -> None:
    file = tmp_path / "other.yaml"
    file.write_text(text)
    found, _, err = said("plan", "-f", file)
    assert found == code
    assert words in err


def test_a_missing_file_has_its_exit_code(said: Said) -> None:
    assert said("plan", "-f", "nowhere.yaml")[0] == 3
    assert said("estimate", "--rows", "nowhere.csv")[0] == 3


def test_a_deployment_that_is_not_the_target_is_refused(said: Said, target: Callable[..., Path]) -> None:
    code, _, err = said("plan", "-f", EXAMPLE, "-f", target(name="other"))
    assert code == 4
    assert "spec.targetRef.name" in err


def test_recorded_rows_come_back_with_estimates(said: Said, tmp_path: Path) -> None:
    lines = MEASURED.read_text().splitlines()
    file = tmp_path / "rows.csv"
    file.write_text("\n".join(lines[:1] + lines[1::97]) + "\n")
    code, out, _ = said("estimate", "--rows", file, "-o", "csv")
    assert code == 0
    assert [",".join(row.split(",")[:16]) for row in out.splitlines()] == file.read_text().splitlines()
    for row in csv.DictReader(io.StringIO(out)):
        assert float(row["estimated_ttft_ms"]) > 0
        assert float(row["estimated_tpot_ms"]) > 0
        assert row["reason"] == ""


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("vllm,deepseek-ai/DeepSeek-R1,h100_sxm,fp8,1024,1024,4,8", "weights and overhead need"),
        ("vllm,acme/house-model,h100_sxm,fp8,1024,1024,4,8", "give its config.json with --model-config"),
        ("vllm,Qwen/Qwen3-32B,acme_9000,fp8,1024,1024,4,8", "it can be measured, not estimated"),
    ],
)
def test_a_row_that_cannot_be_estimated_carries_the_reason(said: Said, tmp_path: Path, row: str, reason: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(f"{HEADER}\n{row}\n")
    code, out, _ = said("estimate", "--rows", file)
    (found,) = csv.DictReader(io.StringIO(out))
    assert code == 0
    assert found["estimated_ttft_ms"] == found["estimated_tpot_ms"] == ""
    assert reason in found["reason"]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("backend,model_path\nvllm,m\n", 4, "columns: system, precision, isl, osl, concurrency, tp_size missing"),
        (f"{HEADER}\nvllm,m,g,fp8,0,1,1,1\n", 4, "line 2, isl: '0' is no whole number from 1 to 10000000"),
        (
            f"{HEADER}\nvllm,m,g,fp8,1,1,9999999,1\n",
            4,
            "line 2, concurrency: '9999999' is no whole number from 1 to 16384",
        ),
        (f"{HEADER}\nvllm,m,g,fp8,{'1' * 5000},1,1,1\n", 4, "line 2, isl"),
        (f"{HEADER}\nvllm,{'m' * 200_000},g,fp8,1,1,1,1\n", 2, "cannot be read as CSV"),
        (f"{HEADER}\nvllm,m,g,fp8,1,1,1.5,1\n", 4, "line 2, concurrency"),
        (f"{HEADER}\nllama.cpp,m,g,fp8,1,1,1,1\n", 4, "line 2, backend: 'llama.cpp' is unknown"),
        (f"{HEADER}\nvllm,m,g,fp6,1,1,1,1\n", 4, "line 2, precision: 'fp6' is unknown"),
        (f"{HEADER}\nvllm,m,g\n", 2, "line 2 has not as many fields"),
        ("", 4, "columns: backend"),
    ],
)
def test_rows_with_faults_name_line_and_column(said: Said, tmp_path: Path, text: str, code: int, words: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(text)
    found, out, err = said("estimate", "--rows", file)
    assert (found, out) == (code, "")
    assert words in err
    assert "remedy: " in err


def test_a_default_price_is_said_and_never_taken_for_another_currency(said: Said, manifest: Manifest) -> None:
    assert "price of a H100-SXM hour: 4.50 USD, a dated default" in said("plan", "-f", EXAMPLE)[1]
    found = json.loads(said("plan", "-f", manifest(cost__currency="EUR"), "-o", "json")[1])
    assert "costPerHour" not in found["candidates"][0]
    assert any("no price" in note for note in found["notes"])
    found = json.loads(said("plan", "-f", manifest(cost__gpuHourly="10", cost__currency="EUR"), "-o", "json")[1])
    best = found["candidates"][0]
    assert best["costPerHour"] == 10 * best["gpus"]
    assert found["currency"] == "EUR"


def test_the_architecture_is_printed_as_the_resource_takes_it(said: Said, tmp_path: Path, manifest: Manifest) -> None:
    config = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
              "intermediate_size": 14336, "vocab_size": 128256}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    options = ("plan", "-f", manifest(model__name="acme/chat"), "--model-config", tmp_path / "config.json")
    code, out, _ = said(*options, "--print-architecture")
    assert code == 0
    printed = yaml.safe_load(out)["spec"]["model"]["architecture"]
    stated = manifest(model__name="acme/chat", model__architecture=printed)
    by_resource = json.loads(said("plan", "-f", stated, "-o", "json")[1])
    by_config = json.loads(said(*options, "-o", "json")[1])
    assert by_resource["candidates"] == by_config["candidates"]


def test_the_architecture_of_a_model_nobody_knows_is_asked_for(said: Said, manifest: Manifest) -> None:
    code, _, err = said("plan", "-f", manifest(model__name="acme/chat"), "--print-architecture")
    assert code == 4
    assert "--model-config config.json" in err


def test_parallelism_that_no_engine_takes_is_a_reason_of_its_row(said: Said, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(f"{HEADER}\nvllm,Llama-3.1-8B,h100_sxm,fp8,100,10,1,3\n")
    code, out, _ = said("estimate", "--rows", file)
    (row,) = csv.DictReader(io.StringIO(out))
    assert code == 0
    assert row["reason"] == "tp_size 3 does not divide 32 attention heads"
    assert row["estimated_ttft_ms"] == ""
