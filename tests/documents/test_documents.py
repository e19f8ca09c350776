"""The documents against the code: links, verbs, command lines, field names, files."""

import dataclasses
import importlib.util
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from rightsizer_cli.arguments import parser
from rightsizer_cli.result import Result
from rightsizer_operator.resource.reasons import REASONS
from rightsizer_operator.settings import JobProfile, PrometheusEndpoint, Settings

REPOSITORY = Path(__file__).resolve().parents[2]
GENERATED = "docs/reference/"


def documents() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", "*.md"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return sorted(name for name in listed.stdout.split("\0") if name and (REPOSITORY / name).is_file())


def written() -> list[str]:
    """Without the generated pages, which have tests of their own."""
    return [name for name in documents() if not name.startswith(GENERATED)]


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text()


def anchors(name: str) -> set[str]:
    """The anchors of a page's headings, made as code hosts make them."""
    prose = re.sub(r"^```.*?^```", "", text_of(name), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#{1,6} (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def links(name: str) -> list[str]:
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text_of(name)) if "://" not in link]


def fault_of(name: str, link: str) -> str:
    """Why a link of that page leads nowhere, or ''."""
    path, _, anchor = link.partition("#")
    there = ((REPOSITORY / name).parent / path).resolve() if path else REPOSITORY / name
    if not there.exists():
        return f"{link}: no such file"
    if anchor and anchor not in anchors(str(there.relative_to(REPOSITORY))):
        return f"{link}: no such heading"
    return ""


@pytest.mark.parametrize("name", documents())
def test_every_link_leads_somewhere(name: str) -> None:
    assert [fault for link in links(name) if (fault := fault_of(name, link))] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, left = set(), ["README.md"]
    while left:
        name = left.pop()
        reached.add(name)
        targets = {((REPOSITORY / name).parent / link.partition("#")[0]).resolve() for link in links(name)}
        found = {str(path.relative_to(REPOSITORY)) for path in targets if path.suffix == ".md"}
        left += sorted(found - reached)
    pages = {name for name in documents() if name.startswith("docs/")}
    assert pages - reached == set()


def commands(name: str) -> Iterator[str]:
    """The lines of a page's code blocks, fenced or indented, without prompts, comments and continuations."""
    text = text_of(name).replace("\\\n", " ")
    fenced = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^(?: {4}|\t)(.+)$", text, re.MULTILINE)
    for line in [*(line for block in fenced for line in block.splitlines()), *indented]:
        yield line.strip().partition(" #")[0]


def called(name: str) -> list[list[str]]:
    """The words after `kubectl rightsizer` in a page's commands, to the end of its pipe step; x for variables."""
    found = [match.group(1) for line in commands(name) for match in re.finditer(r"kubectl rightsizer +([^|;&]*)", line)]
    return [shlex.split(re.sub(r"\$\{[^}]*\}|\$\w+", "x", words)) for words in found]


@pytest.mark.parametrize("name", [name for name in written() if called(name)])
def test_every_command_line_is_one(name: str) -> None:
    for words in called(name):
        assert parser().parse_args(words).command == next(word for word in words if not word.startswith("-"))


def test_every_make_verb_is_one() -> None:
    verbs = set(re.findall(r"^([a-z0-9-]+):.*## ", text_of("Makefile"), re.MULTILINE))
    asked = {verb for name in written() for verb in re.findall(r"`make ([a-z][a-z0-9-]*)", text_of(name))}
    asked |= {verb for name in written() for line in commands(name) for verb in re.findall(r"^make ([a-z0-9-]+)", line)}
    assert asked
    assert asked - verbs == set()


OF_DEPLOYMENTS = {"spec.replicas", "spec.progressDeadlineSeconds", "spec.strategy", "spec.minReadySeconds"}


def schema_paths() -> set[str]:
    """Every dotted path of the spec and status of both kinds, without list brackets."""
    found: set[str] = set()

    def walk(schema: dict, path: str) -> None:
        found.add(path)
        for key, inner in (schema.get("properties") or {}).items():
            walk(inner, f"{path}.{key}")
        if "items" in schema:
            walk(schema["items"], path)

    for file in (REPOSITORY / "crds").glob("*.yaml"):
        (version,) = yaml.safe_load(file.read_text())["spec"]["versions"]
        for part in ("spec", "status"):
            walk(version["schema"]["openAPIV3Schema"]["properties"][part], part)
    return found


@pytest.mark.parametrize("name", written())
def test_every_field_of_a_resource_that_is_named_exists(name: str) -> None:
    named = re.findall(r"`((?:spec|status)\.[A-Za-z.]+[A-Za-z])`", text_of(name))
    assert set(named) - schema_paths() - OF_DEPLOYMENTS == set()


@pytest.mark.parametrize("name", written())
def test_every_file_of_the_project_that_is_named_exists(name: str) -> None:
    rooms = r"(?:operator|optimizer-jobs|cli|charts|crds|docs|examples|e2e|tests|benchmarks|requirements)"
    named = re.findall(rf"`({rooms}/[\w./-]+\.\w+)`|(?:python3?|-f) ({rooms}/[\w./-]+)", text_of(name))
    paths = {path for pair in named for path in pair if path}
    assert sorted(path for path in paths if not (REPOSITORY / path).exists()) == []


@pytest.mark.parametrize("name", written())
def test_every_module_that_is_to_be_run_exists(name: str) -> None:
    modules = set(re.findall(r"python3? -m ((?:rightsizer|e2e|benchmarks)[\w.]+)", text_of(name)))
    assert sorted(module for module in modules if importlib.util.find_spec(module) is None) == []


def first_column(name: str, heading: str) -> list[str]:
    """The words in backticks of the first column of the tables under a heading."""
    section = re.split(r"^#+ ", text_of(name).partition(heading)[2], flags=re.MULTILINE)[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]


def camel(field: str) -> str:
    head, *rest = field.split("_")
    return head + "".join(word.capitalize() for word in rest)


def test_every_setting_is_described() -> None:
    keys = [camel(field.name) for field in dataclasses.fields(Settings)]
    assert sorted(first_column("docs/settings.md", "# Settings of the operator")) == sorted(keys)
    profile = [camel(field.name) for field in dataclasses.fields(JobProfile)]
    assert sorted(first_column("docs/settings.md", "## A profile")) == sorted(profile)
    endpoint = [camel(field.name) for field in dataclasses.fields(PrometheusEndpoint)]
    assert sorted(first_column("docs/settings.md", "## Prometheus")) == sorted(endpoint)
    assert sorted(set(first_column("operator/README.md", "## Settings"))) == sorted(keys)


def test_every_value_of_the_chart_is_described() -> None:
    values = yaml.safe_load(text_of("charts/rightsizer/values.yaml"))
    described = first_column("charts/rightsizer/README.md", "## Values")
    assert {word.split(".")[0] for word in described} == set(values)


def test_every_reason_that_the_troubleshooting_page_names_is_one() -> None:
    sections = text_of("docs/howto/troubleshoot.md").split("\n## ")
    named = {
        word
        for section in sections
        for line in section.splitlines()
        if line.startswith("| `")
        for word in re.findall(r"`([A-Z][A-Za-z]+)`", line.split("|")[1].partition("(")[0])
    }
    conditions = {"Ready", "Stalled", "Reconciling", "Optimized", "ProposalReady", "Applied", "SLOMet", "Paused"}
    outcomes = {"EngineFailed", "EngineHung", "Void", "Unsupported", "Undecided"}
    assert named - set(REASONS) - conditions - outcomes == set()


def test_every_field_of_the_result_is_described() -> None:
    shown = [field.alias or name for name, field in Result.model_fields.items()]
    described = first_column("docs/report.md", "## result.json")
    assert set(shown) - set(described) == {"schemaVersion"}
    assert set(described) - set(shown) == set()
