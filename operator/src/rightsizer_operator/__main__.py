"""Start-up of the operator: settings, log, probes, rights, Lease, then watch streams and workers. ``python -m
rightsizer_operator [FILE]``.

Crash-only: all state is in the cluster, so every way out is a process exit and every way in a fresh start.
"""

import asyncio
import logging
import os
import pathlib
import random
import signal
import socket
import sys
import time
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from rightsizer_operator import handlers, journal, probes
from rightsizer_operator import settings as configuration
from rightsizer_operator.cluster import kube, rights
from rightsizer_operator.cluster.accelerators import CapacityReader
from rightsizer_operator.cluster.gpu_reader import GpuReader
from rightsizer_operator.cluster.port import INFERENCE_DEPLOYMENTS, Cluster, ClusterError, NotFound
from rightsizer_operator.cluster.prometheus import DemandReader
from rightsizer_operator.lease import LeaderOnly, LeadershipLost, Lease
from rightsizer_operator.phases import advance
from rightsizer_operator.reconcile import Advance, Reconciler
from rightsizer_operator.recorder import Recorder
from rightsizer_operator.settings import Settings
from rightsizer_operator.telemetry import Telemetry
from rightsizer_operator.work_queue import Key, WorkQueue, work

log = logging.getLogger("rightsizer_operator")

CONFIG_VARIABLE = "RIGHTSIZER_CONFIG"
EXIT_OK, EXIT_FAILED, EXIT_CONFIG = 0, 1, 2
START_RETRY_S = 5.0


class MissingRights(Exception):
    """The ServiceAccount lacks rights; the message lists them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """What one process is made of."""

    settings: Settings
    cluster: kube.KubeCluster
    access: kube.Configuration
    queue: WorkQueue
    telemetry: Telemetry
    health: probes.Health
    lease: Lease
    advance: Advance


async def run(settings: Settings, advance: Advance) -> int:
    """The exit code. Returns on SIGTERM, SIGINT, or when something that cannot be survived happened."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):  # kopf takes them over while it runs
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    telemetry, queue = Telemetry(), WorkQueue()
    health = probes.Health(queue=queue, stuck_after_s=settings.stuck_after_s)
    runner, _ = await probes.serve(health, telemetry, settings.http_port)
    access = await kube.configuration(os.environ.get("KUBECONFIG", ""))
    cluster = kube.KubeCluster(access, telemetry.answered)
    lease = Lease(cluster=cluster, namespace=own_namespace(settings), name=settings.lease_name, identity=identity())
    replica = Replica(
        settings=settings,
        cluster=cluster,
        access=access,
        queue=queue,
        telemetry=telemetry,
        health=health,
        lease=lease,
        advance=advance,
    )
    try:
        return await _until(stop, _live(replica, stop))
    finally:
        await cluster.close()
        await runner.cleanup()


async def _live(replica: Replica, stop: asyncio.Event) -> None:
    await check_cluster(replica)
    replica.health.lease = replica.lease
    replica.health.started = True
    log.info("standing by", extra={"identity": replica.lease.identity})
    await replica.lease.acquire()
    log.info("leading", extra={"identity": replica.lease.identity})
    try:
        await _lead(replica, stop)
    finally:
        await replica.lease.release()


async def _lead(replica: Replica, stop: asyncio.Event) -> None:
    """Watch streams, workers, resync and renewal side by side; the first that ends, ends all."""
    replica.health.listed_at = time.monotonic()
    reconciler = _reconciler(replica)
    wakeups = handlers.Wakeups(lambda key: replica.queue.add(key, time.monotonic()))
    parts: list[Coroutine[Any, Any, None]] = [
        replica.lease.keep(),
        resync(replica),
        *(work(replica.queue, reconciler.handle) for _ in range(replica.settings.workers)),
        handlers.watch(wakeups, lambda: kube.access(replica.access), replica.settings.namespaces, stop),
    ]
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reconciler(replica: Replica) -> Reconciler:
    guarded: Cluster = LeaderOnly(replica.cluster, replica.lease)
    return Reconciler(
        cluster=guarded,
        capacity=CapacityReader(guarded, replica.settings.namespaces),
        demand=DemandReader(replica.settings.prometheus),
        gpus=GpuReader(replica.settings.prometheus),
        settings=replica.settings,
        advance=replica.advance,
        recorder=Recorder(guarded, replica.lease.identity),
        telemetry=replica.telemetry,
    )


async def resync(replica: Replica) -> None:
    """List all resources now and then: what a watch missed is found, what is gone is forgotten.

    Raises NotFound when the CRD was removed: kopf looks for kinds at its start only, so the process has to start anew.
    """
    while True:
        try:
            began = time.monotonic()
            keys = await known(replica.cluster, replica.settings.namespaces)
            replica.queue.keep(keys, time.monotonic(), began)
            replica.health.listed_at = time.monotonic()
        except NotFound:
            raise
        except ClusterError as error:
            log.warning("resync failed", extra={"error": error.message})
        await asyncio.sleep(replica.settings.resync_s * random.uniform(0.9, 1.1))


async def known(cluster: Cluster, namespaces: tuple[str, ...]) -> set[Key]:
    keys = set()
    for namespace in namespaces or ("",):
        async for page in cluster.pages(INFERENCE_DEPLOYMENTS, namespace, metadata_only=True):
            keys |= {Key(item["metadata"]["namespace"], item["metadata"]["name"]) for item in page}
    return keys


async def check_cluster(replica: Replica) -> None:
    """Waits for the API server and for the CRDs; raises MissingRights with every missing right named."""
    while True:
        try:
            missing = await rights.missing(
                replica.cluster, replica.settings.namespaces, replica.lease.namespace, replica.lease.name
            )
            _complain(missing)
            await known(replica.cluster, replica.settings.namespaces)
            return
        except NotFound:
            log.warning("the CRDs are missing: apply crds/, or install the chart with crds.enabled")
            await asyncio.sleep(START_RETRY_S)
        except ClusterError as error:
            log.warning("the API server does not answer yet", extra={"error": error.message})
            await asyncio.sleep(START_RETRY_S)


def _complain(missing: list[rights.Question]) -> None:
    needed = [str(question) for question in missing if not question.optional]
    if needed:
        raise MissingRights(f"the operator's ServiceAccount may not: {'; '.join(needed)}. Grant these in its role.")
    if missing:
        log.info("rights left out", extra={"rights": [str(question) for question in missing]})


async def _until(stop: asyncio.Event, life: Coroutine[Any, Any, None]) -> int:
    """The exit code of a life that ends by itself or by ``stop``."""
    living, stopping = asyncio.create_task(life), asyncio.create_task(stop.wait())
    await asyncio.wait({living, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    living.cancel()
    try:
        await living
    except asyncio.CancelledError:
        return EXIT_OK
    except (LeadershipLost, MissingRights, NotFound) as error:
        log.error(str(error))
        return EXIT_FAILED
    return EXIT_OK


def identity() -> str:
    """The pod's name: unique, and the same after a restart of the container, which may then lead on at once."""
    return os.environ.get("POD_NAME") or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"


def own_namespace(settings: Settings) -> str:
    return settings.lease_namespace or os.environ.get("POD_NAMESPACE") or "default"


def main(arguments: list[str]) -> int:
    path = arguments[0] if arguments else os.environ.get(CONFIG_VARIABLE, "")
    if not path or len(arguments) > 1:
        print(f"usage: python -m rightsizer_operator FILE (or {CONFIG_VARIABLE}=FILE)", file=sys.stderr)  # noqa: T201
        return EXIT_CONFIG
    try:
        settings = configuration.load(pathlib.Path(path))
    except configuration.SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return EXIT_CONFIG
    journal.set_up(settings.log_level)
    return asyncio.run(run(settings, advance))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
