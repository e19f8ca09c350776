"""Leadership by a coordination.k8s.io Lease: one replica works, the others stand by. Used by ``__main__``.

Times as in controller-runtime: others take over 15 s after the last renewal they saw change; the leader gives up 10
s after its own last
successful one, so two never write. Ages are taken on the local monotonic clock: wrong wall clocks do no harm.
"""

import asyncio
import datetime
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from rightsizer_operator.cluster.port import (
    LEASES,
    AlreadyExists,
    Cluster,
    ClusterError,
    Conflict,
    Kind,
    Object,
)

log = logging.getLogger(__name__)

DURATION_S = 15.0
RENEW_DEADLINE_S = 10.0
RETRY_S = 2.0
ATTEMPT_S = 5.0
RENEW_S = 4.0
"""Between two successful renewals; controller-runtime takes RETRY_S here, twice the requests for nothing gained."""


class LeadershipLost(Exception):
    """The process must end: somebody else may be writing."""


@dataclass(slots=True, kw_only=True)
class Lease:
    """``identity`` is unique to the process. ``clock`` is monotonic seconds, ``today`` the time of day written into
    the Lease.
    """

    cluster: Cluster
    namespace: str
    name: str
    identity: str
    clock: Callable[[], float] = time.monotonic
    today: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC)
    _seen: str = ""
    _seen_at: float = field(default=float("-inf"))
    _renewed_at: float = field(default=float("-inf"))
    _held: Object | None = None

    @property
    def leading(self) -> bool:
        """Whether the last successful renewal is recent enough to write."""
        return self.clock() - self._renewed_at < RENEW_DEADLINE_S

    def require(self) -> None:
        """Raises LeadershipLost unless leading; called before every write."""
        if not self.leading:
            raise LeadershipLost(f"{self.identity} does not hold the Lease {self.namespace}/{self.name}")

    async def acquire(self) -> None:
        """Until it is held. Errors are waited out: a standby has nothing else to do."""
        while not await self._tried():  # noqa: ASYNC110  only the API server knows when the Lease is free
            await asyncio.sleep(RETRY_S)

    async def keep(self) -> None:
        """Renew for ever; raises LeadershipLost when that failed for too long or somebody else holds it."""
        while True:
            await asyncio.sleep(RENEW_S if await self._tried() else RETRY_S)
            self.require()

    async def release(self) -> None:
        """Give it up at once, so that a standby need not wait; best effort."""
        if not self.leading or self._held is None:
            return
        self._renewed_at = float("-inf")
        empty = {**self._held, "spec": {**self._held["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}}
        try:
            await self.cluster.replace(LEASES, self.namespace, self.name, empty)
        except ClusterError as error:
            log.info("lease not released", extra={"error": error.message})

    async def _tried(self) -> bool:
        try:
            async with asyncio.timeout(ATTEMPT_S):
                return await self.attempt()
        except (ClusterError, TimeoutError) as error:
            self._held = None  # read it again: it may have been written after all
            log.debug("lease attempt failed", extra={"error": str(error)})
            return False

    async def attempt(self) -> bool:
        """Take or renew it once; False where somebody else holds it or was faster. Raises ClusterError."""
        began = self.clock()
        stored = self._held or await self.cluster.read(LEASES, self.namespace, self.name)
        try:
            if stored is None:
                self._held = await self.cluster.create(LEASES, self.namespace, self._manifest({}, {}))
            elif self._may_take(stored):
                body = self._manifest(stored["metadata"], stored.get("spec") or {})
                self._held = await self.cluster.replace(LEASES, self.namespace, self.name, body)
            else:
                return False
        except (Conflict, AlreadyExists):
            self._held = None
            return False
        self._renewed_at = began  # from before the call: the server may have counted from then
        return True

    def _may_take(self, stored: Object) -> bool:
        spec = stored.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        version = stored["metadata"]["resourceVersion"]
        if version != self._seen:
            self._seen, self._seen_at = version, self.clock()
        duration = float(spec.get("leaseDurationSeconds") or DURATION_S)
        return holder in ("", self.identity) or self.clock() - self._seen_at > duration

    def _manifest(self, metadata: Object, spec: Object) -> Object:
        now = self.today().astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        mine = spec.get("holderIdentity") == self.identity
        transitions = int(spec.get("leaseTransitions") or 0)
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {**metadata, "name": self.name, "namespace": self.namespace},
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": int(DURATION_S),
                "acquireTime": spec["acquireTime"] if mine and spec.get("acquireTime") else now,
                "renewTime": now,
                "leaseTransitions": transitions if mine or not spec else transitions + 1,
            },
        }


@dataclass(frozen=True, slots=True)
class LeaderOnly:
    """A cluster that reads for everybody and writes for the leader; raises LeadershipLost before a write without the
    Lease.
    """

    cluster: Cluster
    lease: Lease

    async def read(self, kind: Kind, namespace: str, name: str) -> Object | None:
        return await self.cluster.read(kind, namespace, name)

    def pages(
        self,
        kind: Kind,
        namespace: str,
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
        page_size: int = 250,
    ) -> AsyncIterator[list[Object]]:
        return self.cluster.pages(
            kind, namespace, labels=labels, fields=fields, metadata_only=metadata_only, page_size=page_size
        )

    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        self.lease.require()
        return await self.cluster.create(kind, namespace, manifest)

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        self.lease.require()
        await self.cluster.delete(kind, namespace, name, uid)

    async def apply(
        self, kind: Kind, namespace: str, name: str, patch: Object, *, force: bool, dry_run: bool
    ) -> Object:
        self.lease.require()
        return await self.cluster.apply(kind, namespace, name, patch, force=force, dry_run=dry_run)

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Object, subresource: str = "") -> Object:
        self.lease.require()
        return await self.cluster.merge(kind, namespace, name, patch, subresource)

    async def replace(self, kind: Kind, namespace: str, name: str, manifest: Object) -> Object:
        self.lease.require()
        return await self.cluster.replace(kind, namespace, name, manifest)
