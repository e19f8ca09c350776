"""etcd, API server, controller manager and scheduler on one loopback address.

Enough for CRDs, admission, RBAC, watches and controllers.
`ControlPlane` is the throw-away one of the tests; `prepare` and `launch` also serve the full node. Needs no root.
"""

import atexit
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from e2e.embedded import binaries, certificates, commands, keeper, places, ports, processes
from e2e.embedded.client import Client, Refused

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
START_LIMIT_S = 180.0
FOLDER = places.BUILD / "control-plane"  # of the throw-away ones
_USERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "admin": ("admin", ("system:masters",)),
    "controller-manager": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
}
_API_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


def prepare(plan: commands.Plan) -> certificates.Authority:
    """Certificates and kubeconfigs of the control plane; those already there are kept."""
    plan.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # etcd trusts an authority of its own: no certificate of the cluster opens it.
    etcd = certificates.Authority(plan.folder / "pki-etcd", "etcd-authority")
    etcd.issue("server", "etcd", hosts=["127.0.0.1"])
    etcd.issue("client", "kube-apiserver")
    authority = certificates.Authority(plan.pki, "authority")
    hosts = {plan.address, "127.0.0.1", plan.service_address, *_API_NAMES, "kubernetes.default.svc.cluster.local"}
    authority.issue("apiserver", "kube-apiserver", hosts=sorted(hosts))
    authority.issue("apiserver-kubelet", "apiserver-kubelet", groups=["system:masters"])
    authority.issue("front-proxy", "front-proxy")
    certificates.signing_pair(plan.pki, "service-accounts")
    for name, (user, groups) in _USERS.items():
        write_kubeconfig(plan, authority, name, user, groups)
    return authority


def write_kubeconfig(
    plan: commands.Plan, authority: certificates.Authority, name: str, user: str, groups: tuple[str, ...] = ()
) -> Path:
    """Certificate of `user` and the kubeconfig with it; rewritten each time, since the port may have changed."""
    certificate, key = authority.issue(name, user, groups)
    entry = certificates.certificate_user(certificate.read_bytes(), key.read_bytes())
    file = plan.kubeconfig(name)
    file.touch(mode=0o600)
    file.write_text(certificates.kubeconfig(plan.server, authority.certificate_file.read_bytes(), entry))
    return file


def launch(
    plan: commands.Plan,
    programs: Mapping[str, Path],
    prefix: Sequence[str] = (),
    limit_s: float = START_LIMIT_S,
) -> None:
    """Start all four, each command after the words `prefix`.

    Returns when the API server is ready and the controller manager has done its first work; raises `Died` or
    `TimeoutError`. The last two start late: they give up when the API server is not there within 10 s.
    """
    deadline = time.monotonic() + limit_s
    processes.start(plan.folder, "etcd", [*prefix, programs["etcd"], *commands.etcd(plan)])
    processes.start(plan.folder, "kube-apiserver", [*prefix, programs["kube-apiserver"], *commands.apiserver(plan)])
    client = admin(plan)
    _wait(plan, deadline, lambda: client.text("/readyz") == "ok")
    late = {"kube-controller-manager": commands.controller_manager(plan), "kube-scheduler": commands.scheduler(plan)}
    for name, flags in late.items():
        processes.start(plan.folder, name, [*prefix, programs[name], *flags])
    _wait(plan, deadline, lambda: bool(client.get("v1", "ServiceAccount", "default", "default")))


def _wait(plan: commands.Plan, deadline: float, question: Callable[[], bool]) -> None:
    while not _answers(question):
        processes.check(plan.folder)
        if time.monotonic() > deadline:
            raise TimeoutError(f"the control plane did not become ready in time; see {plan.folder}/log")
        time.sleep(0.05)


def _answers(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except (OSError, Refused):
        return False


def admin(plan: commands.Plan) -> Client:
    """A client with every right."""
    pki = plan.pki
    return Client(plan.server, pki / "authority.crt", (pki / "admin.crt", pki / "admin.key"))


class ControlPlane:
    """A throw-away control plane with ports of its own; several may run at once.

    `stop` ends it and removes its folder; so does the end of the interpreter, and its keeper where that one is killed.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or FOLDER / f"{os.getpid()}-{time.monotonic_ns():x}"
        self.plan: commands.Plan

    def start(self, attempts: int = 3) -> "ControlPlane":
        """Ready to use on return. A port taken by somebody else in between is the one failure that is tried again."""
        programs = binaries.ensure(PROGRAMS)
        keeper.sweep(self.folder.parent)
        self.folder.mkdir(parents=True, mode=0o700)
        keeper.own(self.folder)
        atexit.register(self.stop)
        for attempt in range(1, attempts + 1):
            try:
                self._start_once(programs)
            except processes.Died as died:
                self._end()
                if attempt == attempts or "address already in use" not in died.tail:
                    raise
            else:
                return self
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _start_once(self, programs: Mapping[str, Path]) -> None:
        api_port, etcd_port, peer_port = ports.free(3)
        self.plan = commands.Plan(folder=self.folder, api_port=api_port, etcd_port=etcd_port, etcd_peer_port=peer_port)
        keeper.start(self.folder)
        prepare(self.plan)
        launch(self.plan, programs)

    def _end(self) -> None:
        processes.stop(self.folder, grace_s=0)  # nothing of it is kept: no reason to wait for an orderly end
        shutil.rmtree(self.folder / "etcd", ignore_errors=True)

    def stop(self) -> None:
        """End its processes and remove its folder. Does nothing the second time."""
        self._end()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.stop)

    @property
    def kubeconfig(self) -> Path:
        return self.plan.kubeconfig("admin")

    @property
    def server(self) -> str:
        return self.plan.server

    @property
    def admin(self) -> Client:
        return admin(self.plan)

    def __enter__(self) -> "ControlPlane":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
