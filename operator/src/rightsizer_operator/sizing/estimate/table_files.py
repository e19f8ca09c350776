"""The layout of GPU and efficiency tables, the package's and a user's own: strict, so that a slip is said and not left
without effect. Called by ``tables``.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rightsizer_operator.sizing.estimate.failures import NotEstimable

Size = Annotated[float, Field(ge=1e-3, le=1e6)]
Speed = Annotated[float, Field(ge=0, le=1e6)]
Share = Annotated[float, Field(gt=0, le=1)]
Cost = Annotated[float, Field(gt=0, le=1e6)]
Name = Annotated[str, Field(min_length=1, max_length=63)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class GpuEntry(_Strict):
    """Units: ``gpus.json``."""

    name: Name
    memory_gib: Size
    bandwidth_gbs: Size
    bf16_tflops: Size
    link_gbs: Size
    compute_capability: Annotated[str, Field(min_length=1, max_length=16)]
    aliases: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    fp8_tflops: Speed = 0.0
    int8_tflops: Speed = 0.0
    fp4_tflops: Speed = 0.0
    price_hourly: Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,6})?$")] | None = None
    source: str = ""


class GpuTable(_Strict):
    gpus: list[GpuEntry]
    dated: str = ""
    sources: list[str] = []
    units: dict[str, str] = {}


class EfficiencyEntry(_Strict):
    """What each is: ``tables.Efficiencies``."""

    compute: Share
    compute_8bit: Share
    block_scaled: Share
    bandwidth: Share
    kv_bandwidth: Share
    attention: Share
    link: Share
    allreduce_us: Cost
    layer_us: Cost
    step_ms: Cost
    sequence_us: Cost
    request_ms: Cost
    token_us: Cost
    drift_tokens: Cost


class EfficiencyTable(_Strict):
    efficiencies: dict[str, EfficiencyEntry]
    dated: str = ""
    about: str = ""


Table = TypeVar("Table", GpuTable, EfficiencyTable)


def checked(kind: type[Table], document: Mapping[str, Any]) -> Table:
    """The document as a table; raises NotEstimable with the field at fault."""
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        remedy = _HINTS.get(str(first["loc"][-1]), _REMEDY)
        raise NotEstimable(_path(first["loc"]), _said(first["type"], first["msg"], first["input"]), remedy) from None


_REMEDY = "Lay the table out as the package's own: docs/estimator.md, Your own GPUs."
_HINTS = {
    "price_hourly": 'Write the price as text, e.g. "6.00", or leave it out.',
    "compute_capability": 'Write it as text, e.g. "10.0".',
}


def _path(parts: tuple[int | str, ...]) -> str:
    """``gpus[0].memory_gib``."""
    words = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts]
    return "".join(words).lstrip(".") or "the table"


def _said(kind: str, message: str, given: object) -> str:
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "is not known"
    if kind == "model_type":
        return f"{str(given)[:60]!r} is no object"
    return f"{str(given)[:60]!r}: {message[:1].lower()}{message[1:]}"
