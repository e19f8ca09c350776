"""The command lines of the control plane as pure functions of a plan. Called by `controlplane`; starts nothing."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where one control plane lives: its folder, addresses and ports."""

    folder: Path
    address: str = "127.0.0.1"  # the API server listens here and nowhere else
    api_port: int
    etcd_port: int
    etcd_peer_port: int
    service_network: str = "10.96.0.0/16"
    service_address: str = "10.96.0.1"  # the first of the service network: the API server as seen by pods

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def server(self) -> str:
        return f"https://{self.address}:{self.api_port}"

    def kubeconfig(self, user: str) -> Path:
        return self.folder / f"{user}.kubeconfig"


def etcd(plan: Plan) -> list[str]:
    client = f"https://127.0.0.1:{plan.etcd_port}"
    peer = f"https://127.0.0.1:{plan.etcd_peer_port}"
    pki = plan.folder / "pki-etcd"
    return [
        "--name=embedded",
        f"--data-dir={plan.folder}/etcd",
        "--unsafe-no-fsync",  # the data need not survive a power cut, and the disk is slow
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=embedded={peer}",
        f"--cert-file={pki}/server.crt",
        f"--key-file={pki}/server.key",
        f"--trusted-ca-file={pki}/etcd-authority.crt",
        "--client-cert-auth",
        f"--peer-cert-file={pki}/server.crt",
        f"--peer-key-file={pki}/server.key",
        f"--peer-trusted-ca-file={pki}/etcd-authority.crt",
        "--peer-client-cert-auth",
        "--log-level=warn",
    ]


def apiserver(plan: Plan) -> list[str]:
    pki = plan.pki
    etcd_pki = plan.folder / "pki-etcd"
    return [
        f"--etcd-servers=https://127.0.0.1:{plan.etcd_port}",
        f"--etcd-cafile={etcd_pki}/etcd-authority.crt",
        f"--etcd-certfile={etcd_pki}/client.crt",
        f"--etcd-keyfile={etcd_pki}/client.key",
        f"--bind-address={plan.address}",
        f"--secure-port={plan.api_port}",
        f"--advertise-address={plan.address}",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/authority.crt",
        f"--service-account-key-file={pki}/service-accounts.pub",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet.key",
        f"--kubelet-certificate-authority={pki}/authority.crt",
        "--kubelet-preferred-address-types=InternalIP",  # else logs and exec look the node's name up in DNS
        f"--proxy-client-cert-file={pki}/front-proxy.crt",
        f"--proxy-client-key-file={pki}/front-proxy.key",
        f"--requestheader-client-ca-file={pki}/authority.crt",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--service-cluster-ip-range={plan.service_network}",
        f"--cert-dir={pki}",
    ]


def controller_manager(plan: Plan) -> list[str]:
    kubeconfig = plan.kubeconfig("controller-manager")
    return [
        f"--kubeconfig={kubeconfig}",
        "--secure-port=0",  # serves nothing: one port less to choose
        f"--service-account-private-key-file={plan.pki}/service-accounts.key",
        f"--root-ca-file={plan.pki}/authority.crt",
        f"--cluster-signing-cert-file={plan.pki}/authority.crt",
        f"--cluster-signing-key-file={plan.pki}/authority.key",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--kube-api-qps=200",  # a single client on loopback: the defaults only make tests wait
        "--kube-api-burst=400",
    ]


def scheduler(plan: Plan) -> list[str]:
    return [f"--kubeconfig={plan.kubeconfig('scheduler')}", "--secure-port=0", "--leader-elect=false"]
