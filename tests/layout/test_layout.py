"""The shape of the repository: what a folder called `operator` must not break, and the rules no linter knows."""

import ast
import importlib.metadata
import operator
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
MEMBERS = {"operator": "rightsizer_operator", "optimizer-jobs": "rightsizer_jobs", "cli": "rightsizer_cli"}
SHAPELESS = {"utils", "util", "helpers", "common", "core", "manager", "misc", "shared"}
LINE_LIMIT = 400


def tracked(pattern: str = "*") -> list[Path]:
    """Files that git knows and that are there, by a glob over their paths."""
    done = subprocess.run(["git", "ls-files", "-z", "--", pattern], cwd=REPOSITORY, capture_output=True, check=True)
    found = [REPOSITORY / name for name in done.stdout.decode().split("\0") if name]
    return [path for path in found if path.is_file()]


def shown(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(REPOSITORY)) for path in paths]


def project(member: str) -> dict:
    return tomllib.loads((REPOSITORY / member / "pyproject.toml").read_text())["project"]


def test_stdlib_operator_comes_from_the_standard_library() -> None:
    assert Path(operator.__file__).parent == Path(sysconfig.get_path("stdlib"))


@pytest.mark.parametrize("flags", [["-c"], ["-S", "-c"]], ids=["as installed", "bare interpreter"])
def test_stdlib_operator_wins_with_the_repository_as_working_directory(flags: list[str]) -> None:
    program = "import sys; sys.path.insert(0, ''); import collections, operator; print(operator.__file__)"
    done = subprocess.run([sys.executable, *flags, program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).parent == Path(sysconfig.get_path("stdlib"))


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_holds_python_only_under_src(member: str) -> None:
    assert list((REPOSITORY / member).glob("*.py")) == []
    assert [path.name for path in (REPOSITORY / member / "src").iterdir() if path.is_dir()] == [MEMBERS[member]]


@pytest.mark.parametrize("room", ["tests", "e2e"])
def test_a_room_of_tests_is_no_package(room: str) -> None:
    assert not (REPOSITORY / room / "__init__.py").exists()


def test_no_folder_of_tests_is_a_package() -> None:
    assert shown(tracked("tests/*__init__.py")) == []


def test_no_test_folder_is_named_after_a_module() -> None:
    folders = {path.name for path in (REPOSITORY / "tests").iterdir() if path.is_dir()}
    taken = sys.stdlib_module_names | set(importlib.metadata.packages_distributions())
    assert folders & taken == set()


def test_no_module_is_named_after_a_standard_one() -> None:
    modules = [path for member in MEMBERS for path in tracked(f"{member}/src/*.py")]
    assert [name for name in shown(modules) if Path(name).stem in sys.stdlib_module_names] == []


def test_no_room_or_module_has_a_shapeless_name() -> None:
    sources = [path.relative_to(REPOSITORY) for path in tracked("*.py")]
    assert [str(path) for path in sources if SHAPELESS & {*path.parent.parts, path.stem}] == []


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in tracked("tests/*test_*.py")]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_all_versions_are_equal() -> None:
    chart = yaml.safe_load((REPOSITORY / "charts/rightsizer/Chart.yaml").read_text())
    versions = {member: project(member)["version"] for member in MEMBERS}
    assert set(versions.values()) == {chart["version"]} == {str(chart["appVersion"])}, versions
    pins = [pin for member in MEMBERS for pin in project(member)["dependencies"] if pin.startswith("rightsizer-")]
    assert pins
    assert {pin.split("==")[1] for pin in pins} == set(versions.values())


def test_the_operator_depends_on_no_engine_and_no_model_library() -> None:
    extras = project("operator")["optional-dependencies"].values()
    pins = [*project("operator")["dependencies"], *(pin for extra in extras for pin in extra)]
    names = {re.split(r"[=<>\[ ]", pin)[0].lower() for pin in pins}
    assert names & {"torch", "transformers", "vllm", "tensorrt-llm", "llmcompressor", "lm-eval"} == set()


def test_no_source_file_is_long() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in tracked("*.py")}
    assert shown([path for path, lines in lengths.items() if lines > LINE_LIMIT]) == []


def test_every_module_says_what_it_is_for() -> None:
    modules = [path for member in MEMBERS for path in tracked(f"{member}/src/*.py") if path.stat().st_size]
    assert shown([path for path in modules if not ast.get_docstring(ast.parse(path.read_text()))]) == []


REGISTRIES = (
    "docker.io", "ghcr.io", "quay.io", "gcr.io", "registry.k8s.io", "nvcr.io", "pypi.org", "pythonhosted.org",
    "proxy.golang.org", "sum.golang.org", "npmjs.org", "crates.io",
)  # fmt: skip
NEVER = {
    "names a registry host": re.compile("|".join(re.escape(host) for host in REGISTRIES)),
    "holds a note to finish it": re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b"),
    "skips a test": re.compile(r"pytest\.(mark\.)?(ski" + r"p|xfa" + r"il)"),
    "holds a path of one machine": re.compile(r"(^|[^A-Za-z0-9])/(work|root|home|Users)/|/tm" + r"p/lab", re.MULTILINE),
}


def text_of(path: Path) -> str:
    """The text of a file; empty for binary ones and for this test, which must name what it forbids."""
    content = path.read_bytes()
    return "" if b"\0" in content or path == Path(__file__).resolve() else content.decode(errors="replace")


@pytest.mark.parametrize("fault", NEVER)
def test_no_tracked_file(fault: str) -> None:
    assert shown([path for path in tracked() if NEVER[fault].search(text_of(path))]) == []
