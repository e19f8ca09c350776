"""Pure parts: cache keys, versions, ports, command lines, kubeconfigs."""

import argparse
import base64
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from e2e.embedded import __main__ as verbs
from e2e.embedded import binaries, certificates, commands, golang, places, ports

A_PLAN = commands.Plan(folder=Path("/state"), api_port=7001, etcd_port=7002, etcd_peer_port=7003)


def test_another_version_has_another_place_in_the_cache() -> None:
    assert binaries.place("kubelet", Path("/cache")) == Path("/cache/kubelet-1.36.3")
    assert binaries.place("etcd", Path("/cache")) == Path("/cache/etcd-3.7.3")


@pytest.mark.parametrize("module", binaries.MODULES, ids=lambda module: module.name)
def test_the_lock_of_each_module_is_for_the_version_that_is_built(module: binaries.Module) -> None:
    go_mod = (places.MODULES / module.name / "go.mod").read_text()
    assert f"{module.path} v{module.version}" in go_mod
    assert f"{module.path} v{module.version} h1:" in (places.MODULES / module.name / "go.sum").read_text()


def test_every_program_of_every_set_has_a_module() -> None:
    for programs in binaries.SETS.values():
        assert all(binaries.module_of(program) for program in programs)


def test_a_build_takes_only_locked_sources() -> None:
    runc = binaries.module_of("runc")
    command = binaries.build_command(Path("go"), runc, ["runc"], Path("/out"))
    assert "-mod=readonly" in command
    assert "-tags=seccomp" in command


def test_ready_made_programs_are_taken_only_where_they_exist(tmp_path: Path) -> None:
    (tmp_path / "etcd").write_text("#!/bin/sh\n")
    (tmp_path / "etcd").chmod(0o755)
    found = binaries.assets(["etcd", "kubectl"], {"KUBEBUILDER_ASSETS": str(tmp_path)})
    assert found == {"etcd": tmp_path / "etcd"}
    assert binaries.assets(["etcd"], {}) == {}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"RIGHTSIZER_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, Path("/a")),
        ({"XDG_CACHE_HOME": "/b"}, Path("/b/rightsizer")),
        ({}, Path.home() / ".cache" / "rightsizer"),
    ],
)
def test_the_cache_is_where_the_user_says(environ: dict[str, str], expected: Path) -> None:
    assert places.cache(environ) == expected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go version go1.27 linux/arm64", (1, 27, 0)),
        ("command not found", ()),
    ],
)
def test_the_version_of_go_is_read(shown: str, expected: tuple[int, ...]) -> None:
    assert golang.version(shown) == expected


def test_kubernetes_needs_its_own_modules_at_the_same_release() -> None:
    go_mod = (
        "replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\tk8s.io/cri-api => ./staging/src/k8s.io/cri-api\n)\n"
    )
    expected = "replace (\n\tk8s.io/api => k8s.io/api v0.36.3\n\tk8s.io/cri-api => k8s.io/cri-api v0.36.3\n)\n"
    assert binaries.staging_replacements(go_mod, "1.36.3") == expected


def test_what_a_killed_build_left_is_removed_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGHTSIZER_CACHE", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    left = tmp_path / "bin" / ".build-of-a-killed-one"
    left.mkdir(parents=True)
    built: list[tuple[str, list[str]]] = []

    def build(module: binaries.Module, programs: list[str], folder: Path) -> None:
        assert not left.exists()
        built.append((module.name, programs))

    monkeypatch.setattr(binaries, "_build", build)
    binaries.place("kubectl", tmp_path / "bin").touch()
    binaries.ensure(["etcd", "kubectl", "kubelet"])
    assert built == [("etcd", ["etcd"]), ("kubernetes", ["kubelet"])]


def test_a_resource_is_a_name_with_a_domain_and_a_count() -> None:
    assert verbs.resource_count("rightsizer.dev/engine-slot=5") == ("rightsizer.dev/engine-slot", 5)
    for wrong in ("engine-slot=5", "rightsizer.dev/engine-slot", "rightsizer.dev/engine-slot=many"):
        with pytest.raises(argparse.ArgumentTypeError, match="engine-slot=5"):
            verbs.resource_count(wrong)


def test_ports_are_different_from_each_other() -> None:
    assert len(set(ports.free(20))) == 20


def test_every_listener_of_a_plan_is_on_its_own_ports() -> None:
    assert "--listen-client-urls=https://127.0.0.1:7002" in commands.etcd(A_PLAN)
    assert "--secure-port=7001" in commands.apiserver(A_PLAN)
    assert "--bind-address=127.0.0.1" in commands.apiserver(A_PLAN)
    for quiet in (commands.controller_manager(A_PLAN), commands.scheduler(A_PLAN)):
        assert "--secure-port=0" in quiet


def test_a_kubeconfig_needs_no_other_file() -> None:
    user = certificates.certificate_user(b"certificate", b"key")
    read = yaml.safe_load(certificates.kubeconfig("https://127.0.0.1:7001", b"authority", user))
    assert base64.b64decode(read["clusters"][0]["cluster"]["certificate-authority-data"]) == b"authority"
    assert base64.b64decode(read["users"][0]["user"]["client-key-data"]) == b"key"


def test_certificates_are_made_once_and_name_user_groups_and_hosts(tmp_path: Path) -> None:
    authority = certificates.Authority(tmp_path, "authority")
    file, key = authority.issue("node", "system:node:n", groups=["system:nodes"], hosts=["n", "10.1.2.3"])
    again, _ = certificates.Authority(tmp_path, "authority").issue("node", "somebody else")
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    assert again.read_bytes() == file.read_bytes()
    assert certificate.subject.rfc4514_string() == "CN=system:node:n,O=system:nodes"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one.value) for one in names] == ["n", "10.1.2.3"]
    assert key.stat().st_mode & 0o077 == 0
