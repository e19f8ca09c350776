"""``doctor [NAME]``: what is missing for this cluster, and for one InferenceDeployment, to be used. Reads only."""

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TypeVar

from rightsizer_cli import checks
from rightsizer_cli.checks import Finding
from rightsizer_cli.failure import FORBIDDEN, NOT_FOUND, OK, REFUSED, Failure
from rightsizer_cli.kubectl import INFERENCE_DEPLOYMENTS, Kubectl, Object, pick
from rightsizer_cli.plain import structured, table, visible

T = TypeVar("T")

_OPERATOR = "--selector=app.kubernetes.io/name=rightsizer,app.kubernetes.io/component=operator"
_JOBS = "--selector=app.kubernetes.io/managed-by=rightsizer"
_RIGHTS = (
    ("get", "rightsizer.dev", "inferencedeployments"),
    ("create", "rightsizer.dev", "inferencedeployments"),
    ("patch", "rightsizer.dev", "inferencedeployments"),
    ("get", "rightsizer.dev", "optimizationruns"),
    ("get", "apps", "deployments"),
    ("get", "", "persistentvolumeclaims"),
)
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def run(options: argparse.Namespace) -> int:
    access = Kubectl(namespace=options.namespace, context=options.context, kubeconfig=options.kubeconfig)
    version = access.raw("/version")  # fails, with its own words, where there is no cluster
    infdep = _optional(lambda: access.read(INFERENCE_DEPLOYMENTS, options.name)) if options.name else None
    findings = [checks.kubernetes(version), *_cluster(access), *_resource(access, infdep, options.name)]
    if options.output == "table":
        print("\n".join(_lines(findings)))
    else:
        print(structured({"findings": [asdict(finding) for finding in findings]}, options.output))
    return REFUSED if any(finding.state == "Missing" for finding in findings) else OK


def _optional(read: Callable[[], T]) -> T | None:
    """None where the thing is not there, or may not be read."""
    try:
        return read()
    except Failure as problem:
        if problem.code in (NOT_FOUND, FORBIDDEN, REFUSED):
            return None
        raise


def _cluster(access: Kubectl) -> list[Finding]:
    """What every resource needs; the reads run side by side, each is one request."""
    namespace = _optional(access.current_namespace) or "default"
    with ThreadPoolExecutor(max_workers=4) as pool:
        served = pool.submit(_optional, lambda: access.raw("/apis/rightsizer.dev/v1alpha1"))
        deployments = pool.submit(_optional, lambda: access.everywhere("deployments.apps", _OPERATOR))
        operators = pool.submit(_optional, lambda: access.everywhere("pods", _OPERATOR))
        jobs = pool.submit(_optional, lambda: access.listed("pods", _JOBS))
        answers = list(pool.map(lambda right: (_named(right), _allowed(access, namespace, right)), _RIGHTS))
    return [
        checks.definitions(served.result()),
        checks.operator(deployments.result()),
        checks.images(_together(operators.result(), jobs.result())),
        checks.rights(answers),
    ]


def _together(first: list[Object] | None, second: list[Object] | None) -> list[Object] | None:
    return None if first is None and second is None else [*(first or []), *(second or [])]


def _named(right: tuple[str, str, str]) -> str:
    return f"{right[0]} {right[2]}"


def _allowed(access: Kubectl, namespace: str, right: tuple[str, str, str]) -> bool | None:
    verb, group, resource = right
    attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": resource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = _optional(lambda: access.posted(_REVIEWS, review))
    return None if answer is None else bool(pick(answer, "status", "allowed", default=False))


def _resource(access: Kubectl, infdep: Object | None, name: str | None) -> list[Finding]:
    """What one resource needs, or the usual accelerator where none is named."""
    nodes = _optional(lambda: access.everywhere("nodes"))
    config = _config(access)
    if infdep is None:
        missing = Finding(
            check=f"resource {name}", state="Missing", detail="does not exist, or may not be read",
            remedy="List what is there with: kubectl get infdep -A.",
        )  # fmt: skip
        found = [missing] if name else []
        return [*found, checks.accelerators(nodes, "nvidia.com/gpu"), checks.price(config, {})] if not name else found
    spec = pick(infdep, "spec", default={})
    claim, target = pick(spec, "modelCache", "claimName"), pick(spec, "targetRef", "name")
    container = pick(spec, "targetRef", "container")
    inside = Kubectl(
        namespace=pick(infdep, "metadata", "namespace"), context=access.context, kubeconfig=access.kubeconfig
    )
    deployment = _optional(lambda: inside.read("deployments.apps", target))
    return [
        checks.target(deployment, target, container),
        *([checks.draining(deployment, target, container)] if deployment else []),
        checks.claim(
            _optional(lambda: inside.read("persistentvolumeclaims", claim)), claim, len(nodes) if nodes else None
        ),
        checks.accelerators(nodes, pick(spec, "accelerator", "resource")),
        checks.price(config, spec),
    ]


def _config(access: Kubectl) -> str | None:
    """The operator's configuration file; None where it cannot be read."""
    found = _optional(lambda: access.everywhere("configmaps", "--selector=app.kubernetes.io/name=rightsizer"))
    return next((str(pick(item, "data", "config.yaml")) for item in found), None) if found else None


def _lines(findings: Sequence[Finding]) -> list[str]:
    lines = table(("CHECK", "STATE", "DETAIL"), [(visible(f.check), f.state, visible(f.detail)) for f in findings])
    remedies = [f"{visible(f.check)}: {visible(f.remedy)}" for f in findings if f.remedy]
    return [*lines, *(["", "To do:", *(f"  {remedy}" for remedy in remedies)] if remedies else [])]
