"""The InferenceDeployment of the files, parsed. Called by ``plan``."""

from collections.abc import Mapping, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rightsizer_cli.documents import Place
from rightsizer_cli.failure import USAGE, Failure
from rightsizer_cli.known_fields import refuse_unknown
from rightsizer_operator.resource.spec import InferenceDeploymentSpec

KIND, API_VERSION = "InferenceDeployment", "rightsizer.dev/v1alpha1"


def the_infdep(documents: Sequence[Place]) -> tuple[str, InferenceDeploymentSpec]:
    """Name and spec of the one InferenceDeployment; raises Failure with the field at fault."""
    found = [one for one in documents if one.kind == KIND]
    if len(found) != 1:
        remedy = "Give one InferenceDeployment with -f, e.g. examples/llama-70b.yaml."
        raise Failure(USAGE, f"{len(found)} {KIND}s in the files, one is needed", remedy)
    document = found[0]
    refuse_other_version(document, API_VERSION)
    spec = document.at("spec")
    refuse_unknown(spec, InferenceDeploymentSpec)
    try:
        value = {} if spec.value is None else spec.value
        return document.name, InferenceDeploymentSpec.model_validate(value)
    except ValidationError as error:
        raise _invalid(document, error.errors()[0]) from None


def refuse_other_version(document: Place, wanted: str) -> None:
    """Raises Failure where the document is of another API version than the one that is read."""
    place = document.at("apiVersion")
    if place.text() != wanted:
        said = f"is {place.text()[:60]!r}" if place.value else "is missing"
        raise place.refused(f"{said}; of kind {document.kind}, {wanted} is read", f"Write apiVersion: {wanted}.")


def _invalid(document: Place, error: ErrorDetails) -> Failure:
    field = "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    said, remedy = _explained(error)
    return Place(document.file, field, None).refused(said, remedy)


def _explained(error: ErrorDetails) -> tuple[str, str]:
    """What is wrong and what to do; the parser's own words where nothing plainer is known."""
    given = error["input"]
    if error["type"] == "string_type" and isinstance(given, int | float):
        return "must be text", 'Write it in quotes, e.g. "5.5": quantities are decimal numbers as text.'
    if error["type"] == "literal_error" and isinstance(given, bool):
        return error["msg"], "Write it in quotes: YAML reads a bare Off, On, Yes or No as true or false."
    if error["type"] == "int_type":
        return "must be a whole number", "Write a whole number without quotes."
    if error["type"] in ("model_type", "model_attributes_type") and not isinstance(given, Mapping):
        return "must be a mapping of fields", _REMEDY
    return error["msg"].removeprefix("Value error, "), _REMEDY


_REMEDY = "Correct the field; kubectl explain infdep.spec tells what it holds."
