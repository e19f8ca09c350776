"""Access to the cluster, by the user's own ``kubectl``: every way to log in that kubectl knows, and no client library
to import.

Called by every command; the only place that starts a process. ``docs/decisions/0007-cli-access.md`` has the
reasons. ``RIGHTSIZER_KUBECTL`` names another program. Errors of kubectl become a ``Failure`` with the remedy.
"""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from typing import Any

from rightsizer_cli.failure import FORBIDDEN, NOT_FOUND, REFUSED, UNREACHABLE, Failure

Object = dict[str, Any]

INFERENCE_DEPLOYMENTS = "inferencedeployments.v1alpha1.rightsizer.dev"
OPTIMIZATION_RUNS = "optimizationruns.v1alpha1.rightsizer.dev"
FIELD_MANAGER = "rightsizer-cli"
_REQUEST_TIMEOUT = "15s"
_PROCESS_TIMEOUT_S = 90  # an exec login may ask the user something first

_INSTALL = "Install the chart: helm install rightsizer charts/rightsizer -n rightsizer-system --create-namespace."
_LOG_LINE = re.compile(r"[EWI]\d{4} \d\d:\d\d:\d\d")
_MEANINGS: tuple[tuple[str, int, str], ...] = (
    (r"doesn't have a resource type|no matches for kind|could not find the requested resource", REFUSED, _INSTALL),
    (r"\(NotFound\)", NOT_FOUND, "List what is there with: kubectl rightsizer status -A."),
    (
        r"\(Forbidden\)",
        FORBIDDEN,
        "Ask for the role rightsizer-edit (approve) or rightsizer-view (read) in this namespace.",
    ),
    (r"\((Conflict|Invalid|BadRequest|AlreadyExists)\)|admission webhook", REFUSED, ""),
    (
        r"\(Unauthorized\)|logged in|credentials",
        UNREACHABLE,
        "Log in again, or choose another context with --context or --kubeconfig.",
    ),
    (
        r"server localhost:8080 was refused",  # kubectl's default address
        UNREACHABLE,
        "kubectl found no kubeconfig: name one that exists with --kubeconfig or the variable KUBECONFIG.",
    ),
    (
        r"Unable to connect|refused|no such host|timeout|deadline|no configuration|context|cluster .* does not exist"
        r"|kubeconfig|error loading config|no such file",
        UNREACHABLE,
        "Check the cluster with: kubectl cluster-info; choose another with --context or --kubeconfig.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """``namespace`` None: the context's own."""

    namespace: str | None = None
    all_namespaces: bool = False
    context: str | None = None
    kubeconfig: str | None = None

    def read(self, resource: str, name: str) -> Object:
        """One object; raises Failure (NOT_FOUND among others)."""
        return self._json("get", resource, name, "-o", "json", *self._scope())

    def listed(self, resource: str, *options: str) -> list[Object]:
        """Objects of the namespace, or of all with ``all_namespaces``."""
        scope = ("--all-namespaces",) if self.all_namespaces else self._scope()
        return list(self._json("get", resource, "-o", "json", *scope, *options).get("items", []))

    def everywhere(self, resource: str, *options: str) -> list[Object]:
        """Objects of all namespaces, whatever the scope."""
        return list(self._json("get", resource, "-o", "json", "--all-namespaces", *options).get("items", []))

    def raw(self, path: str) -> Object:
        """The answer to GET ``path``."""
        return self._json("get", "--raw", path)

    def posted(self, path: str, body: Object) -> Object:
        """The answer to POST ``path``."""
        return self._json("create", "--raw", path, "-f", "-", body=json.dumps(body))

    def merge(self, resource: str, name: str, patch: Object) -> None:
        """A merge patch under the CLI's own field manager."""
        self._run(
            "patch", resource, name, "--type=merge", f"--field-manager={FIELD_MANAGER}",
            "-p", json.dumps(patch), "-o", "name", *self._scope(),
        )  # fmt: skip

    def current_namespace(self) -> str:
        """The namespace that requests go to."""
        if self.namespace:
            return self.namespace
        context = pick(self._json("config", "view", "--minify", "-o", "json"), "contexts", 0, "context", default={})
        return pick(context, "namespace") or "default"

    def _scope(self) -> tuple[str, ...]:
        return ("--namespace", self.namespace) if self.namespace else ()

    def _json(self, *arguments: str, body: str | None = None) -> Object:
        text = self._run(*arguments, body=body)
        try:
            found = json.loads(text)
        except ValueError:
            raise Failure(UNREACHABLE, f"the API server's answer is not JSON: {text[:200]}") from None
        return found if isinstance(found, dict) else {}

    def _run(self, *arguments: str, body: str | None = None) -> str:
        command = [os.environ.get("RIGHTSIZER_KUBECTL") or "kubectl", *self._connection(), *arguments]
        try:
            done = subprocess.run(
                command, input=body or "", capture_output=True, text=True, errors="replace",
                timeout=_PROCESS_TIMEOUT_S, check=False,
            )  # fmt: skip
        except FileNotFoundError:
            raise Failure(
                UNREACHABLE, f"{command[0]} is not installed",
                "Install kubectl, or name it with the variable RIGHTSIZER_KUBECTL.",
            ) from None  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Failure(
                UNREACHABLE, f"kubectl gave no answer in {_PROCESS_TIMEOUT_S} s", "Check: kubectl cluster-info."
            ) from None
        if done.returncode:
            raise failure_of(done.stderr)
        return done.stdout

    def _connection(self) -> list[str]:
        options = [f"--request-timeout={_REQUEST_TIMEOUT}"]
        if self.context:
            options.append(f"--context={self.context}")
        if self.kubeconfig:
            options.append(f"--kubeconfig={self.kubeconfig}")
        return options


def failure_of(stderr: str) -> Failure:
    """What kubectl said on stderr, as a Failure with its exit code and remedy; unknown words count as unreachable."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not _LOG_LINE.match(line)]
    said = " ".join(lines[-3:]).removeprefix("error: ") if lines else "kubectl failed and said nothing"
    for pattern, code, remedy in _MEANINGS:
        if re.search(pattern, said):
            return Failure(code, said, remedy)
    return Failure(UNREACHABLE, said)


def pick(found: Any, *path: str | int, default: Any = "") -> Any:
    """The value at ``path`` inside nested dicts and lists, ``default`` where any part is missing or null."""
    for key in path:
        try:
            found = found[key]
        except (KeyError, IndexError, TypeError):
            return default
    return default if found is None else found
