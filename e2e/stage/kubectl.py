"""kubectl as the demo and the scenarios use it: manifests in, dicts out. Thin on purpose: what runs here, a
user can type.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Object = dict[str, Any]


class Failed(RuntimeError):
    """kubectl (or helm) ended with an error; the message holds its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """One cluster. ``bin`` holds kubectl and helm and goes first on the path of everything started."""

    kubeconfig: Path | str
    bin: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": f"{self.bin}:{os.environ.get('PATH', '')}"}

    def run(self, *arguments: str, stdin: str | None = None, program: str = "kubectl", limit_s: float = 300) -> str:
        """Standard output; raises Failed with the last lines of standard error."""
        found = subprocess.run(
            [program, *arguments],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        if found.returncode != 0:
            said = (found.stderr or found.stdout).strip().splitlines()[-6:]
            raise Failed(f"{program} {' '.join(arguments[:6])}: exit {found.returncode}: " + "\n".join(said))
        return found.stdout

    def apply(self, objects: Iterable[Object], *options: str) -> str:
        """Ordinary client-side `kubectl apply`, as people do it."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        return self.run("apply", "-f", "-", *options, stdin=json.dumps(items))

    def get(self, kind: str, name: str, namespace: str) -> Object | None:
        """The object, or None when there is none."""
        text = self.run("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def list(self, kind: str, namespace: str, selector: str = "") -> "list[Object]":
        chosen = ["-l", selector] if selector else []
        items: list[Object] = json.loads(self.run("get", kind, "-n", namespace, "-o", "json", *chosen))["items"]
        return items

    def patch(self, kind: str, name: str, namespace: str, body: Object, *options: str) -> str:
        return self.run("patch", kind, name, "-n", namespace, "--type", "merge", "-p", json.dumps(body), *options)


def wait_for(question: Callable[[], Any], what: str, limit_s: float, pause_s: float = 2.0) -> Any:
    """The first truthy answer; raises TimeoutError that names ``what``. A question may raise Failed while
    things start.
    """
    deadline = time.monotonic() + limit_s
    last = ""
    while True:
        try:
            if answer := question():
                return answer
        except Failed as error:
            last = f" ({error})"
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {limit_s:.0f} s: {what}{last}")
        time.sleep(pause_s)


def condition(thing: Object | None, kind: str) -> Object:
    """That condition of an object, or an empty dict."""
    found: Sequence[Object] = ((thing or {}).get("status") or {}).get("conditions") or []
    return next((entry for entry in found if entry["type"] == kind), {})
