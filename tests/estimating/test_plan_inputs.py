"""What users write into the files of ``rightsizer plan`` and ``rightsizer estimate``: misspelt fields, values of other
types, endless devices, standard input. Each is read, or refused with file, field and remedy."""

import copy
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rightsizer_cli import documents
from rightsizer_cli.known_fields import refuse_unknown
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from tests.estimating.command_line import EXAMPLE, MODEL, CommandLine, deployment, example

HEADER = "backend,model_path,system,precision,isl,osl,concurrency,tp_size"
ROW = "vllm,Llama-3.1-8B,h100_sxm,fp8,100,10,1,1"


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("RIGHTSIZER_KUBECTL", "/nonexistent/kubectl")
    return CommandLine(tmp_path, capsys)


def put(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """The document with one value replaced, by dotted path."""
    changed = copy.deepcopy(document)
    *parents, last = path.split(".")
    place: Any = changed
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
    place[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("spec.slo.ttftms", 3, "spec.slo.ttftms: is no field; did you mean ttftMs?"),
        ("spec.search.maxGpusPerReplica", 8, "did you mean maxGPUsPerReplica?"),
        ("spec.slo.ttft_ms", 800, "spec.slo.ttft_ms: is no field; did you mean ttftMs?"),
        ("spec.serch", {}, "spec.serch: is no field; did you mean search?"),
        ("spec.slo.p95", 1, "spec.slo.p95: is no field; spec.slo has percentile, ttftMs, itlMs, tpotMs, e2eMs"),
        ("spec.workload.static.inputTokensHistogram", [{"tokens": 1, "weigth": 2}], "Histogram[0].weigth: is no field"),
    ],
)
def test_a_misspelt_field_is_refused_with_the_nearest_one(
    line: CommandLine, path: str, value: object, words: str
) -> None:
    code, out, err = line.said("plan", "-f", line.written("infdep.yaml", put(example(), path, value)))
    assert (code, out) == (4, "")
    assert "infdep.yaml: spec." in err
    assert words in err
    assert "remedy: " in err


def test_every_example_has_known_fields_only() -> None:
    found = documents.of_files([str(file) for file in EXAMPLE.parent.glob("*.yaml")])
    resources = [one for one in found if one.kind == "InferenceDeployment"]
    assert resources
    for one in resources:
        refuse_unknown(one.at("spec"), InferenceDeploymentSpec)


TARGET = deployment(MODEL, "-tp", "4")
CONTAINERS = "spec.template.spec.containers"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("metadata", "x", "metadata: is 'x', must be a mapping"),
        ("metadata", [1], "metadata: is a list, must be a mapping"),
        ("metadata.name", 5, "metadata.name: is 5, must be text"),
        ("spec", "x", "spec: is 'x', must be a mapping"),
        ("spec.template", [1], "spec.template: is a list, must be a mapping"),
        (CONTAINERS, 5, f"{CONTAINERS}: is 5, must be a list"),
        (CONTAINERS, {"name": "engine"}, f"{CONTAINERS}: is a mapping, must be a list"),
        (CONTAINERS, ["engine"], f"{CONTAINERS}[0]: is 'engine', must be a mapping"),
        (f"{CONTAINERS}.0.args", "-tp 4", f"{CONTAINERS}[0].args: is '-tp 4', must be a list"),
        (f"{CONTAINERS}.0.args", ["-tp", 4], f"{CONTAINERS}[0].args[1]: is 4, must be text"),
        (f"{CONTAINERS}.0.command", 10**30, f"{CONTAINERS}[0].command: is a number beyond reason, must be a list"),
        (f"{CONTAINERS}.0.image", True, f"{CONTAINERS}[0].image: is true or false, must be text"),
        (f"{CONTAINERS}.0.resources", "4", f"{CONTAINERS}[0].resources: is '4', must be a mapping"),
    ],
)
def test_a_value_of_another_type_in_the_deployment_is_no_bug(
    line: CommandLine, path: str, value: object, words: str
) -> None:
    given = put(TARGET, path, value)
    if words.endswith("image: is true or false, must be text"):
        del given["spec"]["template"]["spec"]["containers"][0]["command"]
    code, out, err = line.plan(given)
    assert (code, out) == (4, "")
    assert f"deployment.yaml: {words}" in err
    assert "remedy: " in err


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("kind: List\nitems: 5\n", 4, "items: is 5, must be a list"),
        ("kind: List\nitems: &a\n- *a\n", 4, "items[0]: is a list, must be a mapping"),
        ("[" * 3000, 2, "is nested too deeply"),
        ("a: " + "9" * 5000, 2, "is no YAML: Exceeds the limit"),
        ("a: 2020-13-45\n", 2, "is no YAML: month must be in 1..12"),
        ("kind: InferenceDeployment\nmetadata: x\n", 4, "apiVersion: is missing; of kind InferenceDeployment"),
    ],
)
def test_a_file_that_is_beyond_reading_is_no_bug(line: CommandLine, text: str, code: int, words: str) -> None:
    found, out, err = line.said("plan", "-f", line.written("odd.yaml", text))
    assert (found, out) == (code, "")
    assert "odd.yaml" in err
    assert words in err
    assert "remedy: " in err


@pytest.mark.parametrize("text", ['{"a":' * 20_000, '{"a":' + "9" * 5000 + "}", "[]"])
def test_json_that_is_beyond_reading_is_no_bug(line: CommandLine, text: str) -> None:
    code, _, err = line.said("plan", "-f", EXAMPLE, "--model-config", line.written("config.json", text))
    assert code == 2
    assert "config.json" in err


@pytest.mark.parametrize(
    ("path", "value", "words", "remedy"),
    [
        ("spec.workload.static.requestRate", 5.5, "requestRate: must be text", "Write it in quotes"),
        ("spec.cost.gpuHourly", 4, "spec.cost.gpuHourly: must be text", "Write it in quotes"),
        ("spec.slo.ttftMs", "800", "spec.slo.ttftMs: must be a whole number", "without quotes"),
        ("spec.updatePolicy.mode", False, "spec.updatePolicy.mode: Input should be 'Off'", "Write it in quotes"),
        ("spec.slo", [], "spec.slo: must be a mapping of fields", "kubectl explain"),
        ("spec.search.engines", ["SGLang"], "spec.search.engines[0]: Input should be 'VLLM'", "kubectl explain"),
        ("spec.slo.percentile", 100, "spec.slo.percentile: Input should be less than", "kubectl explain"),
    ],
)
def test_a_value_outside_its_field_names_the_file_and_how_to_write_it(
    line: CommandLine, path: str, value: object, words: str, remedy: str
) -> None:
    code, _, err = line.said("plan", "-f", line.written("infdep.yaml", put(example(), path, value)))
    assert code == 4
    said, _, advice = err.partition("remedy: ")
    assert "infdep.yaml: spec." in said
    assert words in said
    assert remedy in advice


@pytest.mark.parametrize("version", ["foo/v9", None])
def test_another_api_version_is_refused(line: CommandLine, version: str | None) -> None:
    document = {**example(), "apiVersion": version}
    code, _, err = line.said("plan", "-f", line.written("infdep.yaml", document))
    assert code == 4
    assert "infdep.yaml: apiVersion: is " in err
    assert "rightsizer.dev/v1alpha1 is read" in err


def test_a_typed_list_is_unfolded(line: CommandLine) -> None:
    bare = {key: value for key, value in example().items() if key not in ("kind", "apiVersion")}
    listed = {"kind": "InferenceDeploymentList", "apiVersion": "rightsizer.dev/v1alpha1", "items": [bare]}
    assert line.said("plan", "-f", line.written("list.yaml", listed))[0] == 0


def piped(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_manifests_and_rows_come_from_standard_input(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, EXAMPLE.read_text() + "\n---\n" + yaml.safe_dump(TARGET))
    code, out, _ = line.said("plan", "-f", "-", "-o", "json")
    assert code == 0
    assert json.loads(out)["gpusToday"] == 8
    piped(monkeypatch, f"{HEADER}\n{ROW}\n")
    code, out, _ = line.said("estimate", "--rows", "-")
    assert code == 0
    assert ROW in out
    piped(monkeypatch, f"{HEADER}\nvllm\n")
    assert "standard input: line 2" in line.said("estimate", "--rows", "-")[2]


@pytest.mark.parametrize("arguments", [("plan", "-f"), ("estimate", "--rows")])
def test_a_device_that_never_ends_is_read_no_further_than_the_limit(arguments: tuple[str, str]) -> None:
    program = (
        "import resource, sys; from rightsizer_cli.__main__ import main; "
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, "/dev/zero"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "/dev/zero is larger than 16 MiB" in done.stderr


@pytest.mark.parametrize(
    ("spec", "words", "remedy"),
    [
        (
            {"slo": {"ttftMs": 60}},
            "spec.slo.ttftMs: no rate above zero holds 60 ms, although one request alone does",
            "remedy: Allow 6",
        ),
        (
            {"search": {"precisions": ["AsIs"], "maxGPUsPerReplica": 1}},
            "spec.search.maxGPUsPerReplica: no candidate fits on up to 1; nearest: as-is, which does not fit",
            "remedy: Allow 2 (as as-is-tp2 needs)",
        ),
    ],
)
@pytest.mark.parametrize("form", ["table", "json", "html"])
def test_a_plan_without_a_ranked_candidate_is_printed_and_refused(
    line: CommandLine, spec: dict[str, object], words: str, remedy: str, form: str
) -> None:
    code, out, err = line.said("plan", "-f", line.written("infdep.yaml", example(**spec)), "-o", form)
    assert code == 4
    assert "does not fit" in out or "single request only" in out
    assert words in err
    assert remedy in err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputTokensP95": 3800}, ["lengths vary"]),
        ({"outputTokensP95": 790}, ["lengths vary"]),
        ({"arrivals": "Gamma", "burstiness": "0.1"}, ["arrivals are Gamma (burstiness 0.1)"]),
        ({"arrivals": "Constant"}, []),
        ({"arrivals": "Poisson"}, []),
    ],
)
def test_what_of_the_workload_is_not_estimated_is_said(
    line: CommandLine, changes: dict[str, object], words: list[str]
) -> None:
    document = example()
    document["spec"]["workload"]["static"].update(changes)
    found = json.loads(line.said("plan", "-f", line.written("infdep.yaml", document), "-o", "json")[1])
    notes = [note for note in found["notes"] if "lengths vary" in note or "arrivals" in note]
    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))


@pytest.mark.parametrize("column", ["isl", "id"])
def test_a_column_that_is_named_twice_is_refused(line: CommandLine, column: str) -> None:
    file = line.written("rows.csv", f"{HEADER},id,{column}\n{ROW},a,9\n")
    code, out, err = line.said("estimate", "--rows", file)
    assert (code, out) == (4, "")
    assert f"rows.csv: columns: '{column}' stands 2 times" in err


def test_a_full_disk_is_said_plainly() -> None:
    program = "import sys; from rightsizer_cli.__main__ import main; sys.exit(main(sys.argv[1:]))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program, "plan", "-f", str(EXAMPLE)], stdout=full, stderr=subprocess.PIPE, text=True,
            timeout=60,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write the output: No space left on device\nremedy: ")
    assert "Exception ignored" not in done.stderr


def test_the_page_names_units_and_currency_and_one_gpu_is_one(line: CommandLine) -> None:
    document = put(example(), "spec.cost", {"currency": "EUR", "gpuHourly": "4"})
    document["spec"]["workload"]["static"]["requestRate"] = "0.01"
    file = line.written("infdep.yaml", document)
    page = line.said("plan", "-f", file, "-o", "html")[1]
    for heading in ("TTFT, ms", "E2E, ms", "EUR per million output tokens", "Requests/s of a replica"):
        assert f">{heading}</th>" in page
    assert ": 1 GPU with " in line.said("plan", "-f", file)[1]


def test_a_gpu_that_is_not_stated_is_told_from_one_that_is_unknown(line: CommandLine) -> None:
    document = example()
    del document["spec"]["accelerator"]["type"]
    document["spec"]["cost"]["currency"] = "EUR"
    file = line.written("infdep.yaml", document)
    assert "note: spec.accelerator.type is not set: " in line.said("plan", "-f", file)[1]
    assert "note: no facts of ACME are known: " in line.said("plan", "-f", file, "--gpu", "ACME")[1]
    assert json.loads(line.said("plan", "-f", file, "-o", "json")[1])["currency"] == "EUR"
