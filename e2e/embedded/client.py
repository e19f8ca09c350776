"""A small client of the embedded API server: manifests in, dicts out, over the standard library.

For the tests, the demo and the cluster itself.
It knows client certificates and tokens only; a cluster of the user's own is spoken to through kubectl.
"""

import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Object = dict[str, Any]
T = TypeVar("T")
FIELD_MANAGER = "rightsizer-embedded"
_PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


class Refused(Exception):
    """The API server's answer was an error: its HTTP code, its reason (CamelCase) and its message for people."""

    def __init__(self, code: int, body: str) -> None:
        try:
            status: Object = json.loads(body)
        except ValueError:
            status = {}
        self.code = code
        self.reason: str = status.get("reason") or ""
        self.message: str = status.get("message") or body
        super().__init__(f"{code} {self.reason}: {self.message}")


class Client:
    """Objects are addressed by apiVersion, kind, name and namespace, as in a manifest."""

    def __init__(
        self, server: str, authority: Path, certificate: tuple[Path, Path] | None = None, token: str | None = None
    ) -> None:
        self.server = server
        self._authority = authority
        self._tls = ssl.create_default_context(cafile=str(authority))
        if certificate:
            self._tls.load_cert_chain(*certificate)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        # Loopback only: never through a proxy of the environment.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._tls)
        )
        self._kinds: dict[tuple[str, str], tuple[str, bool]] = {}

    # --- requests

    def text(self, path: str, method: str = "GET", body: Any = None, content_type: str = "application/json") -> str:
        """One request; raises `Refused` for an error answer and `OSError` when there is none."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", "Content-Type": content_type, **self._headers}
        request = urllib.request.Request(self.server + path, data=data, headers=headers, method=method)
        try:
            with self._opener.open(request, timeout=30) as answer:
                found: bytes = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, error.read().decode(errors="replace")) from None
        return found.decode()

    def request(self, path: str, method: str = "GET", body: Any = None, content_type: str = "application/json") -> Any:
        return json.loads(self.text(path, method, body, content_type))

    def path(
        self, api_version: str, kind: str, name: str | None = None, namespace: str | None = None, subresource: str = ""
    ) -> str:
        """The URL path of an object, or of the collection when `name` is None."""
        plural, namespaced = self._resource(api_version, kind)
        parts = [_group_path(api_version)]
        if namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [plural, *([name] if name else []), *([subresource] if subresource else [])]
        return "/".join(parts)

    def _resource(self, api_version: str, kind: str) -> tuple[str, bool]:
        if (api_version, kind) not in self._kinds:
            for found in self.request(_group_path(api_version))["resources"]:
                if "/" not in found["name"]:
                    self._kinds[api_version, found["kind"]] = (found["name"], found["namespaced"])
        try:
            return self._kinds[api_version, kind]
        except KeyError:
            raise LookupError(f"the API server knows no {kind} in {api_version}") from None

    # --- objects

    def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None, subresource: str = ""
    ) -> Object:
        found: Object = self.request(self.path(api_version, kind, name, namespace, subresource))
        return found

    def find(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None when there is none of this name."""
        try:
            return self.get(api_version, kind, name, namespace)
        except Refused as refused:
            if refused.code != 404:
                raise
            return None

    def list(self, api_version: str, kind: str, namespace: str | None = None, selector: str = "") -> "list[Object]":
        """All objects of a kind, in one namespace or (None) in all, that carry the labels of `selector`."""
        query = f"?labelSelector={urllib.parse.quote(selector)}" if selector else ""
        items: list[Object] = self.request(self.path(api_version, kind, None, namespace) + query)["items"]
        return [{"apiVersion": api_version, "kind": kind, **item} for item in items]

    def create(self, manifest: Object, *, dry_run: bool = False, subresource: str = "") -> Object:
        """Create; with a subresource (`token`, `eviction`), post to it."""
        meta = manifest["metadata"]
        name = meta["name"] if subresource else None
        path = self.path(manifest["apiVersion"], manifest["kind"], name, meta.get("namespace"), subresource)
        query = f"?fieldManager={FIELD_MANAGER}" + ("&dryRun=All" if dry_run else "")
        created: Object = self.request(path + query, "POST", manifest)
        return created

    def replace(self, manifest: Object, *, subresource: str = "") -> Object:
        """Update at the manifest's resourceVersion."""
        meta = manifest["metadata"]
        path = self.path(manifest["apiVersion"], manifest["kind"], meta["name"], meta.get("namespace"), subresource)
        replaced: Object = self.request(f"{path}?fieldManager={FIELD_MANAGER}", "PUT", manifest)
        return replaced

    def apply(self, manifest: Object, *, manager: str = FIELD_MANAGER, force: bool = False) -> Object:
        """Server-side apply as `manager`; raises `Refused` (409) when another manager owns a field, unless forced."""
        meta = manifest["metadata"]
        path = self.path(manifest["apiVersion"], manifest["kind"], meta["name"], meta.get("namespace"))
        query = urllib.parse.urlencode({"fieldManager": manager, "force": str(force).lower()})
        applied: Object = self.request(f"{path}?{query}", "PATCH", manifest, _PATCH_TYPES["apply"])
        return applied

    def patch(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        body: Any,
        how: str = "merge",
        subresource: str = "",
    ) -> Object:
        """Patch an object or its subresource; `how` is merge, json or strategic."""
        path = self.path(api_version, kind, name, namespace, subresource)
        patched: Object = self.request(f"{path}?fieldManager={FIELD_MANAGER}", "PATCH", body, _PATCH_TYPES[how])
        return patched

    def delete(
        self, api_version: str, kind: str, name: str, namespace: str | None = None, *, propagation: str = "Background"
    ) -> None:
        """Ask for deletion; one that is already gone is no error."""
        try:
            self.request(self.path(api_version, kind, name, namespace), "DELETE", {"propagationPolicy": propagation})
        except Refused as refused:
            if refused.code != 404:
                raise

    # --- others

    def as_service_account(self, name: str, namespace: str) -> "Client":
        """A client with exactly the rights of this ServiceAccount, by a token of one hour."""
        return Client(self.server, self._authority, token=self.token(name, namespace))

    def token(self, name: str, namespace: str) -> str:
        path = self.path("v1", "ServiceAccount", name, namespace, "token")
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        token: str = self.request(path, "POST", body)["status"]["token"]
        return token


def wait_for(question: Callable[[], T], what: str, limit_s: float = 60.0, pause_s: float = 0.05) -> T:
    """The first truthy answer to `question`; raises `TimeoutError` naming `what` when there is none in time."""
    deadline = time.monotonic() + limit_s
    while not (answer := question()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {limit_s:.0f} s: {what}")
        time.sleep(pause_s)
    return answer


def _group_path(api_version: str) -> str:
    return f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
