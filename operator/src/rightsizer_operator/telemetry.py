"""Prometheus metrics: every name once. ``reconcile``, ``work_queue`` users and ``cluster`` report here; ``/metrics``
prints ``registry``.

Labels are bounded: namespace and name only where a gauge speaks of one resource, and such series go with the resource.
"""

import contextlib
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from rightsizer_operator.resource.run import RunStatus
from rightsizer_operator.work_queue import Key
from rightsizer_operator.world import Step, World

ROLLBACK_STEPS = ("RollBackReplicas", "RollBackTemplate")


class Telemetry:
    """One per process (tests make their own)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.reconciles = Counter("rightsizer_reconciles_total", "Reconciles by result.", ["result"], registry=registry)
        self.duration = Histogram(
            "rightsizer_reconcile_duration_seconds",
            "Duration of a reconcile.",
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 120),
            registry=registry,
        )
        self.queue_depth = Gauge(
            "rightsizer_queue_depth", "Keys that are due and wait for a worker.", registry=registry
        )
        self.queue_age = Gauge(
            "rightsizer_queue_oldest_age_seconds", "Age of the longest-waiting key.", registry=registry
        )
        self.resources = Gauge("rightsizer_resources", "InferenceDeployments known to the leader.", registry=registry)
        self.leader = Gauge("rightsizer_leader", "1 on the replica that leads.", registry=registry)
        self.jobs = Counter(
            "rightsizer_jobs_total", "Finished Jobs by purpose and outcome.", ["purpose", "outcome"], registry=registry
        )
        self.proposals = Counter("rightsizer_proposals_total", "Proposals made.", registry=registry)
        self.applies = Counter(
            "rightsizer_applies_total", "Writes to targets by result.", ["result"], registry=registry
        )
        self.rollbacks = Counter("rightsizer_rollbacks_total", "Rewrites that were taken back.", registry=registry)
        self.gpus_current = Gauge(
            "rightsizer_gpus_current", "Accelerators the target uses.", ["namespace", "name"], registry=registry
        )
        self.gpus_proposed = Gauge(
            "rightsizer_gpus_proposed", "Accelerators the proposal needs.", ["namespace", "name"], registry=registry
        )
        self.requests = Counter(
            "rightsizer_api_requests_total",
            "Calls to the API server by method and status code (0: no answer). Watches are not among them.",
            ["method", "code"],
            registry=registry,
        )
        build = Gauge("rightsizer_build_info", "1; the version is a label.", ["version"], registry=registry)
        build.labels(version("rightsizer-operator")).set(1)

    def answered(self, method: str, code: int) -> None:
        self.requests.labels(method, str(code)).inc()

    def queue(self, depth: int, oldest_age_s: float, known: int) -> None:
        self.queue_depth.set(depth)
        self.queue_age.set(oldest_age_s)
        self.resources.set(known)

    def run_written(self, before: RunStatus, after: RunStatus) -> None:
        """Once per written run status: a crash before the write counts nothing, one after it nothing twice."""
        for record in after.trials[len(before.trials) :]:
            self.jobs.labels(record.purpose, record.outcome).inc()
        if after.proposal and not before.proposal:
            self.proposals.inc()
        if _going_back(after) and not _going_back(before):
            self.rollbacks.inc()

    def applied(self, result: str) -> None:
        self.applies.labels(result).inc()

    def advanced(self, world: World, step: Step) -> None:
        where = (world.infdep.namespace, world.infdep.name)
        if step.status.current:
            self.gpus_current.labels(*where).set(step.status.current.gpus)
        if step.status.proposal:
            self.gpus_proposed.labels(*where).set(step.status.proposal.configuration.gpus)
        else:
            _drop(self.gpus_proposed, where)

    def gone(self, key: Key) -> None:
        _drop(self.gpus_current, tuple(key))
        _drop(self.gpus_proposed, tuple(key))


def _going_back(status: RunStatus) -> bool:
    return status.rollout is not None and status.rollout.step in ROLLBACK_STEPS


def _drop(gauge: Gauge, labels: tuple[str, ...]) -> None:
    with contextlib.suppress(KeyError):  # a series that never was
        gauge.remove(*labels)
