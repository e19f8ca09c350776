"""The files in crds/ and docs/reference/ are what the types say."""

from pathlib import Path

import pytest
import yaml

from rightsizer_operator.resource import crd

REPOSITORY = Path(__file__).resolve().parents[2]
LIMIT = 100 * 1024


def test_no_generated_file_is_out_of_date() -> None:
    assert list(crd.stale(REPOSITORY)) == [], f"run `{crd.COMMAND}`"


@pytest.mark.parametrize("kind", crd.KINDS, ids=lambda kind: kind.short)
def test_a_crd_stays_under_100_kib(kind: crd.Kind) -> None:
    text = (REPOSITORY / f"crds/{kind.plural}.yaml").read_bytes()
    assert len(text) < LIMIT
    assert text.decode().startswith(crd.HEADER)


@pytest.mark.parametrize("kind", crd.KINDS, ids=lambda kind: kind.short)
def test_the_stored_crd_is_the_generated_one(kind: crd.Kind) -> None:
    text = (REPOSITORY / f"crds/{kind.plural}.yaml").read_text()
    assert yaml.safe_load(text) == crd.definition(kind)


def test_check_names_the_file_that_is_out_of_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "crds").mkdir()
    assert crd.main(["--root", str(tmp_path)]) == 0
    assert crd.main(["--root", str(tmp_path), "--check"]) == 0
    stale = tmp_path / "crds/optimizationruns.yaml"
    stale.write_text(stale.read_text().replace("maxLength: 63", "maxLength: 64"))
    capsys.readouterr()
    assert crd.main(["--root", str(tmp_path), "--check"]) == 1
    assert capsys.readouterr().err == f"crds/optimizationruns.yaml is out of date: run `{crd.COMMAND}`\n"


def test_the_command_outside_the_repository_says_where_to_run_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert crd.main(["--root", str(tmp_path)]) == 2
    assert "repository's root" in capsys.readouterr().err


@pytest.mark.parametrize("kind", crd.KINDS, ids=lambda kind: kind.short)
def test_the_reference_has_a_row_for_every_field(kind: crd.Kind) -> None:
    page = (REPOSITORY / f"docs/reference/{kind.kind.lower()}.md").read_text()
    for part in ("spec", "status"):
        for path in paths(crd.schema(kind)["properties"][part], part):
            assert f"| `{path}` |" in page


def paths(schema: dict, path: str) -> list[str]:
    found = []
    for name, child in schema.get("properties", {}).items():
        items = child.get("items", child)
        found += [f"{path}.{name}", *paths(items, f"{path}.{name}" + ("[]" if "items" in child else ""))]
    return found
