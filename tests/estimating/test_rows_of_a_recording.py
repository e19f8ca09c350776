"""One recorded row: whose facts it is estimated by, how it is read, and what it says where there is no estimate."""

from dataclasses import replace

import pytest

from rightsizer_operator.sizing.estimate import model_facts, rows, tables
from rightsizer_operator.sizing.estimate.failures import NotEstimable
from rightsizer_operator.sizing.estimate.model_facts import ModelFacts
from rightsizer_operator.sizing.estimate.rows import Row

ROW = Row(
    engine="VLLM", model="meta-llama/Llama-3.1-70B", gpu="h100_sxm", precision="FP8", input_tokens=1024,
    output_tokens=128, concurrency=4, tensor_parallel=4, pipeline_parallel=1, attention_data_parallel=1,
)  # fmt: skip
RECORD = {
    "backend": " vllm ", "model_path": " meta-llama/Llama-3.1-70B ", "system": " h100_sxm ", "precision": " fp8 ",
    "isl": " 1024 ", "osl": "128", "concurrency": "4", "tp_size": "4",
}  # fmt: skip


@pytest.fixture
def tiny() -> ModelFacts:
    return model_facts.from_config({
        "hidden_size": 1024, "num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads": 8,
        "intermediate_size": 4096, "vocab_size": 32000, "max_position_embeddings": 2048,
    })  # fmt: skip


def test_a_config_stands_for_unknown_models_only(tiny: ModelFacts) -> None:
    assert rows.estimate(ROW, model=tiny) == rows.estimate(ROW)
    unknown = rows.estimate(replace(ROW, model="acme/tiny"), model=tiny)
    assert unknown.ttft_ms is not None
    assert unknown.ttft_ms < 0.5 * (rows.estimate(ROW).ttft_ms or 0)


def test_one_config_cannot_stand_for_several_models(tiny: ModelFacts) -> None:
    names = ("acme/tiny", "acme/tiny", "other/Tiny", "meta-llama/Llama-3.1-70B")
    rows.check_models([replace(ROW, model=name) for name in names], tiny)
    with pytest.raises(NotEstimable) as said:
        rows.check_models([replace(ROW, model=name) for name in (*names, "acme/large")], tiny)
    assert said.value.field == "--model-config"
    assert "acme/large" in said.value.problem


def test_without_a_config_any_number_of_unknown_models_may_stand_there() -> None:
    rows.check_models([replace(ROW, model=name) for name in ("a", "b")], None)


def test_spaces_around_a_value_do_not_count() -> None:
    assert rows.parsed(RECORD, 2) == ROW


def test_a_row_longer_than_the_context_says_so(tiny: ModelFacts) -> None:
    long = rows.estimate(replace(ROW, model="acme/tiny", input_tokens=2000), model=tiny)
    assert long.ttft_ms is None
    assert long.reason == "isl + osl is 2128 tokens, the context of acme/tiny is 2048"
    assert rows.estimate(replace(ROW, model="acme/tiny", input_tokens=1920), model=tiny).reason == ""
    assert rows.estimate(replace(ROW, model="acme/tiny", input_tokens=2000), model=replace(tiny, longest=0)).ttft_ms


def test_an_answer_of_one_token_has_no_time_per_token() -> None:
    found = rows.estimate(replace(ROW, output_tokens=1))
    assert (found.tpot_ms, found.reason) == (None, "")
    assert found.ttft_ms


@pytest.mark.parametrize(
    ("precision", "cache"), [("", "BF16"), ("FP8", "FP8"), ("FP4", "FP8"), ("INT8", "BF16"), ("INT4", "BF16")]
)
def test_the_cache_of_a_recording_is_taken_as_documented(precision: str, cache: str) -> None:
    model, gpu = tables.published_model(ROW.model), tables.gpu(ROW.gpu)
    assert model is not None
    assert gpu is not None
    assert rows.configured(replace(ROW, precision=precision), model, gpu).kv_format == cache
