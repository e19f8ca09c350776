"""What config.json says of a model, and what is refused."""

import pytest

from rightsizer_operator.resource.architecture import Architecture
from rightsizer_operator.sizing.estimate import memory, model_facts, tables
from rightsizer_operator.sizing.estimate.failures import NotEstimable

DENSE = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "hidden_act": "silu",
}  # fmt: skip


@pytest.mark.parametrize(
    ("model", "billions", "active"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", 8.03, 6.98),
        ("meta-llama/Llama-3.1-70B-Instruct", 70.55, 68.45),
        ("meta-llama/Llama-3.1-405B", 405.85, 401.7),
        ("Qwen/Qwen3-32B", 32.76, 31.2),
        ("Qwen/Qwen3-30B-A3B", 30.53, 2.73),
        ("Qwen/Qwen3-235B-A22B", 235.1, 20.9),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 46.7, 12.6),
        ("deepseek-ai/DeepSeek-R1", 671.0, 35.7),
        ("openai/gpt-oss-120b", 116.8, 4.55),
    ],
)
def test_parameters_add_up_to_the_published_size(model: str, billions: float, active: float) -> None:
    facts = tables.published_model(model)
    assert facts is not None
    assert (facts.linear_params + facts.embedding_params) / 1e9 == pytest.approx(billions, rel=0.003)
    assert facts.active_params / 1e9 == pytest.approx(active, rel=0.01)


@pytest.mark.parametrize(
    ("model", "kibibytes"),
    [("Llama-3.1-70B", 320), ("Llama-3.1-8B", 128), ("Qwen3-32B", 256), ("DeepSeek-V3", 68.6)],
)
def test_a_token_of_cache_has_the_known_size(model: str, kibibytes: float) -> None:
    facts = tables.published_model(model)
    assert facts is not None
    assert memory.kv_token_bytes(facts, "BF16", 1) / 1024 == pytest.approx(kibibytes, rel=0.001)


def test_without_key_value_heads_every_head_has_its_own() -> None:
    facts = model_facts.from_config({key: value for key, value in DENSE.items() if key != "num_key_value_heads"})
    assert facts.kv_heads == 32
    assert facts.kv_values == 2 * 4096


def test_a_vision_model_is_read_by_its_text_part() -> None:
    assert model_facts.from_config({"text_config": DENSE, "vision_config": {}}).layers == 32


def test_sliding_layers_are_counted_by_kind_and_by_pattern() -> None:
    kinds = ["sliding_attention", "full_attention"] * 16
    assert model_facts.from_config({**DENSE, "sliding_window": 128, "layer_types": kinds}).sliding_layers == 16
    by_pattern = model_facts.from_config({**DENSE, "sliding_window": 1024, "sliding_window_pattern": 4})
    assert (by_pattern.sliding_layers, by_pattern.window) == (24, 1024)
    off = model_facts.from_config({**DENSE, "sliding_window": 4096, "use_sliding_window": False})
    assert off.sliding_layers == 0


@pytest.mark.parametrize(
    ("quantization", "weights"),
    [
        (None, "BF16"),
        ({"quant_method": "fp8"}, "FP8"),
        ({"quant_method": "gptq", "bits": 4}, "INT4"),
        ({"quant_method": "gptq", "bits": 8}, "INT8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "FP4"),
        ({"quant_method": "compressed-tensors",
          "config_groups": {"group_0": {"weights": {"type": "int", "num_bits": 8}}}}, "INT8"),
    ],
)  # fmt: skip
def test_the_format_of_the_weights_is_read(quantization: object, weights: str) -> None:
    assert model_facts.from_config({**DENSE, "quantization_config": quantization}).weights == weights


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"num_hidden_layers": None}, "num_hidden_layers"),
        ({"hidden_size": "4096"}, "hidden_size"),
        ({"hidden_size": True}, "hidden_size"),
        ({"is_encoder_decoder": True}, "is_encoder_decoder"),
        ({"mamba_d_state": 128}, "mamba_d_state"),
        ({"layer_types": ["linear_attention"] * 32}, "layer_types"),
        ({"num_key_value_heads": 5}, "num_key_value_heads"),
        ({"num_local_experts": 8, "num_experts_per_tok": 9}, "num_experts_per_tok"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantization_config"),
        ({"kv_lora_rank": 512}, "qk_nope_head_dim"),
    ],
)
def test_an_unknown_layout_is_an_error_that_names_the_field(change: dict[str, object], field: str) -> None:
    config = {key: value for key, value in {**DENSE, **change}.items() if value is not None}
    with pytest.raises(NotEstimable) as said:
        model_facts.from_config(config)
    assert said.value.field == field or field in str(said.value)
    assert said.value.remedy


@pytest.mark.parametrize("model", ["Llama-3.1-8B", "Qwen3-30B-A3B", "Mixtral-8x7B", "DeepSeek-V3", "gpt-oss-20b"])
def test_an_architecture_stated_in_a_resource_tells_what_config_json_tells(model: str) -> None:
    written = tables.published_architecture(model)
    assert written is not None
    stated = Architecture.model_validate(written.wire())
    assert model_facts.from_architecture(stated, model) == tables.published_model(model)


def test_kv_heads_and_head_size_have_the_usual_defaults() -> None:
    stated = Architecture(layers=2, hidden_size=64, heads=8, intermediate_size=128, vocabulary=100)
    facts = model_facts.from_architecture(stated, "small")
    assert (facts.kv_heads, facts.head_dim, facts.kv_values) == (8, 8, 128)


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_hidden_layers", 1_000_000), ("n_shared_experts", "many"), ("layer_types", 7), ("vocab_size", 10**9)],
)
def test_a_config_out_of_bounds_is_an_error_with_a_remedy(field: str, value: object) -> None:
    config = {**DENSE, "num_experts": 8, "num_experts_per_tok": 2, field: value}
    with pytest.raises(NotEstimable) as said:
        model_facts.from_config(config)
    assert said.value.remedy
