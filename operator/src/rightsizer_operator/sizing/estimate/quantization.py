"""In which format a checkpoint holds weights and cache, by ``quantization_config`` of its ``config.json``. Called by
``model_config``.

A format it does not know is an error that names the field.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rightsizer_operator.sizing.estimate.config_fields import mapping, refused

Format = Literal["BF16", "FP8", "INT8", "INT4", "FP4"]
FIELD = "quantization_config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    weights: Format = "BF16"
    block_scaled: bool = False
    kv_cache: Literal["BF16", "FP8"] = "BF16"


def quantized(text: Mapping[str, Any]) -> Quantized:
    """Raises NotEstimable."""
    found = mapping(text, FIELD)
    if not found:
        return Quantized()
    return Quantized(weights=_weights(found), block_scaled=bool(found.get("weight_block_size")), kv_cache=_kv(found))


_METHODS: dict[str, Format] = {"fp8": "FP8", "fbgemm_fp8": "FP8", "mxfp4": "FP4", "nvfp4": "FP4"}
_BY_BITS = ("gptq", "awq")
_BITS: dict[object, Format] = {4: "INT4", 8: "INT8"}


def _weights(found: Mapping[str, Any]) -> Format:
    method = str(found.get("quant_method", "")).lower()
    algorithm = str(found.get("quant_algo", "")).lower()
    for word in (method, algorithm.partition("_")[0]):
        if word in _BY_BITS:
            return _integers(found, word)
        if word in _METHODS:
            return _METHODS[word]
    return _compressed(found)


def _integers(found: Mapping[str, Any], method: str) -> Format:
    bits = found.get("bits")
    if bits is None:
        return "INT4"
    if isinstance(bits, bool) or not isinstance(bits, int) or bits not in _BITS:
        raise refused(f"{FIELD}.bits", f"{str(bits)[:60]!r} of {method}; 4 and 8 are known to the estimator")
    return _BITS[bits]


_NUMBERS: dict[str, Format] = {"float8": "FP8", "int8": "INT8", "int4": "INT4", "float4": "FP4"}


def _compressed(found: Mapping[str, Any]) -> Format:
    """Format of a compressed-tensors checkpoint, from its first group with weights."""
    groups = mapping(found, "config_groups", f"{FIELD}.")
    for name in groups:
        where = f"{FIELD}.config_groups."
        weights = mapping(mapping(groups, name, where), "weights", f"{where}{name}.")
        known = _NUMBERS.get(f"{weights.get('type')}{weights.get('num_bits')}")
        if known:
            return known
    raise refused(FIELD, "a weight format unknown to the estimator")


def _kv(found: Mapping[str, Any]) -> Literal["BF16", "FP8"]:
    algorithm = str(found.get("kv_cache_quant_algo") or "").upper()
    scheme = mapping(found, "kv_cache_scheme", f"{FIELD}.")
    return "FP8" if algorithm == "FP8" or scheme.get("num_bits") == 8 else "BF16"
