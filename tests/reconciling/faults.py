"""A cluster that fails on purpose, around the real one: before or after a chosen write, once, or for a while.

Writes are numbered from 1 in the order in which they are tried; dry runs change nothing and are not counted.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from rightsizer_operator.cluster.port import (
    Cluster,
    Conflict,
    Kind,
    Object,
    Unavailable,
)

T = TypeVar("T")


class Killed(BaseException):
    """The process ended here; no handler of errors gets to see it."""


Fault = Callable[[int, str], str]
"""From number and verb of a write to what goes wrong: "" (nothing), "kill before", "kill after", "refuse" (503, not
written), "lose" (written, but the client sees a timeout), "conflict" (409, not written)."""


def nothing(number: int, verb: str) -> str:
    return ""


@dataclass(slots=True, kw_only=True)
class FaultyCluster:
    cluster: Cluster
    fault: Fault = nothing
    down: bool = False
    """Every call gets 503."""
    writes: list[str] = field(default_factory=list)
    """Verb, kind and name of every write that reached the server."""
    faults: list[str] = field(default_factory=list)
    """What went wrong so far."""
    _tried: int = 0

    async def read(self, kind: Kind, namespace: str, name: str) -> Object | None:
        self._up()
        return await self.cluster.read(kind, namespace, name)

    async def pages(
        self,
        kind: Kind,
        namespace: str,
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
        page_size: int = 250,
    ) -> AsyncIterator[list[Object]]:
        self._up()
        async for page in self.cluster.pages(
            kind, namespace, labels=labels, fields=fields, metadata_only=metadata_only, page_size=page_size
        ):
            yield page

    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        call = self.cluster.create(kind, namespace, manifest)
        return await self._write("create", kind, manifest["metadata"]["name"], call)

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        await self._write("delete", kind, name, self.cluster.delete(kind, namespace, name, uid))

    async def apply(
        self, kind: Kind, namespace: str, name: str, patch: Object, *, force: bool, dry_run: bool
    ) -> Object:
        call = self.cluster.apply(kind, namespace, name, patch, force=force, dry_run=dry_run)
        return await call if dry_run else await self._write("apply", kind, name, call)

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Object, subresource: str = "") -> Object:
        call = self.cluster.merge(kind, namespace, name, patch, subresource)
        return await self._write("merge", kind, name, call)

    async def replace(self, kind: Kind, namespace: str, name: str, manifest: Object) -> Object:
        return await self._write("replace", kind, name, self.cluster.replace(kind, namespace, name, manifest))

    def _up(self) -> None:
        if self.down:
            raise Unavailable("the API server is down", 503)

    async def _write(self, verb: str, kind: Kind, name: str, call: Awaitable[T]) -> T:
        self._tried += 1
        wrong = "refuse" if self.down else self.fault(self._tried, verb)
        self.faults += [wrong] if wrong else []
        if wrong in ("kill before", "refuse", "conflict"):
            call.close()  # type: ignore[attr-defined]  # never awaited
        if wrong == "kill before":
            raise Killed
        if wrong == "refuse":
            raise Unavailable("the API server is down", 503)
        if wrong == "conflict":
            raise Conflict("the object has been modified", 409)
        answer = await call
        self.writes.append(f"{verb} {kind.kind} {name}")
        if wrong == "kill after":
            raise Killed
        if wrong == "lose":
            raise Unavailable("timeout")
        return answer
