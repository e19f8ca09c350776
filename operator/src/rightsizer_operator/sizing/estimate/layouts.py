"""Which layers a ``config.json`` describes: those the estimator does not know are refused, those with a sliding window
are counted. Called by ``model_config``.

Defaults are those of the models' classes in transformers 5.19: a published ``config.json`` leaves out what equals them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rightsizer_operator.resource.architecture import SlidingWindow
from rightsizer_operator.sizing.estimate.config_fields import count, refused, whole

FULL, SLIDING = ("full_attention",), ("sliding_attention", "chunked_attention")
TIED = ("gemma", "gemma2", "gemma3", "gemma3_text", "cohere", "cohere2")
"""Model types whose output layer is the embedding unless the config says otherwise."""
_STATE_SPACE = (
    "ssm_state_size", "mamba_d_state", "mamba_num_heads", "linear_num_value_heads", "rwkv_version", "d_state",
    "state_size", "linear_attn_config",
)  # fmt: skip
_LISTED: dict[str, tuple[object, ...]] = {
    "attn_type_list": (1, "1"), "block_types": ("attention",), "_block_types": ("attention",),
    "layers_block_type": ("attention",),
}  # fmt: skip
"""Lists that name each layer's kind, and the kinds that are attention."""
_ENCODERS = (
    "albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "eurobert", "modernbert", "mpnet",
    "nomic_bert", "roberta", "xlm-roberta",
)  # fmt: skip
_PERIOD = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "cohere2": 4, "gpt_oss": 2, "llama4": 4, "llama4_text": 4}
"""Every so many layers one attends to everything, where the config does not say which."""


def refuse_unknown(text: Mapping[str, Any]) -> None:
    """Raises NotEstimable with the field that tells of layers the estimator does not know."""
    if text.get("is_encoder_decoder"):
        raise refused("is_encoder_decoder", "encoder-decoder models are not known to the estimator")
    _refuse_encoders(text)
    for field in _STATE_SPACE:
        if text.get(field):
            raise refused(field, "state-space and linear-attention layers are not known to the estimator")
    for field, attention in _LISTED.items():
        for kind in _kinds(text, field):
            if kind not in attention:
                raise refused(field, f"{str(kind)[:60]!r} is not known to the estimator")
    for kind in _kinds(text, "layer_types"):
        if kind not in FULL + SLIDING:
            raise refused("layer_types", f"{str(kind)[:60]!r} is not known to the estimator")


def _refuse_encoders(text: Mapping[str, Any]) -> None:
    if text.get("is_decoder"):
        return
    if text.get("model_type") in _ENCODERS:
        raise refused("model_type", f"{text['model_type']!r} is an encoder: it generates nothing")
    for name in _kinds(text, "architectures"):
        if str(name).endswith("ForMaskedLM"):
            raise refused("architectures", f"{str(name)[:60]!r} is an encoder: it generates nothing")


def _kinds(text: Mapping[str, Any], field: str) -> Sequence[object]:
    """The kinds a list names, or those that a trial's report counts."""
    value = text.get(field) or ()
    if not isinstance(value, list | tuple | Mapping):
        raise refused(field, f"{str(value)[:60]!r} is no list")
    return tuple(value)


def window(text: Mapping[str, Any], layers: int) -> SlidingWindow | None:
    """Layers with a sliding window or chunks, and their tokens; raises NotEstimable."""
    stated = _stated_layers(text, layers)
    field = "sliding_window" if text.get("sliding_window") else "attention_chunk_size"
    if not text.get(field) or text.get("use_sliding_window") is False:
        return None
    sliding = _by_period(text, layers) if stated is None else stated
    return SlidingWindow(tokens=whole(text, field), layers=sliding) if sliding else None


def _stated_layers(text: Mapping[str, Any], layers: int) -> int | None:
    """How many layers are said to have a window; None: which ones is not said."""
    kinds = text.get("layer_types")
    if not kinds:
        return None
    counts = {kind: whole(kinds, kind) for kind in kinds} if isinstance(kinds, Mapping) else None
    told = sum(counts.values()) if counts else len(kinds)
    if told != layers:
        raise refused("layer_types", f"tells of {told} layers, num_hidden_layers of {layers}")
    return sum(number for kind, number in counts.items() if kind in SLIDING) if counts else _sliding(kinds)


def _sliding(kinds: Sequence[object]) -> int:
    return sum(kind in SLIDING for kind in kinds)


def _by_period(text: Mapping[str, Any], layers: int) -> int:
    roped = text.get("no_rope_layers")
    if roped and isinstance(roped, list):  # Llama 4: layers with rotary embeddings attend in chunks
        return sum(bool(one) for one in roped[:layers])
    period = count(text, "no_rope_layer_interval") or count(text, "sliding_window_pattern")
    period = period or _PERIOD.get(str(text.get("model_type")), 0)
    return layers - layers // period if period > 1 else layers
