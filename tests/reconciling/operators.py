"""Operators as real processes, each with its own port, against a given kubeconfig; and a proxy that can fail."""

import asyncio
import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from e2e.embedded import ports


@dataclass(slots=True, kw_only=True)
class OperatorProcess:
    """``pod`` is the identity; two with one identity are the restart of one container."""

    folder: Path
    namespace: str
    kubeconfig: Path
    pod: str = "operator-1"
    settings: dict[str, Any] = field(default_factory=dict)
    port: int = field(default_factory=lambda: ports.free(1)[0])
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        config = self.folder / f"{self.pod}.yaml"
        given = {
            "httpPort": self.port,
            "leaseNamespace": self.namespace,
            "namespaces": [self.namespace],
            **self.settings,
        }
        config.write_text(yaml.safe_dump({"trial": {"image": "trial:1"}, "compress": {"image": "compress:1"}, **given}))
        variables = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "POD_NAME": self.pod}
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "rightsizer_operator", str(config)]
            self.process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.pod}.log"

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def said(self, message: str) -> bool:
        return any(line["message"] == message for line in self.lines())

    def probe(self, path: str) -> tuple[int, str]:
        """Status and text; status 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """As the kernel would: no chance to say goodbye."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def resident_mb(self) -> float:
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


class FailingProxy:
    """Plain HTTP in front of the API server, with the administrator's certificate; while ``failing`` all is 503."""

    def __init__(self, server: str, authority: Path, certificate: tuple[Path, Path]) -> None:
        self._server = server
        self._tls = ssl.create_default_context(cafile=str(authority))
        self._tls.load_cert_chain(*certificate)
        self.failing = False
        self.port = 0
        self._streams: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> "FailingProxy":
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._runner.cleanup()

    def fail(self) -> None:
        """From now on 503, and open watch streams end."""
        self.failing = True
        for stream in self._streams:
            stream.cancel()

    def kubeconfig(self, folder: Path) -> Path:
        cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
        context = {"name": "c", "context": {"cluster": "c", "user": "c"}}
        found = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context]}
        path = folder / "proxy.kubeconfig"
        path.write_text(yaml.safe_dump({**found, "users": [{"name": "c", "user": {}}], "current-context": "c"}))
        return path

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        if self.failing:
            return web.json_response({"kind": "Status", "code": 503, "message": "down"}, status=503)
        kept = ("Accept", "Content-Type")
        headers = {name: request.headers[name] for name in kept if name in request.headers}
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            async with self._session.request(
                request.method,
                f"{self._server}{request.rel_url}",
                data=await request.read() or None,
                headers=headers,
                ssl=self._tls,
            ) as answer:
                return await _copied(request, answer)
        finally:
            self._streams.discard(task)


async def _copied(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    kind = {"Content-Type": answer.headers.get("Content-Type", "application/json")}
    response = web.StreamResponse(status=answer.status, headers=kind)
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response
