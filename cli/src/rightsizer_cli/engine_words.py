"""The engine's command line in a container, with the numbers that an estimate needs. Called by ``target``.

Read by the operator's own reader: a plan refuses what the operator refuses, and never guesses.
"""

import re
from dataclasses import dataclass

from rightsizer_cli.documents import Place
from rightsizer_cli.failure import Failure
from rightsizer_operator.manifests import engine_command
from rightsizer_operator.manifests.engine_command import EngineCommand

QUANTIZATION = "--quantization"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineWords:
    """A command line, and where it stands."""

    container: Place
    command: EngineCommand

    def value(self, *names: str) -> str:
        """The value of the first of these flags that is set, empty where none is; raises Failure."""
        flag = next((found for name in names if (found := self.command.find(name))), None)
        if flag is None:
            return ""
        value = flag.values[0] if flag.values else ""
        if not value:
            raise self.container.refused(f"{flag.spelled} has no value", "Write its value behind it.")
        if "$(" in value:
            raise self.container.refused(
                f"{flag.spelled} {value[:60]!r} is a variable, which is not read", "Write the value."
            )
        return value

    def positive(self, *names: str, most: int = 1_000_000) -> int | None:
        """A whole number from 1; None where no such flag is set; raises Failure."""
        value = self.value(*names)
        if not value:
            return None
        found = int(value) if re.fullmatch(r"[0-9]{1,7}", value) else 0
        if not 1 <= found <= most:
            raise self.refused(f"is no whole number from 1 to {most}", *names)
        return found

    def share(self, *names: str) -> float | None:
        """A share above 0 and up to 1; None where no such flag is set; raises Failure."""
        value = self.value(*names)
        if not value:
            return None
        found = float(value) if re.fullmatch(r"[0-9]*\.?[0-9]+", value[:20]) else 0.0
        if not 0 < found <= 1:
            raise self.refused("is no share above 0 and up to 1", *names)
        return found

    def refused(self, why: str, *names: str, remedy: str = "Write the value that the engine shall have.") -> Failure:
        name = next(name for name in names if self.command.find(name))
        return self.container.refused(f"{name} {self.value(name)[:60]!r} {why}", remedy)


def read(container: Place) -> EngineWords:
    """Raises Failure for what is no engine that Rightsizer knows, or cannot be read for certain."""
    given = {
        "name": container.at("name").text(),
        "image": container.at("image").text(),
        "command": [word.text() for word in container.at("command").items()],
        "args": [word.text() for word in container.at("args").items()],
    }
    try:
        command = engine_command.parse(given)
    except engine_command.Refused as refused:
        raise container.refused(
            refused.message, "Write the engine's command line so that the operator can read it."
        ) from None
    joined = next((flag.spelled for flag in command.flags if re.search(r"\s", flag.spelled)), "")
    if joined:
        raise container.refused(f"{joined[:60]!r} is one word", "Write flag and value as two words, or with =.")
    return EngineWords(container=container, command=command)
