"""Layouts in config.json: those that the estimator does not know are refused by name, those that a model's class
implies are read as it implies them.
"""

import pytest

from rightsizer_operator.sizing.estimate import model_config, model_facts
from rightsizer_operator.sizing.estimate.failures import NotEstimable

DENSE = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "hidden_act": "silu",
    "max_position_embeddings": 8192,
}  # fmt: skip
GEMMA_2 = {
    "model_type": "gemma2", "hidden_size": 3584, "num_hidden_layers": 42, "num_attention_heads": 16,
    "num_key_value_heads": 8, "head_dim": 256, "intermediate_size": 14336, "vocab_size": 256000,
    "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 4096, "max_position_embeddings": 8192,
}  # fmt: skip
LLAMA_4 = {
    "model_type": "llama4",
    "text_config": {
        "model_type": "llama4_text", "attention_chunk_size": 8192, "head_dim": 128, "hidden_act": "silu",
        "hidden_size": 5120, "interleave_moe_layer_step": 2, "intermediate_size": 8192, "intermediate_size_mlp": 16384,
        "no_rope_layers": [], "num_attention_heads": 40, "num_experts_per_tok": 1, "num_hidden_layers": 48,
        "num_key_value_heads": 8, "num_local_experts": 128, "tie_word_embeddings": False, "vocab_size": 202048,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"attn_type_list": [0, 1] * 16}, "attn_type_list"),
        ({"block_types": ["recurrent", "recurrent", "attention"]}, "block_types"),
        ({"_block_types": ["recurrent", "attention"]}, "_block_types"),
        ({"layers_block_type": ["mamba", "hybrid"]}, "layers_block_type"),
        ({"linear_attn_config": {"kda_layers": [1, 2, 3]}}, "linear_attn_config"),
        ({"state_size": 16}, "state_size"),
        ({"model_type": "bert"}, "model_type"),
        ({"model_type": "xlm-roberta", "is_decoder": False}, "model_type"),
        ({"model_type": "acme", "architectures": ["AcmeForMaskedLM"]}, "architectures"),
        ({"layer_types": ["full_attention"] * 5}, "layer_types"),
        ({"layer_types": {"full_attention": 33}}, "layer_types"),
        ({"layer_types": "linear_attention"}, "layer_types"),
        ({"layer_types": {"full_attention": "x"}}, "full_attention"),
        ({"text_config": "x"}, "text_config"),
        ({"num_experts": -8}, "num_experts"),
        ({"moe_num_experts": [64, 64]}, "moe_num_experts"),
        ({"sliding_window": 128, "sliding_window_pattern": -3}, "sliding_window_pattern"),
        ({"quantization_config": "fp8"}, "quantization_config"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 3}}, "quantization_config.bits"),
        ({"quantization_config": {"quant_method": "awq", "bits": 2}}, "quantization_config.bits"),
        ({"quantization_config": {"quant_method": "x", "config_groups": [1]}}, "quantization_config.config_groups"),
        ({"quantization_config": {"config_groups": {"g": "x"}}}, "quantization_config.config_groups.g"),
        ({"quantization_config": {"config_groups": {"g": {"weights": 8}}}},
         "quantization_config.config_groups.g.weights"),
        ({"quantization_config": {"quant_method": "fp8", "kv_cache_scheme": "x"}},
         "quantization_config.kv_cache_scheme"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused_by_name(change: dict[str, object], field: str) -> None:
    with pytest.raises(NotEstimable) as said:
        model_facts.from_config({**DENSE, **change})
    assert said.value.field == field
    assert said.value.remedy


@pytest.mark.parametrize(
    "change",
    [
        {"attn_type_list": [1] * 32},
        {"model_type": "bert", "is_decoder": True},
        {"layer_types": ["full_attention"] * 32},
        {"layer_types": {"full_attention": 32}},
        {"state_size": None},
        {"quantization_config": {}},
        {"rope_scaling": None},
    ],
)
def test_fields_that_tell_of_plain_attention_change_nothing(change: dict[str, object]) -> None:
    plain = model_facts.from_config(DENSE, "m")
    assert model_facts.from_config({**DENSE, **change}, "m") == plain


def test_eight_bits_of_awq_are_int8() -> None:
    config = {**DENSE, "quantization_config": {"quant_method": "awq", "bits": 8}}
    assert model_facts.from_config(config).weights == "INT8"


@pytest.mark.parametrize("place", ["text_config", "language_config", "llm_config", "thinker_config"])
def test_the_language_model_and_its_quantization_are_found_in_every_nesting(place: str) -> None:
    facts = model_facts.from_config({place: {**DENSE, "quantization_config": {"quant_method": "fp8"}}})
    assert (facts.layers, facts.weights) == (32, "FP8")


def test_a_language_model_may_lie_two_deep() -> None:
    assert model_facts.from_config({"thinker_config": {"text_config": DENSE}}).layers == 32


def test_a_quantization_at_the_top_holds_for_the_language_model() -> None:
    whole = {"quantization_config": {"quant_method": "fp8"}, "text_config": {**DENSE, "quantization_config": None}}
    assert model_facts.from_config(whole).weights == "FP8"


def test_a_missing_field_is_to_be_added_to_the_file_that_was_given() -> None:
    with pytest.raises(NotEstimable) as said:
        model_facts.from_config({key: value for key, value in DENSE.items() if key != "vocab_size"})
    assert said.value.remedy == "Add vocab_size to config.json, or state spec.model.architecture."


def test_gemma_2_ties_its_embeddings_and_slides_in_every_other_layer() -> None:
    facts = model_facts.from_config(GEMMA_2)
    assert (facts.linear_params + facts.embedding_params) / 1e9 == pytest.approx(9.24, rel=0.003)
    assert (facts.tied_embeddings, facts.sliding_layers) == (True, 21)


@pytest.mark.parametrize(("model_type", "layers", "sliding"), [("gemma3_text", 62, 52), ("cohere2", 40, 30)])
def test_other_models_slide_in_all_but_every_so_many_layers(model_type: str, layers: int, sliding: int) -> None:
    facts = model_facts.from_config({**DENSE, "model_type": model_type, "num_hidden_layers": layers,
                                     "sliding_window": 1024})  # fmt: skip
    assert (facts.sliding_layers, facts.tied_embeddings) == (sliding, True)


def test_what_the_config_says_goes_before_what_its_class_implies() -> None:
    facts = model_facts.from_config({**GEMMA_2, "tie_word_embeddings": False, "sliding_window_pattern": 3})
    assert (facts.tied_embeddings, facts.sliding_layers) == (False, 28)


def test_llama_4_has_a_shared_expert_and_three_of_four_layers_in_chunks() -> None:
    facts = model_facts.from_config(LLAMA_4)
    assert (facts.linear_params + facts.embedding_params) / 1e9 == pytest.approx(400.7, rel=0.001)
    assert (facts.sliding_layers, facts.window) == (36, 8192)
    told = {**LLAMA_4["text_config"], "no_rope_layers": [1] * 24 + [0] * 24}  # type: ignore[dict-item]
    assert model_facts.from_config(told).sliding_layers == 24


@pytest.mark.parametrize(
    ("change", "longest"),
    [
        ({}, 8192),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}}, 131072),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2}}, 16384),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 512}}, 8192),
        ({"model_type": "gemma3_text", "rope_scaling": {"rope_type": "linear", "factor": 8.0}}, 8192),
        ({"rope_scaling": {"rope_type": "longrope", "long_factor": [1.0]}}, 8192),
    ],
)
def test_the_longest_context_is_the_larger_of_stated_and_scaled(change: dict[str, object], longest: int) -> None:
    assert model_config.architecture({**DENSE, **change}).longest == longest
