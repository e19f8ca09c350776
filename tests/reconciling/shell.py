"""A reconciler around given phases, with a clock that the test sets."""

import datetime
from dataclasses import dataclass

from rightsizer_operator.cluster.accelerators import CapacityReader
from rightsizer_operator.cluster.gpu_reader import GpuReader
from rightsizer_operator.cluster.port import Cluster
from rightsizer_operator.cluster.prometheus import DemandReader
from rightsizer_operator.reconcile import Advance, Reconciler
from rightsizer_operator.recorder import Recorder
from rightsizer_operator.resource.conditions import Condition, merged
from rightsizer_operator.settings import parsed
from rightsizer_operator.telemetry import Telemetry
from rightsizer_operator.world import Step, World

SETTINGS = parsed({"trial": {"image": "trial"}, "compress": {"image": "compress"}})


@dataclass(slots=True)
class Clock:
    now: datetime.datetime = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

    def __call__(self) -> datetime.datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += datetime.timedelta(seconds=seconds)


def reconciler(cluster: Cluster, advance: Advance, clock: Clock | None = None) -> Reconciler:
    return Reconciler(
        cluster=cluster,
        capacity=CapacityReader(cluster),
        demand=DemandReader(SETTINGS.prometheus),
        gpus=GpuReader(SETTINGS.prometheus),
        settings=SETTINGS,
        advance=advance,
        recorder=Recorder(cluster, "test"),
        telemetry=Telemetry(),
        clock=clock or Clock(),
    )


def settled(world: World, *, message: str = "") -> Step:
    """A phase that has nothing to do: Ready, and nothing else."""
    ready = Condition(type="Ready", status="True", reason="Accepted", message=message)
    conditions = merged(world.infdep.status.conditions, (ready,), world.now)
    update = {"observed_generation": world.infdep.generation, "conditions": conditions}
    return Step(status=world.infdep.status.model_copy(update=update))
