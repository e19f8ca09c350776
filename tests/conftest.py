"""What the tests share: a real control plane for those that ask for it, and a namespace of its own for each test.

Everything else is values in, values out, and needs no fixture. A test that takes `control_plane` is marked `cluster`.
"""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml

from e2e.embedded import binaries, places
from e2e.embedded.client import Client, wait_for
from e2e.embedded.controlplane import PROGRAMS, ControlPlane

# An example has no deadline: on a busy machine any may be slow. In CI the same examples are tried every time.
hypothesis.settings.register_profile(
    "rightsizer",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("rightsizer")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "control_plane" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.cluster)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the selected tests need before any of them is on the clock."""
    fixtures = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    wanted = [*(PROGRAMS if "control_plane" in fixtures else ())]
    wanted += [program for program in ("kubectl", "helm") if program in fixtures]
    if not session.config.option.collectonly and not binaries.present(wanted):
        with session.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            binaries.ensure(wanted)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """One for the whole session, with the project's CRDs: `.admin` (client), `.kubeconfig` (path), `.server` (URL)."""
    with ControlPlane() as plane:
        install_crds(plane.admin, places.REPOSITORY / "crds")
        yield plane


@pytest.fixture
def api(control_plane: ControlPlane) -> Client:
    """A client of the control plane with every right."""
    return control_plane.admin


@pytest.fixture
def namespace(api: Client) -> Iterator[str]:
    """A fresh namespace, deleted (not awaited) after the test."""
    name = f"test-{secrets.token_hex(4)}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    wait_for(lambda: api.find("v1", "ServiceAccount", "default", name), f"the service account of {name}")
    yield name
    api.delete("v1", "Namespace", name)


@pytest.fixture(scope="session")
def kubectl() -> Path:
    """The kubectl of the pinned version; give it `--kubeconfig`."""
    return binaries.ensure(["kubectl"])["kubectl"]


@pytest.fixture(scope="session")
def helm() -> Path:
    """The helm of the pinned version."""
    return binaries.ensure(["helm"])["helm"]


def install_crds(api: Client, folder: Path) -> None:
    names = []
    for file in sorted(folder.glob("*.yaml")):
        manifests: list[dict[str, Any]] = [one for one in yaml.safe_load_all(file.read_text()) if one]
        names += [api.apply(manifest)["metadata"]["name"] for manifest in manifests]
    for name in names:
        wait_for(lambda name=name: _is_established(api, name), f"CRD {name} to be established")


def _is_established(api: Client, name: str) -> bool:
    found = api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name)
    conditions = (found.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
