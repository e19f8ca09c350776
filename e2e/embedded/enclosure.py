"""The namespaces (mounts, network, processes) of a full node: nothing of it reaches the host, and all ends at once.

Called by `node`. The only traces outside are one end of a cable, two routes and a control group; the first two vanish
with the namespaces. Inside there is no default route and no way to open a connection to the host: nothing leaves.
"""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from e2e.embedded import processes
from e2e.embedded.sites import Site

HOLDER = "enclosure"
# The kubelet sets these for the whole machine. In here it finds plain files instead: the machine keeps its own.
_KERNEL_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)

# The cable is for the host to call in by. Nothing inside may call out through it, not even to the host.
_RULES = """\
table inet closed {
  chain forwarded { type filter hook forward priority 0; oifname "uplink" ct state new reject; }
  chain sent { type filter hook output priority 0; oifname "uplink" ct state new reject; }
}"""


class Taken(Exception):
    """Another cluster has this index."""


def open_up(site: Site, init: Path) -> None:
    """Make the namespaces, held by `init` as process 1. Raises `Taken`, or `RuntimeError` when the machine refuses."""
    if Path(f"/sys/class/net/{site.link}").exists():
        raise Taken(site.link)
    flags = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "slave"]
    processes.start(site.folder, HOLDER, ["unshare", *flags, init])
    first = _first_process(site.folder)
    _connect(site, first)
    inside(site.folder, ["sh", "-euc", furnishing(site)])
    processes.write(site.folder / "enclosure.json", _holder(site.folder))


def is_open(folder: Path) -> bool:
    """Whether the namespaces of this folder stand, completely furnished."""
    finished = processes.read(folder / "enclosure.json")
    return finished is not None and processes.is_alive(finished)


def close(folder: Path) -> None:
    """End every process inside, and with them the namespaces, all mounts, links and rules."""
    processes.stop(folder, [HOLDER], grace_s=0)
    (folder / "enclosure.json").unlink(missing_ok=True)


def entry(folder: Path) -> list[str]:
    """The words before a command that make it run inside."""
    return ["nsenter", f"--target={_first_process(folder)}", "--mount", "--net", "--pid", "--"]


def inside(folder: Path, command: Sequence[str | Path], stdin: bytes | None = None) -> str:
    """Output of a command run inside; raises `RuntimeError` with its error output."""
    words = [*entry(folder), *(str(word) for word in command)]
    return _run(words, stdin)


def furnishing(site: Site) -> str:
    """The shell script that makes the namespaces habitable; run once, inside."""
    folder = site.folder
    kernel = "\n".join(
        f"if [ -e /proc/sys/{name} ]; then\n"
        f"  cp /proc/sys/{name} {folder}/kernel/{name.replace('/', '.')}\n"
        f"  mount --bind {folder}/kernel/{name.replace('/', '.')} /proc/sys/{name}\n"
        "fi"
        for name in _KERNEL_SETTINGS
    )
    return f"""
mount --make-rshared /
mkdir -p {folder}/kernel {folder}/kubelet-plugins /var/lib/kubelet
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/containerd /run/lock
mount --bind {folder}/kubelet-plugins /var/lib/kubelet
{kernel}
ip link set lo up
ip address add {site.node_address}/30 dev uplink
ip link set uplink up
echo 1 >/proc/sys/net/ipv4/ip_forward
nft -f - <<RULES
{_RULES}
RULES
"""


def _connect(site: Site, first: int) -> None:
    """Lay the cable: one end here, the other inside; the kernel refuses a second cable of the same name."""
    try:
        _run(["ip", "link", "add", site.link, "type", "veth", "peer", "name", "uplink", "netns", str(first)])
    except RuntimeError as error:
        if "File exists" in str(error):
            raise Taken(site.link) from error
        raise
    _run(["ip", "link", "set", site.link, "alias", str(site.folder)])
    _run(["ip", "address", "add", f"{site.host_address}/30", "dev", site.link])
    _run(["ip", "link", "set", site.link, "up"])
    for network in (site.pod_network, site.service_network):
        _run(["ip", "route", "replace", network, "via", site.node_address])


def _holder(folder: Path) -> processes.Identity:
    holder = processes.read(folder / "pid" / f"{HOLDER}.json")
    if holder is None or not processes.is_alive(holder):
        raise processes.Died(HOLDER, folder / "log" / f"{HOLDER}.log")
    return holder


def _first_process(folder: Path, limit_s: float = 5.0) -> int:
    """Pid, seen from here, of process 1 inside: the only child of `unshare`."""
    deadline = time.monotonic() + limit_s
    while True:
        holder = _holder(folder)
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
        if children:
            return int(children[0])
        if time.monotonic() > deadline:
            raise TimeoutError(f"no process inside the enclosure after {limit_s:.0f} s")
        time.sleep(0.01)


def _run(command: Sequence[str], stdin: bytes | None = None) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode()
