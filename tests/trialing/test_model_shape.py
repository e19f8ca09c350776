"""What a trial tells of the model gives the estimator the same facts as the config.json it stands for, in a few hundred
bytes.
"""

import importlib.resources
import json

import pytest

from rightsizer_jobs.trial.model_shape import LIMIT_BYTES, shape
from rightsizer_operator.sizing.estimate import model_facts
from rightsizer_operator.sizing.estimate.failures import NotEstimable

MODELS = json.loads(
    importlib.resources.files("rightsizer_operator.sizing.estimate").joinpath("models.json").read_text(encoding="utf-8")
)["models"]
GEMMA = {
    "text_config": {
        "hidden_size": 5376, "intermediate_size": 21_504, "num_attention_heads": 32, "num_hidden_layers": 62,
        "num_key_value_heads": 16, "head_dim": 128, "vocab_size": 262_208, "sliding_window": 1024,
        "layer_types": [("full_attention" if n % 6 == 5 else "sliding_attention") for n in range(62)],
    },
    "vision_config": {"hidden_size": 1152, "num_attention_heads": 16},
}  # fmt: skip
COMPRESSED = {
    **MODELS[0]["config"],
    "quantization_config": {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"weights": {"type": "int", "num_bits": 8, "strategy": "channel"}}},
        "kv_cache_scheme": {"num_bits": 8, "type": "float"},
        "ignore": ["lm_head"] * 200,
    },
}
DENSE_IN_MOE = {**next(one["config"] for one in MODELS if "moe" in json.dumps(one)), "mlp_only_layers": [0, 3, 7]}
CONFIGS = [*(one["config"] for one in MODELS), GEMMA, COMPRESSED, DENSE_IN_MOE]


@pytest.mark.parametrize("config", CONFIGS)
def test_the_estimator_reads_the_same_facts_from_it(config):
    told = shape(config)
    assert told is not None
    assert model_facts.from_config(json.loads(json.dumps(told)), "m") == model_facts.from_config(config, "m")


@pytest.mark.parametrize("config", CONFIGS)
def test_it_is_a_few_hundred_bytes(config):
    assert len(json.dumps(shape(config), separators=(",", ":"))) <= LIMIT_BYTES


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mamba_d_state", 128),
        ("state_size", 16),
        ("linear_attn_config", {"short_conv_kernel_size": 4}),
        ("attn_type_list", [0, 0, 1]),
        ("block_types", ["recurrent", "attention"]),
        ("layer_types", ["full_attention"] * 5),
    ],
)
def test_what_the_estimator_refuses_it_still_refuses(field, value):
    with pytest.raises(NotEstimable, match=field):
        model_facts.from_config(shape({**MODELS[0]["config"], field: value}))


def test_layers_that_all_attend_are_estimated_whatever_list_says_so():
    config = MODELS[0]["config"]
    told = shape({**config, "attn_type_list": [1] * config["num_hidden_layers"]})
    assert model_facts.from_config(json.loads(json.dumps(told)), "m") == model_facts.from_config(config, "m")


@pytest.mark.parametrize("nesting", ["text_config", "language_config", "llm_config"])
def test_the_language_model_of_several_modalities_is_told_with_its_quantization(nesting):
    inner = {**MODELS[0]["config"], "quantization_config": {"quant_method": "gptq", "bits": 4}}
    found = model_facts.from_config(shape({nesting: inner, "vision_config": {"hidden_size": 1}}), "m")
    assert found == model_facts.from_config(inner, "m")
    assert found.weights == "INT4"


def test_a_config_of_nothing_known_is_told_as_empty_and_one_too_long_not_at_all():
    assert shape({"text": "x" * 5000}) == {}
    assert shape({"layer_types": [f"kind-{n}" * 4 for n in range(100)]}) is None
