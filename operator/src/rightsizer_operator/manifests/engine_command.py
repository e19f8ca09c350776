"""A container's command line as a value: which engine, which model, which flags, in order; and back.

Called by ``baseline`` and ``serving``. Whatever a user wrote that is not changed on purpose comes back as it was
written. What cannot be read for certain (shells, unknown programs) is refused with a remedy, never guessed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from rightsizer_jobs.contract import EngineKind
from rightsizer_operator.manifests import Object, engine_flags
from rightsizer_operator.manifests.engine_flags import DIALECTS, Dialect
from rightsizer_operator.resource import reasons

ENGINES: tuple[EngineKind, ...] = get_args(EngineKind)
DEFAULT_PORT = 8000

SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh", "busybox"})
WRAPPERS = frozenset({"tini", "dumb-init", "numactl", "nice", "catchsegv", "nvidia_entrypoint.sh"})
VLLM_MODULES = frozenset({"vllm.entrypoints.openai.api_server", "vllm.entrypoints.launchers.api_server"})
PYTHON = re.compile(r"python(3(\.\d+)?)?")
NEGATIVE_NUMBER = re.compile(r"-\d+(\.\d*)?|-\.\d+")  # argparse reads these as values, not as flags


class Refused(Exception):
    """The target cannot be right-sized as it is: ``reason`` is one of ``resource.reasons``, ``message`` holds the
    remedy."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    name: str
    """Canonical: long and dashed."""
    values: tuple[str, ...] = ()
    spelled: str
    """As the user wrote it."""
    joined: bool = False
    """``--flag=value`` in one word."""

    def words(self) -> tuple[str, ...]:
        return (f"{self.spelled}={self.values[0]}",) if self.joined else (self.spelled, *self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCommand:
    engine: EngineKind
    command: tuple[str, ...] = ()
    """The container's command: program words only, flags are in ``flags``. Empty: the image's entrypoint."""
    program: tuple[str, ...] = ()
    """Program words that stand in the container's args."""
    positional: str | None = None
    """The model where it is given without ``--model``."""
    flags: tuple[Flag, ...] = ()

    @property
    def dialect(self) -> Dialect:
        return DIALECTS[self.engine]

    @property
    def model(self) -> str:
        return self.positional if self.positional is not None else self.value(engine_flags.MODEL) or ""

    @property
    def served_model_name(self) -> str:
        """First name that the API answers to; the engines' own default where no flag says it."""
        given = self.value(engine_flags.SERVED_MODEL_NAME)
        if given is not None:
            return given
        if self.engine == "TensorRTLLM" and self.model.startswith("/"):
            return self.model.rstrip("/").rpartition("/")[2]
        return self.model

    @property
    def host(self) -> str:
        return self.value(engine_flags.HOST) or ("localhost" if self.engine == "TensorRTLLM" else "0.0.0.0")  # noqa: S104

    @property
    def port(self) -> str:
        """As written: a number, or a reference to a variable."""
        return self.value(engine_flags.PORT) or str(DEFAULT_PORT)

    def find(self, name: str) -> Flag | None:
        """The flag of that canonical name that counts: the last one."""
        return next((flag for flag in reversed(self.flags) if flag.name == name), None)

    def value(self, name: str) -> str | None:
        flag = self.find(name)
        return flag.values[0] if flag and flag.values else None

    def with_flag(self, name: str, *values: str) -> "EngineCommand":
        """The flag set, where it stood first and as it was spelled, else at the end; further ones of that name go."""
        flag = self._flag(name, values)
        at = next((index for index, old in enumerate(self.flags) if old.name == name), len(self.flags))
        before = self.flags[:at]
        after = tuple(old for old in self.flags[at:] if old.name != name)
        return replace(self, flags=(*before, flag, *after))

    def without(self, *names: str) -> "EngineCommand":
        return replace(self, flags=tuple(flag for flag in self.flags if flag.name not in names))

    def with_model(self, model: str) -> "EngineCommand":
        if self.positional is not None:
            return replace(self, positional=model)
        return self.with_flag(engine_flags.MODEL, model)

    def _flag(self, name: str, values: tuple[str, ...]) -> Flag:
        old = next((flag for flag in self.flags if flag.name == name), None)
        if old is None:
            return Flag(name=name, values=values, spelled=self.dialect.spell(name))
        return replace(old, values=values, joined=old.joined and len(values) == 1)


def parse(container: Object) -> EngineCommand:
    """Read image, command and args of a container; raises Refused."""
    command: tuple[str, ...] = tuple(container.get("command") or ())
    args: tuple[str, ...] = tuple(container.get("args") or ())
    words = command + args
    name = str(container.get("name", ""))
    found = _program(words)
    # A shell can only stand before the engine; behind it, "/models/bash" is somebody's model.
    _refuse_shell(words[: found[1] if found else 4], name)
    if found is None:
        engine, length = _from_image(container, words, name), 0
    else:
        engine, length = found
    program = args[: max(0, length - len(command))]
    rest = words[max(length, len(command)) if program else length :]
    command = command if program else command[:length]
    positional, flags = _flags(rest, DIALECTS[engine], name)
    parsed = EngineCommand(engine=engine, command=command, program=program, positional=positional, flags=flags)
    if not parsed.model and not (engine == "VLLM" and parsed.find(engine_flags.CONFIG)):
        raise Refused(
            reasons.NOT_AN_ENGINE,
            f"container {name!r} starts {engine} without naming a model; give the model in its args",
        )
    return parsed


def render(command: EngineCommand) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Command and args of the container. An empty command means the image's entrypoint, as found."""
    model = () if command.positional is None else (command.positional,)
    flags = tuple(word for flag in command.flags for word in flag.words())
    return command.command, (*command.program, *model, *flags)


def image_engine(image: str) -> EngineKind | None:
    """The engine an image is of, judged by its repository name (tag, digest and registry do not count)."""
    parts = re.sub(r"[_.]", "-", image.partition("@")[0].lower()).split("/")
    names = [part.partition(":")[0] for part in (parts[1:] if len(parts) > 1 else parts)]
    if any("tensorrt-llm" in name or "trtllm" in name or "tensorrtllm" in name for name in names):
        return "TensorRTLLM"
    return "VLLM" if any("vllm" in name for name in names) else None


def _refuse_shell(words: Sequence[str], name: str) -> None:
    if any(_basename(word) in SHELLS for word in words):
        raise Refused(
            reasons.SHELL_WRAPPED,
            f"container {name!r} starts its engine through a shell ({' '.join(words[:3])[:120]} ...): "
            "write the engine's own words as lists, "
            'e.g. command: ["vllm", "serve"], args: ["/models/m", "--port=8000"]',
        )


def _program(words: Sequence[str]) -> tuple[EngineKind, int] | None:
    """The engine and the number of words up to its first argument, wrappers included."""
    starts = range(len(words)) if words and _basename(words[0]) in WRAPPERS else range(min(1, len(words)))
    for start in starts:
        found = _engine_at(words, start)
        if found is not None:
            return found
    return None


def _engine_at(words: Sequence[str], start: int) -> tuple[EngineKind, int] | None:
    at = start
    if PYTHON.fullmatch(_basename(words[at])):
        at += 1
        while at < len(words) and words[at] in ("-u", "-O", "-B", "-I", "-s", "-E"):
            at += 1
        if at + 1 < len(words) and words[at] == "-m":
            return _module(words, at + 1)
    word, following = (_basename(words[at]) if at < len(words) else ""), words[at + 1 : at + 2]
    if word == "vllm" and tuple(following) == ("serve",):
        return "VLLM", at + 2
    if word == "trtllm-serve":
        return _trtllm(words, at + 1)
    return None


def _module(words: Sequence[str], at: int) -> tuple[EngineKind, int] | None:
    if words[at] in VLLM_MODULES:
        return "VLLM", at + 1
    if words[at] == "vllm.entrypoints.cli.main" and tuple(words[at + 1 : at + 2]) == ("serve",):
        return "VLLM", at + 2
    if words[at] == "tensorrt_llm.commands.serve":
        return _trtllm(words, at + 1)
    return None


def _trtllm(words: Sequence[str], at: int) -> tuple[EngineKind, int] | None:
    following = words[at] if at < len(words) else ""
    if following in ("disaggregated", "disaggregated_mpi_worker", "mm_embedding_serve", "grpc"):
        return None
    return "TensorRTLLM", at + (following == "serve")


def _from_image(container: Object, words: Sequence[str], name: str) -> EngineKind:
    """The engine where the words name no program: the image's entrypoint must be it."""
    image = str(container.get("image", ""))
    if container.get("command"):
        raise Refused(
            reasons.NOT_AN_ENGINE,
            f"container {name!r} starts {' '.join(words[:2])[:120]!r}, which is no engine Rightsizer knows "
            "(vllm serve, python -m vllm.entrypoints.openai.api_server, trtllm-serve): "
            "name the engine's container in spec.targetRef.container",
        )
    engine = image_engine(image)
    if engine is None:
        raise Refused(
            reasons.UNKNOWN_ENGINE_IMAGE,
            f"container {name!r} has no command and its image {image[:200]!r} is of no engine Rightsizer knows: "
            'state the engine in the container, e.g. command: ["vllm", "serve"]',
        )
    if engine == "TensorRTLLM":
        raise Refused(
            reasons.NOT_AN_ENGINE,
            f"container {name!r} does not start trtllm-serve, and its image starts no server by itself: "
            'give args: ["trtllm-serve", "<model>", ...]',
        )
    return engine


def _flags(words: Sequence[str], dialect: Dialect, name: str) -> tuple[str | None, tuple[Flag, ...]]:
    positional: str | None = None
    flags: list[Flag] = []
    at = 0
    while at < len(words):
        if _is_flag(words[at]):
            flag, at = _flag_at(words, at, dialect, name)
            flags.append(flag)
        elif positional is None:
            positional, at = words[at], at + 1
        else:
            raise _unreadable(name, words[at], "belongs to no flag")
    return positional, tuple(flags)


def _flag_at(words: Sequence[str], at: int, dialect: Dialect, container: str) -> tuple[Flag, int]:
    """The flag at that word and the index after it."""
    spelled, equals, value = words[at].partition("=")
    name = dialect.canonical(spelled)
    if any(full.startswith(name) and full != name for full in dialect.unabbreviated if name.startswith("--")):
        raise _unreadable(container, spelled, "is an abbreviation; write the flag's full name")
    if equals:
        return Flag(name=name, values=(value,), spelled=spelled, joined=True), at + 1
    end = at + 1
    if dialect.takes_value(name):
        limit = len(words) if name in dialect.several else min(len(words), at + 2)
        while end < limit and not _is_flag(words[end]):
            end += 1
    return Flag(name=name, values=tuple(words[at + 1 : end]), spelled=spelled), end


def _is_flag(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not NEGATIVE_NUMBER.fullmatch(word)


def _unreadable(container: str, word: str, why: str) -> Refused:
    return Refused(reasons.UNSUPPORTED_ENGINE_FLAG, f"container {container!r}: argument {word[:120]!r} {why}")


def _basename(word: str) -> str:
    return word.rpartition("/")[2]
