"""Events on an InferenceDeployment, counted instead of repeated. ``reconcile`` calls it; an Event that cannot be
written is logged and let go.

Name and text decide the object: the same Event again raises the count of the one that is there.
"""

import datetime
import hashlib
import logging
from collections import OrderedDict

from rightsizer_operator.actions import EmitEvent
from rightsizer_operator.cluster.port import (
    EVENTS,
    FIELD_MANAGER,
    INFERENCE_DEPLOYMENTS,
    AlreadyExists,
    Cluster,
    Conflict,
    NotFound,
    Object,
    Refused,
    Unavailable,
)
from rightsizer_operator.resource.conditions import rfc3339
from rightsizer_operator.world import InferenceDeployment

log = logging.getLogger(__name__)

MESSAGE_LIMIT = 1024
REMEMBERED = 1000
QUIET = datetime.timedelta(seconds=60)
"""The same Event is counted at most once in this time, whatever a loop does."""


class Recorder:
    def __init__(self, cluster: Cluster, instance: str) -> None:
        self._cluster = cluster
        self._instance = instance
        self._written: OrderedDict[str, datetime.datetime] = OrderedDict()

    async def record(self, infdep: InferenceDeployment, event: EmitEvent, now: datetime.datetime) -> None:
        name = event_name(infdep, event)
        if now - self._written.get(name, datetime.datetime.min.replace(tzinfo=datetime.UTC)) < QUIET:
            return
        try:
            await self._write(infdep.namespace, name, manifest(infdep, event, name, self._instance, now), now)
        except (Refused, Unavailable, Conflict, NotFound) as error:
            log.warning("event not written", extra={"reason": event.reason, "error": error.message})
            return
        self._remember(name, now)

    async def _write(self, namespace: str, name: str, body: Object, now: datetime.datetime) -> None:
        try:
            await self._cluster.create(EVENTS, namespace, body)
        except AlreadyExists:
            found = await self._cluster.merge(EVENTS, namespace, name, {"lastTimestamp": rfc3339(now)})
            await self._cluster.merge(EVENTS, namespace, name, {"count": int(found.get("count") or 1) + 1})

    def _remember(self, name: str, now: datetime.datetime) -> None:
        self._written[name] = now
        self._written.move_to_end(name)
        if len(self._written) > REMEMBERED:
            self._written.popitem(last=False)


def event_name(infdep: InferenceDeployment, event: EmitEvent) -> str:
    text = "\0".join((infdep.uid, event.type, event.reason, event.message))
    return f"{infdep.name[:200].rstrip('.-')}.{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def manifest(infdep: InferenceDeployment, event: EmitEvent, name: str, instance: str, now: datetime.datetime) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": infdep.namespace},
        "involvedObject": {
            "apiVersion": INFERENCE_DEPLOYMENTS.api_version,
            "kind": INFERENCE_DEPLOYMENTS.kind,
            "namespace": infdep.namespace,
            "name": infdep.name,
            "uid": infdep.uid,
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message[:MESSAGE_LIMIT],
        "count": 1,
        "firstTimestamp": rfc3339(now),
        "lastTimestamp": rfc3339(now),
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "reportingInstance": instance,
    }
