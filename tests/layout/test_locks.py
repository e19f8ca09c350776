"""The lock files of `requirements/` against what they were compiled from; no index is asked."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
LOCKS = REPOSITORY / "requirements"
MEMBERS = ("optimizer-jobs", "operator", "cli")
SOURCES = {
    "operator": ["operator[controller]"],
    "trial": ["optimizer-jobs[trial]"],
    "dev": ["operator[controller]", "optimizer-jobs[trial]", "cli"],
}


def asked(lock: str) -> list[Requirement]:
    """What a lock was compiled from, without the members themselves."""
    listed = LOCKS / f"{lock}.in"
    lines = listed.read_text().splitlines() if listed.exists() else []
    lines += [line for source in SOURCES.get(lock, []) for line in declared(source)]
    if lock == "dev":
        lines += tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    wanted = [Requirement(line.split(" #")[0]) for line in lines if line.split("#")[0].strip()]
    return [one for one in wanted if not one.name.startswith("rightsizer-")]


def declared(source: str) -> list[str]:
    """The dependencies of a member, `member` or `member[extra]`."""
    member, _, extra = source.rstrip("]").partition("[")
    project = tomllib.loads((REPOSITORY / member / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *(project["optional-dependencies"][extra] if extra else [])]


def pinned(lock: str) -> dict[str, str]:
    """{canonical name: version} of a lock."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (LOCKS / f"{lock}.txt").read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def names_of_locks() -> list[str]:
    return sorted(path.stem for path in LOCKS.glob("*.txt") if path.name != "heavy-overrides.txt")


@pytest.mark.parametrize("lock", names_of_locks())
def test_a_lock_holds_what_its_sources_ask_for(lock: str) -> None:
    wanted, versions = asked(lock), pinned(lock)
    assert wanted
    wrong = [str(one) for one in wanted if not one.specifier.contains(versions.get(canonicalize_name(one.name), "0"))]
    assert wrong == [], "compile it again: make requirements"


@pytest.mark.parametrize("lock", names_of_locks())
def test_everything_in_a_lock_has_a_hash_and_no_address(lock: str) -> None:
    text = (LOCKS / f"{lock}.txt").read_text()
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) >= len(pinned(lock)) > 0
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text


def test_every_lock_is_compiled_by_make_requirements() -> None:
    recipes = (REPOSITORY / "Makefile").read_text() + (LOCKS / "compile-images.sh").read_text()
    compiled = set(re.findall(r"requirements/([a-z-]+)\.txt", recipes)) | {"bootstrap", "go"}
    assert set(names_of_locks()) <= compiled


def test_the_command_line_installs_no_kopf_and_no_kubernetes_client() -> None:
    everything = [Requirement(line).name for member in MEMBERS for line in declared(member)]
    ours = {name for name in everything if not name.startswith("rightsizer-")}
    assert ours == {"pydantic", "PyYAML"}
