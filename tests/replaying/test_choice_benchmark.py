"""The benchmark of choices: bad files are told in one line, families are formed right, one cell is decided for real."""

from pathlib import Path

import pytest

from benchmarks import replayed_choice
from e2e.replay.exhaustive import Capacities
from e2e.replay.recordings import Lengths, load
from rightsizer_jobs.contract import Slo

HEADER = "backend,model_path,system,precision,isl,osl,concurrency,tp_size,ttft_ms,tpot_ms\n"


def rows(*lines: str) -> str:
    return HEADER + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n1,2\n", "the header lacks backend"),
        (
            rows("vllm,m,h200_sxm,fp8,1024,1024,4,1,fast,10"),
            "line 2: ttft_ms: must be milliseconds above 0, not 'fast'",
        ),
        (rows("sglang,m,h200_sxm,fp8,1024,1024,4,1,100,10"), "no usable row"),
        (rows("vllm,m,h200_sxm,fp8,1024,1024,4,1,100,10"), "no two configurations at the same lengths"),
    ],
)
def test_a_bad_file_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    (tmp_path / "other.csv").write_text(text)
    assert replayed_choice.main(["--rows", str(tmp_path / "other.csv")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert told in said
    assert len(said.splitlines()) == 1


def test_families_hold_what_can_be_chosen_between() -> None:
    found = {family.name: family for family in replayed_choice.families(load())}
    llama = found["meta-llama/Llama-3.1-70B fp8 h200_sxm 1024/1024"]
    assert len(llama.curves) == 8
    assert (llama.found.engine, llama.found.parallelism) == ("VLLM", 8)
    assert all(len(family.curves) > 1 for family in found.values())


def test_the_operator_decides_a_cell_as_exhaustive_choice_does() -> None:
    """Llama-3.1-70B on H200 at 1200/35 ms: TensorRT-LLM TP2 is a quarter cheaper than the next best."""
    family = next(
        one for one in replayed_choice.families(load())
        if (one.system, one.lengths) == ("h200_sxm", Lengths(1024, 1024)) and "70B" in one.model
    )  # fmt: skip
    known = {served: Capacities(curve, 1024, requests=4000) for served, curve in family.curves.items()}
    cell = replayed_choice.judged(family, known, Slo(ttft_ms=1200, tpot_ms=35), probe_s=240)
    assert cell.chosen is not None
    assert (cell.chosen.served.engine, cell.chosen.served.parallelism) == ("TensorRTLLM", 2)
    assert cell.right
    assert cell.regret == 0
