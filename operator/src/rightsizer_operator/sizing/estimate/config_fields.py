"""Single fields of a ``config.json``, read or refused by name. Called by ``model_config`` and its parts."""

from collections.abc import Mapping
from typing import Any

from rightsizer_operator.sizing.estimate.failures import NotEstimable

REMEDY = "Measure this model instead (search.strategy: Thorough); only known layouts can be estimated."
NESTED = ("thinker_config", "text_config", "language_config", "llm_config")
"""Where models of several modalities keep their language model; the first may hold one of the others."""


def text_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of the language model, laid over those at the top; null ones count as absent."""
    found = config
    for key in NESTED:
        inner = mapping(found, key)
        if inner:
            found = {**found, **{name: value for name, value in inner.items() if value is not None}}
    return found


def refused(field: str, problem: str) -> NotEstimable:
    """A layout that the estimator does not know."""
    return NotEstimable(field, problem, REMEDY)


def whole(text: Mapping[str, Any], field: str, default: int | None = None) -> int:
    """A positive whole number; raises NotEstimable where it is missing without a default, or something else."""
    value = text.get(field)
    if value is None and default is not None:
        return default
    if value is None:
        raise NotEstimable(field, "is missing", f"Add {field} to config.json, or state spec.model.architecture.")
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        problem = f"{_shown(value)} is no positive whole number"
        raise NotEstimable(field, problem, f"Correct {field} in config.json, or state spec.model.architecture.")
    return value


def count(text: Mapping[str, Any], field: str) -> int:
    """The same, or 0 where the field is absent, null, 0 or false."""
    return whole(text, field) if text.get(field) else 0


def mapping(text: Mapping[str, Any], field: str, where: str = "") -> Mapping[str, Any]:
    """An object; an empty one where the field is absent or null. ``where``: the path before the field."""
    value = text.get(field)
    if value is not None and not isinstance(value, Mapping):
        raise refused(f"{where}{field}", f"{_shown(value)} is no object")
    return value or {}


def _shown(value: object) -> str:
    return repr(str(value)[:60])
