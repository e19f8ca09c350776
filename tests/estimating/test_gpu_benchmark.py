"""The benchmark of a real engine on a GPU, as far as it goes without one: what it lacks, writes and prints."""

import argparse
import csv
import json
from pathlib import Path

import pytest

from benchmarks import gpu_engine
from benchmarks.gpu_engine import Bed, Loop
from rightsizer_jobs.contract import Measurement, Slo
from rightsizer_operator.sizing.estimate import rows, tables
from rightsizer_operator.sizing.estimate.failures import NotEstimable

CONFIG = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "hidden_act": "silu",
}  # fmt: skip


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return a_bed(tmp_path)


def a_bed(folder: Path, gpu: str = "NVIDIA-H100-80GB-HBM3") -> Bed:
    return Bed(
        vllm=Path("/usr/bin/python3"), model=folder, name="acme/eight", gpu=gpu, precision="fp8", flags=(),
        input_tokens=1024, output_tokens=128, slo=Slo(ttft_ms=500, tpot_ms=40), measurement=Measurement(), out=folder,
    )  # fmt: skip


LOOPS = (
    Loop(concurrency=1, requests=10, ttft_ms=30.9, tpot_ms=6.48),
    Loop(concurrency=64, requests=640, ttft_ms=250, tpot_ms=15.7),
)


def test_its_closed_loops_are_recordings_that_the_estimator_reads(bed: Bed) -> None:
    gpu_engine.kept(bed, "0.26.0", LOOPS)
    with (bed.out / "rows.csv").open(newline="") as file:
        records = list(csv.DictReader(file))
    rows.check_columns(list(records[0]))
    found = [rows.parsed(record, line) for line, record in enumerate(records, 2)]
    assert [(one.engine, one.precision, one.concurrency, one.input_tokens) for one in found] == [
        ("VLLM", "FP8", 1, 1024),
        ("VLLM", "FP8", 64, 1024),
    ]
    assert tables.gpu(found[0].gpu) is not None
    assert [float(one["tpot_ms"]) for one in records] == [6.48, 15.7]


def test_each_measured_figure_stands_beside_an_estimate(bed: Bed) -> None:
    told = "\n".join(gpu_engine.against_estimates(bed, LOOPS))
    table, note = told.split("\n\n")
    assert note.startswith("estimated with an FP8 cache")
    _, first, second = table.rsplit("\n", 2)
    for line, measured in ((first, "6.48"), (second, "15.7")):
        ours, estimated = line.split("|")[-3:-1]
        assert ours.strip() == measured
        assert float(estimated.split("(")[0]) > 0


def test_a_gpu_that_the_estimator_does_not_know_is_named(bed: Bed) -> None:
    with pytest.raises(NotEstimable, match="--gpu: ACME-9000"):
        gpu_engine.question(a_bed(bed.model, gpu="ACME-9000"))


@pytest.mark.parametrize("text", ["", "1,,2", "0,1", "-1", "1.5", "many"])
def test_only_whole_numbers_can_be_in_flight(text: str) -> None:
    assert gpu_engine.whole_numbers("1,16") == [1, 16]
    with pytest.raises(argparse.ArgumentTypeError, match="no list of whole numbers"):
        gpu_engine.whole_numbers(text)


def test_what_a_call_lacks_is_said_before_anything_is_started(tmp_path: Path) -> None:
    def lacking(**given: Path | None) -> str:
        return gpu_engine.missing(argparse.Namespace(**{"vllm": None, "model": None, "out": None, **given}))

    assert lacking() == "cannot be run here: --vllm, --model, --out must be given, and an NVIDIA GPU is needed"
    given = {"vllm": tmp_path / "python", "model": tmp_path, "out": tmp_path}
    assert lacking(**given) == f"--vllm: there is no {tmp_path / 'python'}"
    (tmp_path / "python").touch()
    assert lacking(**given) == f"--model: {tmp_path} has no config.json"
    (tmp_path / "config.json").write_text("{}")
    assert lacking(**given) == ""
