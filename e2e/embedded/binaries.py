"""The Kubernetes programs, built from hash-locked Go modules into a cache keyed by version.

Called by `controlplane`, `node`, the tests and the demo.
`modules/<name>/go.mod` and go.sum fix every source (`lock` makes them again). Nothing here is downloaded in built form.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.embedded import golang, places


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One Go module and the programs built from it (program name to package path)."""

    name: str
    path: str
    version: str
    programs: Mapping[str, str]
    tags: str = ""
    cgo: bool = False
    ldflags: str = "-s -w"


_KUBERNETES = "1.36.3"
_KUBERNETES_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kubectl",
    "kube-proxy",
)

MODULES = (
    Module(
        name="etcd",
        path="go.etcd.io/etcd/server/v3",
        version="3.7.3",
        programs={"etcd": "go.etcd.io/etcd/server/v3"},
    ),
    Module(
        name="kubernetes",
        path="k8s.io/kubernetes",
        version=_KUBERNETES,
        programs={program: f"k8s.io/kubernetes/cmd/{program}" for program in _KUBERNETES_PROGRAMS},
        # without it every program calls itself v0.0.0, and clients refuse the server
        ldflags=f"-s -w -X k8s.io/component-base/version.gitVersion=v{_KUBERNETES}",
    ),
    Module(
        name="containerd",
        path="github.com/containerd/containerd/v2",
        version="2.4.2",
        programs={
            program: f"github.com/containerd/containerd/v2/cmd/{program}"
            for program in ("containerd", "containerd-shim-runc-v2", "ctr")
        },
    ),
    Module(
        name="runc",
        path="github.com/opencontainers/runc",
        version="1.5.2",
        programs={"runc": "github.com/opencontainers/runc"},
        tags="seccomp",
        cgo=True,
    ),
    Module(name="helm", path="helm.sh/helm/v3", version="3.22.0", programs={"helm": "helm.sh/helm/v3/cmd/helm"}),
)

CONTROL = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
TESTS = (*CONTROL, "helm")
NODE = (*CONTROL, "containerd", "containerd-shim-runc-v2", "ctr", "runc", "kubelet", "kube-proxy", "helm")
SETS = {"control": CONTROL, "tests": TESTS, "node": NODE}


_SCRATCH = ".build-"


def module_of(program: str) -> Module:
    return next(module for module in MODULES if program in module.programs)


def place(program: str, folder: Path) -> Path:
    """Where a program of its pinned version lies in the cache; another version has another name."""
    return folder / f"{program}-{module_of(program).version}"


def assets(programs: Iterable[str], environ: Mapping[str, str]) -> dict[str, Path]:
    """Those that $KUBEBUILDER_ASSETS holds ready-made."""
    folder = environ.get("KUBEBUILDER_ASSETS")
    if not folder:
        return {}
    return {program: Path(folder) / program for program in programs if os.access(Path(folder) / program, os.X_OK)}


def present(programs: Iterable[str]) -> bool:
    """Whether `ensure` would have nothing to build."""
    return all(path.exists() for path in _places(tuple(programs)).values())


def _places(programs: tuple[str, ...]) -> dict[str, Path]:
    folder = places.cache(os.environ) / "bin"
    return {program: place(program, folder) for program in programs} | assets(programs, os.environ)


def ensure(programs: Iterable[str]) -> dict[str, Path]:
    """Path of each program; those not yet in the cache are built, with progress on standard error."""
    found = _places(tuple(programs))
    if all(path.exists() for path in found.values()):
        return found
    folder = places.cache(os.environ) / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        for module in MODULES:
            missing = [program for program in module.programs if program in found and not found[program].exists()]
            if missing:
                _build(module, missing, folder)
    return found


def build_command(go: Path, module: Module, programs: Iterable[str], output: Path) -> list[str]:
    """`go build` of some programs of a module into the folder `output`."""
    packages = [module.programs[program] for program in programs]
    tags = [f"-tags={module.tags}"] if module.tags else []
    # Exactly what go.mod and go.sum fix, never more.
    return [
        str(go),
        "build",
        "-mod=readonly",
        "-trimpath",
        f"-ldflags={module.ldflags}",
        *tags,
        "-o",
        f"{output}/",
        *packages,
    ]


def _build(module: Module, programs: list[str], folder: Path) -> None:
    go = golang.find()
    label = f"building {', '.join(programs)} {module.version}"
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder) as scratch, _progress(label):
        source = Path(scratch) / "source"
        shutil.copytree(places.MODULES / module.name, source)
        output = Path(scratch) / "out"
        output.mkdir()
        command = build_command(go, module, programs, output)
        environ = golang.environment(CGO_ENABLED="1" if module.cgo else "0")
        done = subprocess.run(command, cwd=source, env=environ, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{label} failed:\n{done.stderr[-3000:]}")
        for program in programs:
            # The package of etcd is called v3, so go names the program `server`; one program per module there.
            built = output / program if (output / program).exists() else next(output.iterdir())
            built.replace(place(program, folder))


def lock() -> None:
    """Make modules/*/go.mod and go.sum from the versions above; Go checks the sums against its checksum database."""
    go = golang.find()
    for module in MODULES:
        folder = places.MODULES / module.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with _progress(f"locking {module.path} {module.version}"):
            (folder / "go.mod").write_text(_go_mod(go, module, folder))
            packages = [f"{package}@v{module.version}" for package in module.programs.values()]
            subprocess.run([str(go), "get", *packages], cwd=folder, env=golang.environment(), check=True)


def _go_mod(go: Path, module: Module, folder: Path) -> str:
    needed = ".".join(map(str, golang.NEEDED))
    head = f"module example.invalid/{module.name}\n\ngo {needed}\n\nrequire {module.path} v{module.version}\n"
    if module.name != "kubernetes":
        return head
    command = [str(go), "mod", "download", "-json", f"{module.path}@v{module.version}"]
    shown = subprocess.run(command, cwd=folder, env=golang.environment(), capture_output=True, text=True, check=True)
    return head + "\n" + staging_replacements(Path(json.loads(shown.stdout)["GoMod"]).read_text(), module.version)


def staging_replacements(go_mod: str, version: str) -> str:
    """Replace lines for the modules that Kubernetes keeps in its own tree: published as v0.x, required as v0.0.0."""
    names = sorted(set(re.findall(r"^\s*(k8s\.io/[a-z0-9-]+) => \./staging", go_mod, re.MULTILINE)))
    minor = version.partition(".")[2]
    return "replace (\n" + "".join(f"\t{name} => {name} v0.{minor}\n" for name in names) + ")\n"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One builder at a time: two would only slow each other down. What a killed one left is removed."""
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another build to end", file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        for left in folder.glob(f"{_SCRATCH}*"):
            shutil.rmtree(left)
        yield


@contextmanager
def _progress(label: str, every_s: float = 20.0) -> Iterator[None]:
    """Say at once what is being done, that it goes on, and how long it took."""
    began, over = time.monotonic(), threading.Event()

    def tell() -> None:
        while not over.wait(every_s):
            print(f"  … {label}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    print(label, file=sys.stderr, flush=True)
    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
        print(f"  done in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    finally:
        over.set()
        teller.join()
