"""kopf, and nothing else of it than watch streams: ``on.event`` handlers that put a key on the queue. ``__main__``
starts it.

No handler here reads, writes or decides; none may be of a kind that makes kopf write finalizers or annotations.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import kopf

from rightsizer_operator.cluster.kube import Access
from rightsizer_operator.cluster.port import DEPLOYMENTS, INFERENCE_DEPLOYMENTS, JOBS, OPTIMIZATION_RUNS, PODS, Kind
from rightsizer_operator.manifests import labels
from rightsizer_operator.work_queue import Key

Enqueue = Callable[[Key], None]
Body = dict[str, Any]


class Wakeups:
    """Which resource an event speaks of. ``targets`` is only a hint for waking up: what is missed is found by the
    next look.
    """

    def __init__(self, enqueue: Enqueue) -> None:
        self._enqueue = enqueue
        self._targets: dict[Key, tuple[str, str]] = {}
        """Namespace and name of the target by resource."""

    def resource(self, type: str | None, body: Body) -> None:
        metadata = body["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        target = ((body.get("spec") or {}).get("targetRef") or {}).get("name")
        if type == "DELETED" or not target:
            self._targets.pop(key, None)
        else:
            self._targets[key] = (key.namespace, target)
        self._enqueue(key)

    def owned(self, body: Body) -> None:
        """A run, or a Job or pod of one."""
        metadata = body["metadata"]
        label = (metadata.get("labels") or {}).get(labels.INFERENCE_DEPLOYMENT)
        for key in self._targets:
            if key.namespace == metadata["namespace"] and label == labels.label_value(key.name):
                self._enqueue(key)

    def target(self, body: Body) -> None:
        found = (body["metadata"]["namespace"], body["metadata"]["name"])
        for key, target in self._targets.items():
            if target == found:
                self._enqueue(key)


class Backoffs:
    """Delays between attempts of kopf's own calls, for ever: kopf ends the operator when they run out."""

    def __iter__(self) -> Iterator[float]:
        delay = 1.0
        while True:
            yield delay * random.uniform(0.8, 1.2)
            delay = min(30.0, delay * 2)


def registry(wakeups: Wakeups, access: Callable[[], Awaitable[Access]]) -> kopf.OperatorRegistry:
    found = kopf.OperatorRegistry()

    async def on_resource(type: str | None, body: kopf.Body, **_: object) -> None:
        wakeups.resource(type, dict(body))

    async def on_owned(body: kopf.Body, **_: object) -> None:
        wakeups.owned(dict(body))

    async def on_target(body: kopf.Body, **_: object) -> None:
        wakeups.target(dict(body))

    async def log_in(**_: object) -> kopf.ConnectionInfo:
        return connection(await access())

    kopf.on.login(registry=found)(log_in)
    for kind, handler in (
        (INFERENCE_DEPLOYMENTS, on_resource),
        (OPTIMIZATION_RUNS, on_owned),
        (JOBS, on_owned),
        (PODS, on_owned),
        (DEPLOYMENTS, on_target),
    ):
        kopf.on.event(*_selector(kind), registry=found, id=f"wake-{kind.plural}")(handler)
    return found


def settings() -> kopf.OperatorSettings:
    found = kopf.OperatorSettings()
    found.peering.standalone = True
    found.scanning.disabled = True
    found.posting.enabled = False
    found.networking.error_backoffs = Backoffs()
    found.networking.request_timeout = 60
    found.watching.chunk_size = 100
    found.process.ultimate_exiting_timeout = 20
    ours = labels.selector()
    for kind in (JOBS, PODS):
        found.watching.label_selectors[_selector(kind)] = ours
    return found


def connection(access: Access) -> kopf.ConnectionInfo:
    scheme, _, token = access.authorization.rpartition(" ")
    return kopf.ConnectionInfo(
        server=access.server,
        ca_path=access.ca_path,
        insecure=not access.verify,
        scheme=scheme or None,
        token=token or None,
        certificate_path=access.certificate_path,
        private_key_path=access.key_path,
    )


# Peering is off, but kopf would still look the user up by name, and a container's arbitrary uid has none.
NO_PEER: Any = "rightsizer"


async def watch(
    wakeups: Wakeups, access: Callable[[], Awaitable[Access]], namespaces: tuple[str, ...], stop: asyncio.Event
) -> None:
    """Until ``stop`` is set or the process gets a signal; raises what kopf cannot survive (the process then
    restarts).
    """
    await kopf.operator(
        registry=registry(wakeups, access),
        settings=settings(),
        standalone=True,
        identity=NO_PEER,
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
    )


def _selector(kind: Kind) -> tuple[str, str, str]:
    group, _, version = kind.api_version.rpartition("/")
    return group, version, kind.plural
