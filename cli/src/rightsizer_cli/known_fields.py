"""Misspelt fields of a spec: kubectl refuses them when it applies a file, so a plan of the file does too. Called by
``infdep_file``.

Which fields there are comes from the types of ``rightsizer_operator.resource``; objects of a cluster may hold fields of
newer versions and are not looked at here.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import get_args, get_origin

from pydantic import BaseModel

from rightsizer_cli.documents import Place
from rightsizer_cli.failure import Failure


def refuse_unknown(place: Place, model: type[BaseModel]) -> None:
    """Raises Failure for a field that the type does not have, with the nearest one that it has."""
    if not isinstance(place.value, dict):
        return  # of the wrong type altogether: the parser says it
    fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    for key, value in place.value.items():
        if key not in fields:
            raise _unknown(place, str(key), tuple(fields))
        for inner in _models(fields[key]):
            for part in _parts(Place(place.file, f"{place.field}.{key}", value)):
                refuse_unknown(part, inner)


def _parts(place: Place) -> list[Place]:
    return place.items() if isinstance(place.value, list) else [place]


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """Types with fields of their own in an annotation; what a map holds has keys of the user's."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    origin = get_origin(annotation)
    if not (isinstance(origin, type) and issubclass(origin, Mapping)):
        for argument in get_args(annotation):
            yield from _models(argument)


def _unknown(place: Place, key: str, known: tuple[str, ...]) -> Failure:
    lowered = {name.lower(): name for name in known}
    near = difflib.get_close_matches(key.lower(), lowered, n=1)
    said = f"did you mean {lowered[near[0]]}?" if near else f"{place.field} has {', '.join(known)}"
    return Place(place.file, f"{place.field}.{key[:60]}", None).refused(f"is no field; {said}", "Correct the field.")
