"""The cluster port over the official client (``kubernetes.aio``): raw JSON in and out, no generated models.

``__main__`` makes one for the process. It decides nothing and retries nothing: back-off belongs to the queue.
"""

import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration as Configuration

from rightsizer_operator.cluster.answers import failure
from rightsizer_operator.cluster.port import FIELD_MANAGER, Conflict, Kind, NotFound, Object, Unavailable

JSON = "application/json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the API server, for a second client (kopf's watch streams). ``authorization`` is the header's
    value, or empty.
    """

    server: str
    verify: bool
    ca_path: str | None
    certificate_path: str | None
    key_path: str | None
    authorization: str


Answered = Callable[[str, int], None]


async def configuration(kubeconfig: str = "") -> Configuration:
    """Of the kubeconfig where one is named, else of the pod's ServiceAccount, else of ~/.kube/config."""
    found = Configuration()
    if not kubeconfig and os.environ.get("KUBERNETES_SERVICE_HOST"):
        config.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
    else:
        await config.load_kube_config(kubeconfig or None, client_configuration=found)  # type: ignore[no-untyped-call]
    return found


async def access(found: Configuration) -> Access:
    """Of a configuration as it is now: a token of a ServiceAccount is read anew when it is about to expire."""
    return Access(
        server=found.host,
        verify=bool(found.verify_ssl),
        ca_path=found.ssl_ca_cert,
        certificate_path=found.cert_file,
        key_path=found.key_file,
        authorization=await found.get_api_key_with_prefix("BearerToken", alias="authorization") or "",
    )


class KubeCluster:
    """``answered`` is told method and status code of every call (0: no answer), for the metrics."""

    def __init__(self, configuration: Configuration, answered: Answered = lambda *_: None) -> None:
        self._client = ApiClient(configuration)
        self._client.user_agent = FIELD_MANAGER
        self._answered = answered

    async def close(self) -> None:
        await self._client.close()  # type: ignore[no-untyped-call]

    async def read(self, kind: Kind, namespace: str, name: str) -> Object | None:
        try:
            return await self._call("GET", kind.path(namespace, name))
        except NotFound:
            return None

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
        query = _present(labelSelector=labels, fieldSelector=fields, limit=str(page_size))
        accept = METADATA_LIST if metadata_only else JSON
        token = ""
        while True:
            page = await self._call(
                "GET", kind.path(namespace), [*query, *_present(**{"continue": token})], accept=accept
            )
            yield page.get("items") or []
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        return await self._call("POST", kind.path(namespace), _present(fieldManager=FIELD_MANAGER), manifest)

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            await self._call("DELETE", kind.path(namespace, name), body=body)
        except (NotFound, Conflict):  # Conflict: another object has the name by now, ours is gone
            return

    async def apply(
        self, kind: Kind, namespace: str, name: str, patch: Object, *, force: bool, dry_run: bool
    ) -> Object:
        query = _present(fieldManager=FIELD_MANAGER, force=str(force).lower(), dryRun="All" if dry_run else "")
        return await self._call("PATCH", kind.path(namespace, name), query, patch, content_type=APPLY)

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Object, subresource: str = "") -> Object:
        query = _present(fieldManager=FIELD_MANAGER)
        return await self._call("PATCH", kind.path(namespace, name, subresource), query, patch, content_type=MERGE)

    async def replace(self, kind: Kind, namespace: str, name: str, manifest: Object) -> Object:
        return await self._call("PUT", kind.path(namespace, name), _present(fieldManager=FIELD_MANAGER), manifest)

    async def _call(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]] | None = None,
        body: Object | None = None,
        *,
        accept: str = JSON,
        content_type: str = JSON,
    ) -> Object:
        code, raw = 0, b""
        try:
            request = await self._client.param_serialize(
                method,
                path,
                query_params=query or [],
                header_params={"Accept": accept, "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await self._client.call_api(*request, _request_timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
            raw, code = await answer.read(), answer.status  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{method} {path}: {type(error).__name__}: {error}") from error
        finally:
            self._answered(method, code)
        if not 200 <= code <= 299:
            raise failure(code, raw)
        return _parsed(raw)


def _parsed(raw: bytes) -> Object:
    try:
        parsed: Any = json.loads(raw)
    except ValueError as error:
        raise Unavailable(f"the API server's answer is not JSON: {raw[:80]!r}") from error
    if not isinstance(parsed, dict):
        raise Unavailable("the API server's answer is not an object")
    return parsed


def _present(**values: str) -> list[tuple[str, str]]:
    return [(key, value) for key, value in values.items() if value]
