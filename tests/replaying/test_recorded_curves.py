"""The table is read into curves; what cannot be used is named with its line and column."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2e.replay.recordings import TABLE, BadRecordings, Curve, Lengths, Served, curves_of, load, nearest

LLAMA = Served("meta-llama/Llama-3.1-70B", "h200_sxm", "fp8", "VLLM", 1)
CHAT = Lengths(1024, 1024)


def row(**changes: str) -> dict[str, str | None]:
    usual = {
        "backend": "vllm", "model_path": "m", "system": "h200_sxm", "precision": "fp8", "isl": "1024", "osl": "128",
        "concurrency": "4", "tp_size": "2", "pp_size": "1", "attention_dp_size": "", "ttft_ms": "100", "tpot_ms": "10",
    }  # fmt: skip
    return {**usual, **changes}


def test_the_table_holds_both_engines_on_the_same_gpu() -> None:
    found = [one for one in load() if (one.model, one.system) == (LLAMA.model, LLAMA.system)]
    assert {(one.engine, one.parallelism) for one in found} == {
        (engine, tp) for engine in ("VLLM", "TensorRTLLM") for tp in (1, 2, 4, 8)
    }


def test_at_a_recorded_concurrency_the_recorded_means_come_out() -> None:
    curves = load()
    with TABLE.open(newline="") as file:
        for found in csv.DictReader(file):
            if found["backend"] == "vllm" and found["system"] == "h200_sxm" and found["model_path"] == LLAMA.model:
                served = Served(LLAMA.model, LLAMA.system, "fp8", "VLLM", int(found["tp_size"]))
                curve = curves[served][Lengths(int(found["isl"]), int(found["osl"]))]
                assert curve.ttft_at(int(found["concurrency"])) == pytest.approx(float(found["ttft_ms"]))
                assert curve.tpot_at(int(found["concurrency"])) == pytest.approx(float(found["tpot_ms"]))


def test_between_recordings_the_logarithms_are_linear_and_below_the_lowest_it_stands() -> None:
    curve = Curve((4, 16), (100.0, 400.0), (10.0, 40.0))
    assert curve.ttft_at(8) == pytest.approx(200.0)
    assert curve.tpot_at(8) == pytest.approx(20.0)
    assert (curve.ttft_at(1), curve.tpot_at(1)) == (100.0, 10.0)
    assert curve.ttft_at(100) == pytest.approx(400.0)


@given(st.integers(1, 200), st.lists(st.floats(1, 1e4), min_size=3, max_size=3))
def test_an_interpolated_value_lies_between_its_neighbours(concurrency: int, values: list[float]) -> None:
    curve = Curve((4, 32, 128), tuple(values), tuple(values))
    ladder = [4, 32, 128]
    low = max((one for one in ladder if one <= concurrency), default=4)
    high = min((one for one in ladder if one >= concurrency), default=128)
    neighbours = values[ladder.index(low)], values[ladder.index(high)]
    assert min(neighbours) * (1 - 1e-9) <= curve.ttft_at(concurrency) <= max(neighbours) * (1 + 1e-9)


def test_requests_of_other_lengths_are_answered_like_the_nearest_recorded_ones() -> None:
    curves = load()[LLAMA]
    assert nearest(curves, CHAT) == CHAT
    assert nearest(curves, Lengths(900, 1)) == CHAT
    assert nearest(curves, Lengths(6000, 600)) == Lengths(8192, 1024)


def test_rows_of_other_backends_and_of_other_parallelism_are_left_out() -> None:
    found = curves_of([row(backend="sglang"), row(pp_size="2"), row(attention_dp_size="2"), row()], "t.csv")
    assert list(found) == [Served("m", "h200_sxm", "fp8", "VLLM", 2)]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ttft_ms": "0"}, "t.csv, line 3: ttft_ms: must be milliseconds above 0, not '0'"),
        ({"tpot_ms": "fast"}, "t.csv, line 3: tpot_ms: must be milliseconds above 0, not 'fast'"),
        ({"tpot_ms": "inf"}, "t.csv, line 3: tpot_ms: must be milliseconds above 0, not 'inf'"),
        ({"concurrency": "1.5"}, "t.csv, line 3: concurrency: must be a whole number from 1, not '1.5'"),
        ({"isl": "-1"}, "t.csv, line 3: isl: must be a whole number from 1, not '-1'"),
        ({"model_path": " "}, "t.csv, line 3: model_path: is empty"),
        ({"concurrency": "4"}, "t.csv, line 3: concurrency: a second recording of m (fp8) on h200_sxm with VLLM"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_with_its_line_and_column(changes: dict[str, str], told: str) -> None:
    with pytest.raises(BadRecordings) as raised:
        curves_of(
            [row(), row(concurrency="8", **{k: v for k, v in changes.items() if k != "concurrency"}) | changes], "t.csv"
        )
    assert told in str(raised.value)


def test_missing_columns_are_named() -> None:
    short = {key: value for key, value in row().items() if key not in ("isl", "ttft_ms")}
    with pytest.raises(BadRecordings, match=r"t.csv: the header lacks isl, ttft_ms"):
        curves_of([short], "t.csv")


def test_a_file_without_a_usable_row_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadRecordings, match="no usable row"):
        curves_of([row(backend="sglang")], "t.csv")
    with pytest.raises(BadRecordings, match="cannot be read"):
        load(tmp_path / "none.csv")
