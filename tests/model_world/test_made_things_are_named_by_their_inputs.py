"""The cache of images and environments: names change exactly with what goes in; nothing half-made keeps its name."""

import re
import tomllib
from pathlib import Path

import pytest

from e2e.images import build, environments, hostpip, store


def direct_pins(project: str, extra: str | None = None) -> set[str]:
    found = tomllib.loads((store.REPOSITORY / project / "pyproject.toml").read_text())["project"]
    wanted = found["dependencies"] + (found["optional-dependencies"][extra] if extra else [])
    return {pin.lower() for pin in wanted if not pin.startswith("rightsizer-")}


@pytest.mark.parametrize(
    ("lock", "project", "extra"), [("operator", "operator", None), ("trial", "optimizer-jobs", "trial")]
)
def test_image_locks_hold_what_the_packages_ask_for(lock: str, project: str, extra: str | None) -> None:
    text = (store.REPOSITORY / "requirements" / f"{lock}.txt").read_text()
    locked = set(re.findall(r"^([a-z0-9_.\-]+==[^ ;\\]+)", text.lower(), re.MULTILINE))
    missing = direct_pins(project, extra) - locked
    assert not missing, f"run requirements/compile-images.sh: {missing}"


@pytest.mark.parametrize("lock", ["operator", "trial", "image-build", "engine-cpu", "compress"])
def test_every_locked_package_has_a_hash_and_no_lock_names_an_index(lock: str) -> None:
    text = (store.REPOSITORY / "requirements" / f"{lock}.txt").read_text()
    packages = re.split(r"\n(?=[a-zA-Z])", text)
    assert all("--hash=sha256:" in package for package in packages if "==" in package.partition("\n")[0])
    assert "://" not in text
    assert "-url" not in text


@pytest.mark.parametrize("name", sorted(build.IMAGES))
def test_an_image_lists_everything_its_dockerfile_copies(name: str) -> None:
    image = build.IMAGES[name]
    text = (store.REPOSITORY / image.dockerfile).read_text().partition(" AS whole")[0]
    copied = {word for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE) for word in line.split()[:-1]}
    assert copied == set(image.inputs)


def test_comments_of_a_lock_do_not_make_another_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "requirements").mkdir()
    lock = tmp_path / "requirements" / "compress.txt"
    monkeypatch.setattr(store, "REPOSITORY", tmp_path)

    def named(text: str) -> str:
        lock.write_text(text)
        return environments.path("compress", tmp_path).name

    assert named("torch==2.13.0\n    # via a\n") == named("torch==2.13.0\n    # via b\n")
    assert named("torch==2.13.0\n") != named("torch==2.13.1\n")


def test_an_interrupted_making_leaves_no_name_and_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIGHTSIZER_CACHE", str(tmp_path / "cache"))
    target = tmp_path / "thing"

    def interrupted(partial: Path) -> None:
        partial.mkdir()
        (partial / "half").touch()
        raise KeyboardInterrupt

    def whole(partial: Path) -> None:
        partial.mkdir()
        (partial / "all").touch()

    with pytest.raises(KeyboardInterrupt):
        store.made(target, interrupted)
    assert not target.exists()
    assert [path.name for path in store.made(target, whole).iterdir()] == ["all"]
    assert store.made(target, interrupted) == target


def test_digests_tell_parts_from_their_concatenation() -> None:
    assert store.digest(["ab", "c"]) != store.digest(["a", "bc"])


def test_pip_settings_come_from_files_and_variables_win(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = http://mirror/simple\ntimeout = 5\ncache-dir = /somewhere\n")
    found = hostpip.settings({"PIP_CONFIG_FILE": str(file), "PIP_TIMEOUT": "9"})
    assert found["index-url"] == "http://mirror/simple"
    assert found["timeout"] == "9"
    assert "cache-dir" not in found


def test_a_certificate_bundle_is_named_by_its_place_in_the_build(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("certificates")
    assert f"cert = {hostpip.CA_INSIDE}" in hostpip.configuration({"PIP_CERT": str(bundle)})
    assert "cert" not in hostpip.configuration({"PIP_CERT": str(tmp_path / "missing")})
