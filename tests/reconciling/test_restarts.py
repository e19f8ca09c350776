"""A whole search and rewrite on a real API server, its Jobs played; meanwhile the operator is killed and lied to."""

import asyncio
import datetime
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from e2e.embedded.client import Client
from rightsizer_jobs.contract import CompressAssignment
from rightsizer_operator.cluster import parse
from rightsizer_operator.cluster.kube import KubeCluster
from rightsizer_operator.phases import advance
from rightsizer_operator.work_queue import Key, Retry
from tests.phases import builders
from tests.reconciling import stage
from tests.reconciling.faults import Fault, FaultyCluster, Killed, nothing
from tests.reconciling.job_player import Answer, Assignment, JobPlayer
from tests.reconciling.shell import reconciler

PASSES = 400
CAPACITIES = {"as-is": 2.5, "int8": 4.0, "int4": 3.0, "int8-seqs2048": 4.9}
RACING: dict[str, Any] = {
    "accelerator": {"type": "NVIDIA-H100-80GB-HBM3"},
    "slo": {"ttftMs": 1500, "itlMs": 60},
    "workload": {"static": {"inputTokens": 4000, "outputTokens": 600, "requestRate": "40"}},
    "search": {"batching": ["MaxNumSeqs"], "budget": {"money": "100"}},
}
"""A demand of many accelerators of a product that the estimator knows: ordered by estimate, then moved."""
LLAMA: dict[str, Any] = {
    "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 128_256, "intermediate_size": 14_336, "layer_types": {"full_attention": 32},
}  # fmt: skip


def script(assignment: Assignment) -> Answer:
    """INT8 serves 4 requests a second, so that 7.5 need two replicas instead of four."""
    if isinstance(assignment, CompressAssignment):
        return builders.a_compress_report(assignment)
    capacity = 1000.0 if assignment.purpose == "Verify" else CAPACITIES.get(assignment.candidate, 2.5)
    model = LLAMA if assignment.describe_model else None
    return builders.a_report(assignment, capacity=capacity, model=model)


@dataclass(slots=True)
class Life:
    """One InferenceDeployment from acceptance to a verified rewrite."""

    api: Client
    cluster: FaultyCluster
    namespace: str
    player: JobPlayer
    deaths: int = 0
    retries: int = 0
    now: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))

    def begin(self, **changes: Any) -> None:
        target = builders.a_target()
        del target["status"]
        target["metadata"] = {"name": "chat", "namespace": self.namespace}
        self.api.apply(target, manager="kubectl-client-side-apply")
        self.api.create(stage.claim(self.namespace))
        spec = builders.a_spec_document(updatePolicy={"mode": "Auto"}, **changes)
        infdep = stage.infdep(self.namespace, "chat")
        self.api.create({**infdep, "spec": spec})

    async def live(self) -> None:
        """Passes of ever new operators, the cluster moving on between them, until the rewrite is verified."""
        for _ in range(PASSES):
            await self._one_pass()
            await asyncio.to_thread(self.player.tick)
            self.now += datetime.timedelta(seconds=5)
            if self.condition("Applied") == "True":
                return
        raise AssertionError(f"not applied after {PASSES} passes: {self.resource().get('status')}")

    async def _one_pass(self) -> None:
        """A fresh operator each time: nothing in memory may be needed."""
        found = reconciler(self.cluster, advance)
        found.clock = lambda: self.now
        try:
            await found.handle(Key(self.namespace, "chat"))
        except Killed:
            self.deaths += 1
        except Retry:
            self.retries += 1

    def resource(self) -> dict[str, Any]:
        return self.api.get("rightsizer.dev/v1alpha1", "InferenceDeployment", "chat", self.namespace)

    def condition(self, type_: str) -> str:
        conditions = self.resource().get("status", {}).get("conditions") or []
        return next((one["status"] for one in conditions if one["type"] == type_), "")

    def outcome(self) -> dict[str, object]:
        """What must not depend on what went wrong: everything but times and uids."""
        (stored,) = self.api.list("rightsizer.dev/v1alpha1", "OptimizationRun", self.namespace)
        run = parse.optimization_run(stored)
        assert run.status.proposal is not None and run.status.rollout is not None
        target = self.api.get("apps/v1", "Deployment", "chat", self.namespace)
        return {
            "trials": [(one.purpose, one.subject, one.attempt, one.outcome) for one in run.status.trials],
            "winner": (run.status.proposal.candidate, run.status.proposal.replicas, run.status.proposal.gpus),
            "rollout": run.status.rollout.step,
            "target": (target["spec"]["replicas"], target["spec"]["template"]["spec"]["containers"][0]),
        }

    def jobs_made(self) -> Counter[str]:
        return Counter(write for write in self.cluster.writes if write.startswith("create Job"))


@pytest.fixture
def unborn(api: Client, cluster: KubeCluster, namespace: str) -> Iterator[Life]:
    player = JobPlayer(api=api, namespace=namespace, answer=script, accelerators=24, resource=builders.SLOT)
    player.start()
    yield Life(api=api, cluster=FaultyCluster(cluster=cluster), namespace=namespace, player=player)
    player.stop()


@pytest.fixture
def life(unborn: Life) -> Life:
    unborn.begin()
    return unborn


EXPECTED = {"winner": ("int8", 2, 2), "rollout": "Applied"}


def assert_as_if_nothing_had_happened(life: Life) -> None:
    outcome = life.outcome()
    assert {key: outcome[key] for key in EXPECTED} == EXPECTED
    trials = outcome["trials"]
    assert isinstance(trials, list) and len(trials) == len(set(trials))
    assert outcome["target"][0] == 2  # type: ignore[index]
    assert max(life.jobs_made().values()) == 1


def at_random_moments(seed: int, count: int, *kinds: str) -> Fault:
    """One of the kinds at every other write or so, ``count`` times in all."""
    dice = random.Random(seed)
    left = count

    def fault(number: int, verb: str) -> str:
        nonlocal left
        if left and dice.random() < 0.5:
            left -= 1
            return dice.choice(kinds)
        return ""

    return fault


async def test_undisturbed_it_ends_applied_with_half_the_accelerators(life: Life) -> None:
    life.cluster.fault = nothing
    await life.live()
    assert_as_if_nothing_had_happened(life)
    assert life.retries == 0
    life.cluster.writes.clear()
    await life._one_pass()
    assert life.cluster.writes == []


async def test_killed_at_twenty_random_moments_it_ends_the_same(life: Life) -> None:
    life.cluster.fault = at_random_moments(7, 20, "kill before", "kill after")
    await life.live()
    assert life.deaths == 20
    assert_as_if_nothing_had_happened(life)


async def test_with_lost_answers_refusals_and_conflicts_it_ends_the_same(life: Life) -> None:
    life.cluster.fault = at_random_moments(11, 20, "lose", "refuse", "conflict")
    await life.live()
    assert len(life.cluster.faults) == 20
    assert_as_if_nothing_had_happened(life)


async def test_killed_at_random_moments_the_order_by_estimate_and_the_moves_go_on_where_they_were(unborn: Life) -> None:
    life = unborn
    life.begin(**RACING)
    life.cluster.fault = at_random_moments(5, 12, "kill before", "kill after")
    await life.live()
    assert life.deaths == 12
    (stored,) = life.api.list("rightsizer.dev/v1alpha1", "OptimizationRun", life.namespace)
    status = parse.optimization_run(stored).status
    assert "config.json) on H100-SXM" in status.order
    assert {one.evidence for one in status.forecast} == {"Estimated"}
    assert [one.id for one in status.derived] == ["int8-seqs2048", "int8-seqs2048-seqs4096"]
    trials = life.outcome()["trials"]
    assert isinstance(trials, list) and len(trials) == len(set(trials))
    assert max(life.jobs_made().values()) == 1
    assert status.proposal is not None and status.proposal.candidate == "int8-seqs2048"
    assert status.remaining is not None and status.remaining.money is not None
