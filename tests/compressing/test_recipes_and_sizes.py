"""The recipe table, the size of an artefact before it exists, and calibration files: values in, values out."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rightsizer_jobs.compress import artefact
from rightsizer_jobs.compress.quantize import CalibrationUnreadable, ended, read_calibration
from rightsizer_jobs.compress.recipes import RECIPES, UnknownRecipe, recipe
from rightsizer_jobs.compress.source import artefact_bytes

LINEAR = "model.layers.0.mlp.up_proj.weight"
HEXADECIMAL = st.text("0123456789abcdef", min_size=64, max_size=64)


def test_the_table_holds_the_four_formats_and_their_tool() -> None:
    table = {name: (row.tool, row.method, row.scheme, row.needs_calibration) for name, row in RECIPES.items()}
    assert table == {
        "int8-w8a8": ("llmcompressor", "GPTQ", "W8A8", True),
        "int8-w8a16": ("llmcompressor", "GPTQ", "W8A16", True),
        "int4-w4a16": ("llmcompressor", "GPTQ", "W4A16", True),
        "fp8-dynamic": ("llmcompressor", "RoundToNearest", "FP8_DYNAMIC", False),
    }


def test_an_unknown_recipe_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownRecipe, match="there are fp8-dynamic, int4-w4a16"):
        recipe("awq")


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_what_a_recipe_ignores_keeps_its_size(name: str) -> None:
    kept = {
        "lm_head.weight": ((100, 10), 2000),
        "model.embed_tokens.weight": ((100, 10), 2000),
        "norm.weight": ((10,), 20),
    }
    assert artefact_bytes(kept, recipe(name)) == 4020


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_four_bits_take_less_than_eight_and_eight_less_than_sixteen(rows: int, columns: int) -> None:
    found = {LINEAR: ((rows, columns), 2 * rows * columns)}
    four, eight = (artefact_bytes(found, recipe(name)) for name in ("int4-w4a16", "int8-w8a8"))
    assert four <= eight <= 2 * rows * columns


@given(st.dictionaries(st.text(min_size=1), HEXADECIMAL, min_size=1), st.randoms())
def test_the_digest_depends_on_content_not_on_order(files: dict[str, str], random: "st.randoms") -> None:
    shuffled = list(files.items())
    random.shuffle(shuffled)
    assert artefact.digest(dict(shuffled)) == artefact.digest(files)
    name, value = shuffled[0]
    assert artefact.digest({**files, name: value[::-1] + "0"}) != artefact.digest(files)


def test_calibration_is_cut_to_the_samples_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text('{"tokens": [5, 6]}\n{"text": "a sentence"}\n{"tokens": [7]}\n')
    assert read_calibration(file, 2) == [[5, 6], "a sentence"]


@pytest.mark.parametrize(
    "line",
    [
        '{"tokens": []}',
        '{"tokens": [1, "2"]}',
        '{"tokens": [true]}',
        '{"tokens": [-1]}',
        '{"text": ""}',
        "[]",
        "{",
        "7",
    ],
)
def test_a_malformed_calibration_line_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text('{"tokens": [1]}\n' + line + "\n")
    with pytest.raises(CalibrationUnreadable, match="line 2: expected"):
        read_calibration(file, 10)


def test_an_empty_calibration_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n\n")
    with pytest.raises(CalibrationUnreadable, match="holds no sample"):
        read_calibration(tmp_path / "empty", 10)


@pytest.mark.parametrize(("code", "words"), [(-9, "out of memory"), (-11, "SIGSEGV"), (3, "exit code 3")])
def test_a_tool_that_died_without_a_word_is_explained(code: int, words: str) -> None:
    assert words in ended(code)
