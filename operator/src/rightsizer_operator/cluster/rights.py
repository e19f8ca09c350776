"""The rights the operator needs, verb by verb, and the check that it has them. ``__main__`` asks at start-up: a
missing right is named
at once instead of showing as retries. The chart's roles and this table are compared by a test.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace

from rightsizer_operator.cluster.port import (
    ACCESS_REVIEWS,
    AUTOSCALERS,
    CLAIMS,
    DEPLOYMENTS,
    EVENTS,
    INFERENCE_DEPLOYMENTS,
    JOBS,
    LEASES,
    NODES,
    OPTIMIZATION_RUNS,
    PODS,
    REPLICA_SETS,
    SCALED_OBJECTS,
    Cluster,
    Kind,
)


@dataclass(frozen=True, slots=True)
class Right:
    """``optional``: the operator runs without it and knows less."""

    kind: Kind
    verbs: tuple[str, ...]
    subresource: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    verb: str
    kind: Kind
    subresource: str
    namespace: str
    optional: bool
    name: str = ""

    def __str__(self) -> str:
        resource = "/".join(part for part in (self.kind.plural, self.subresource) if part)
        group = f" ({self.kind.group})" if self.kind.group else ""
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {resource}{group}{where}"


RIGHTS = (
    Right(INFERENCE_DEPLOYMENTS, ("get", "list", "watch")),
    Right(INFERENCE_DEPLOYMENTS, ("patch",), "status"),
    Right(INFERENCE_DEPLOYMENTS, ("update",), "finalizers", optional=True),
    Right(OPTIMIZATION_RUNS, ("get", "list", "watch", "create", "delete")),
    Right(OPTIMIZATION_RUNS, ("patch",), "status"),
    Right(OPTIMIZATION_RUNS, ("update",), "finalizers", optional=True),
    Right(DEPLOYMENTS, ("get", "list", "watch", "patch")),
    Right(REPLICA_SETS, ("list",)),
    Right(JOBS, ("get", "list", "watch", "create", "delete")),
    Right(PODS, ("list", "watch")),
    Right(CLAIMS, ("get",)),
    Right(EVENTS, ("create", "patch")),
    Right(AUTOSCALERS, ("list",)),
    Right(SCALED_OBJECTS, ("list",), optional=True),
)
"""In every watched namespace. ``finalizers`` is only needed where OwnerReferencesPermissionEnforcement is on."""

CLUSTER_RIGHTS = (Right(NODES, ("list",)),)
"""Cluster-wide; a namespaced install may lack it and then does not know how many accelerators are free."""

LEASE_RIGHTS = (Right(LEASES, ("get", "create", "update")),)
"""In the operator's own namespace, on the one Lease (which ``create`` cannot be narrowed to)."""


def questions(namespaces: tuple[str, ...], lease_namespace: str, lease: str) -> Iterator[Question]:
    for namespace in namespaces or ("",):
        yield from _questions(RIGHTS, namespace)
    for question in _questions(CLUSTER_RIGHTS, ""):
        yield replace(question, optional=bool(namespaces))
    for question in _questions(LEASE_RIGHTS, lease_namespace):
        yield replace(question, name="" if question.verb == "create" else lease)


def _questions(rights: tuple[Right, ...], namespace: str) -> Iterator[Question]:
    for right in rights:
        for verb in right.verbs:
            yield Question(verb, right.kind, right.subresource, namespace, right.optional)


async def missing(cluster: Cluster, namespaces: tuple[str, ...], lease_namespace: str, lease: str) -> list[Question]:
    """The rights that the API server says we do not have. Raises ClusterError."""
    asked = list(questions(namespaces, lease_namespace, lease))
    gate = asyncio.Semaphore(8)

    async def ask(question: Question) -> bool:
        async with gate:
            return await _allowed(cluster, question)

    answers = await asyncio.gather(*(ask(question) for question in asked))
    return [question for question, allowed in zip(asked, answers, strict=True) if not allowed]


async def _allowed(cluster: Cluster, question: Question) -> bool:
    attributes = {
        "verb": question.verb,
        "group": question.kind.group,
        "resource": question.kind.plural,
        "subresource": question.subresource,
        "namespace": question.namespace,
        "name": question.name,
    }
    review = {
        "apiVersion": ACCESS_REVIEWS.api_version,
        "kind": ACCESS_REVIEWS.kind,
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
    answer = await cluster.create(ACCESS_REVIEWS, "", review)
    return bool((answer.get("status") or {}).get("allowed"))
