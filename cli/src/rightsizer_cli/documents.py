"""Kubernetes manifests in files, and values in them that know where they stand. Called by ``plan``, ``target`` and
``infdep_file``.

What a user wrote may be of any type: whoever reads a field asks for the type it wants, and a fault names file and
field.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from rightsizer_cli.failure import REFUSED, USAGE, Failure
from rightsizer_cli.files import named, text_of

_TYPES = {bool: "true or false", list: "a list", dict: "a mapping", date: "a date", datetime: "a date"}


@dataclass(frozen=True, slots=True)
class Place:
    """A value of a manifest with its file and its field; a whole document has no field."""

    file: str
    field: str
    value: object

    def at(self, *keys: str) -> "Place":
        """The value under those keys, None where there is none; raises Failure where something on the way is no
        mapping."""
        place = self
        for key in keys:
            field = f"{place.field}.{key}" if place.field else key
            place = Place(place.file, field, place.mapping().get(key))
        return place

    def mapping(self) -> dict[Any, Any]:
        """Empty where the value is absent."""
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            raise self.wrong("a mapping of fields")
        return self.value

    def items(self) -> list["Place"]:
        """Entries of a list; none where it is absent."""
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        return [Place(self.file, f"{self.field}[{index}]", one) for index, one in enumerate(self.value)]

    def text(self) -> str:
        """Empty where the value is absent."""
        if self.value is None:
            return ""
        if not isinstance(self.value, str):
            raise self.wrong("text", "Write it in quotes.")
        return self.value

    @property
    def kind(self) -> str:
        found = self.mapping().get("kind")
        return found if isinstance(found, str) else ""

    @property
    def name(self) -> str:
        return self.at("metadata", "name").text()

    def wrong(self, wanted: str, remedy: str = "Correct the field.") -> Failure:
        """The failure of a value that is of another type."""
        return self.refused(f"is {_described(self.value)}, must be {wanted}", remedy)

    def refused(self, said: str, remedy: str) -> Failure:
        return Failure(REFUSED, f"{named(self.file)}: {self.field or 'document'}: {said}", remedy)


def _described(value: object) -> str:
    """Short texts and numbers as they are, anything else by its type: it may be huge."""
    if isinstance(value, str):
        return repr(value[:60])
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value) if -1_000_000_000 < value < 1_000_000_000 else "a number beyond reason"
    return _TYPES.get(type(value), "of another type")


def of_files(paths: Sequence[str]) -> list[Place]:
    """All documents of all files, lists unfolded; raises Failure."""
    return [one for path in paths for document in _loaded(path) for one in _unfolded(Place(path, "", document))]


def _loaded(path: str) -> list[object]:
    import yaml  # 50 ms: only where it is needed

    text = text_of(path)
    try:
        return list(yaml.safe_load_all(text))
    except RecursionError:
        said = f"{named(path)} is nested too deeply"
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the latter two: numbers and dates beyond Python's
        said = f"{named(path)} is no YAML: {' '.join(str(error).split())}"
    raise Failure(USAGE, said, "Give manifests as for kubectl apply -f.")


def _unfolded(document: Place) -> Iterator[Place]:
    if not isinstance(document.value, dict):
        return
    if document.kind == "List" or (document.kind.endswith("List") and "items" in document.value):
        yield from (_entry(document, item) for item in document.at("items").items())
    else:
        yield document


def _entry(found: Place, item: Place) -> Place:
    """A document of a list; the entries of a typed list (``DeploymentList``) leave out what they are."""
    said = {"kind": found.kind.removesuffix("List"), "apiVersion": found.mapping().get("apiVersion")}
    body = {**(said if said["kind"] else {}), **item.mapping()}
    return Place(item.file, "", body)
