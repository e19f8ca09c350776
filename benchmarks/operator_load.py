"""What the operator costs: ``python -m benchmarks.operator_load``.

A real control plane and the operator as a process of its own, on one core where there are two; what a node does is
played. Scenarios: resources whose search has ended with a proposal, and paused ones that were accepted. For each: the
time from the start of a process until every resource has been looked at, its processor time and memory, and, left
alone, its requests to the API server a second (watches are not counted).
"""

import argparse
import contextlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.occasion import heading
from e2e.embedded import places
from e2e.embedded.client import Client
from e2e.embedded.controlplane import ControlPlane
from tests.conftest import install_crds
from tests.phases import builders
from tests.reconciling import stage
from tests.reconciling.job_player import JobPlayer
from tests.reconciling.operators import OperatorProcess
from tests.reconciling.test_restarts import script

INFDEP = ("rightsizer.dev/v1alpha1", "InferenceDeployment")
SETTLE_S = 15.0
"""Echoes of one's own writes, and Events, are not idleness."""
BEAT_S = 10.0
"""A node that is not heard of for 40 s is not ready any more, and neither are its pods."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """``searched``: each runs a whole search first, its Jobs played; else each is paused."""

    resources: int
    searched: bool
    limit_s: float

    @property
    def name(self) -> str:
        return f"load-{'searched' if self.searched else 'paused'}-{self.resources}"


def wait(question: Callable[[], bool], what: str, limit_s: float) -> float:
    """Seconds until it is so."""
    began = time.monotonic()
    while not question():
        if time.monotonic() > began + limit_s:
            raise SystemExit(f"{what}: not within {limit_s:.0f} s")
        time.sleep(0.1)
    return time.monotonic() - began


def fill(api: Client, scenario: Scenario) -> None:
    """A namespace with one claim, and for each resource its own target of one replica."""
    namespace = scenario.name
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    wait(lambda: api.find("v1", "ServiceAccount", "default", namespace) is not None, "its service account", 60)
    api.create(stage.claim(namespace))
    for number in range(scenario.resources):
        name = f"chat-{number}"
        target = builders.a_target(replicas=4 if scenario.searched else 1)
        del target["status"]
        target["metadata"] = {"name": name, "namespace": namespace}
        target["spec"]["selector"] = {"matchLabels": {"app": name}}
        target["spec"]["template"]["metadata"] = {"labels": {"app": name}}
        api.create(target)
        spec = builders.a_spec_document(targetRef={"name": name}, paused=not scenario.searched)
        api.create({**stage.infdep(namespace, name), "spec": spec})


def conditions(api: Client, namespace: str, wanted: str) -> int:
    """How many resources have that condition True."""
    found = [one.get("status", {}).get("conditions") or [] for one in api.list(*INFDEP, namespace)]
    return sum(any(one["type"] == wanted and one["status"] == "True" for one in all_) for all_ in found)


def a_node(api: Client, scenario: Scenario) -> JobPlayer:
    accelerators = scenario.resources * 6
    node = JobPlayer(api=api, namespace=scenario.name, answer=script, accelerators=accelerators, resource=builders.SLOT)
    node.start()
    return node


@contextlib.contextmanager
def beating(node: JobPlayer) -> Iterator[None]:
    """The node goes on by itself."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_S):
            node.tick()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def prepare(api: Client, scenario: Scenario, node: JobPlayer, operator: OperatorProcess) -> None:
    """To the state in which nothing is left to be done: a proposal each, or accepted and paused."""
    done = "ProposalReady" if scenario.searched else "Paused"

    def step() -> bool:
        node.tick()
        return all(conditions(api, scenario.name, wanted) == scenario.resources for wanted in ("Ready", done))

    operator.start()
    wait(step, f"{scenario.name}: {done}", scenario.limit_s)
    operator.stop()


def metric(operator: OperatorProcess, pattern: str) -> float:
    """Sum of the series whose line begins with the pattern; 0 while nobody answers."""
    lines = re.findall(rf"^{pattern}\S* (\S+)$", operator.probe("/metrics")[1], re.MULTILINE)
    return sum(map(float, lines))


def memory_mb(operator: OperatorProcess, row: str) -> float:
    assert operator.process is not None
    status = Path(f"/proc/{operator.process.pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(row))


def processor_s(operator: OperatorProcess) -> float:
    assert operator.process is not None
    fields = Path(f"/proc/{operator.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(scenario: Scenario, operator: OperatorProcess, idle_s: float) -> str:
    """A row: a cold start over settled resources, then idleness."""
    operator.start()
    assert operator.process is not None
    os.sched_setaffinity(operator.process.pid, {max(os.sched_getaffinity(0))})

    def all_seen() -> bool:
        return metric(operator, "rightsizer_reconciles_total") >= scenario.resources

    started = wait(all_seen, f"{scenario.name}: cold start", scenario.limit_s)
    spent = processor_s(operator)
    time.sleep(SETTLE_S)
    before, began = metric(operator, "rightsizer_api_requests_total"), time.monotonic()
    time.sleep(idle_s)
    rate = (metric(operator, "rightsizer_api_requests_total") - before) / (time.monotonic() - began)
    cells = [
        scenario.resources,
        "with a proposal" if scenario.searched else "paused",
        f"{started:.1f}",
        f"{spent:.1f}",
        f"{memory_mb(operator, 'VmRSS'):.0f}",
        f"{memory_mb(operator, 'VmHWM'):.0f}",
        f"{rate:.2f}",
    ]
    operator.stop()
    return f"| {' | '.join(map(str, cells))} |"


def play(plane: ControlPlane, scenario: Scenario, folder: Path, idle_s: float) -> str:
    fill(plane.admin, scenario)
    operator = OperatorProcess(folder=folder, namespace=scenario.name, kubeconfig=plane.kubeconfig, pod=scenario.name)
    try:
        node = a_node(plane.admin, scenario)
        prepare(plane.admin, scenario, node, operator)
        with beating(node):
            return measure(scenario, operator, idle_s)
    finally:
        if operator.running:
            operator.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searched", default="10", help="resources with a proposal, numbers with commas; '' for none")
    parser.add_argument("--paused", default="50,1000", help="paused resources, numbers with commas; '' for none")
    parser.add_argument("--idle-s", type=float, default=120, help="seconds of idleness that are counted (default: 120)")
    parser.add_argument("--limit-s", type=float, default=900, help="longest wait for one step (default: 900)")
    given = parser.parse_args()
    print(heading("rightsizer-operator", "kopf", "kubernetes"), f"{given.idle_s:g} s of idleness each\n", sep="")
    print("| resources | state | cold start s | its processor s | RSS MB | peak MB | idle API requests/s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for searched, counts in ((True, given.searched), (False, given.paused)):
        for count in filter(None, counts.split(",")):
            scenario = Scenario(resources=int(count), searched=searched, limit_s=given.limit_s)
            with ControlPlane() as plane, tempfile.TemporaryDirectory() as folder:
                install_crds(plane.admin, places.REPOSITORY / "crds")
                print(play(plane, scenario, Path(folder), given.idle_s), flush=True)


if __name__ == "__main__":
    main()
