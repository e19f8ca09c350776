"""GPU utilisation through NVML. ``pynvml`` is a stand-in here that behaves as its documentation says (names, return
types, NVMLError); no GPU was at hand.
"""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from rightsizer_jobs.engines import nvml


class NVMLError(Exception):
    pass


class StandIn(ModuleType):
    """``rates``: utilisation of each GPU by its turn; the last one stays."""

    NVMLError = NVMLError

    def __init__(self, *rates: list[int], fails: str = "") -> None:
        super().__init__("pynvml")
        self.rates, self.fails, self.turns = rates, fails, dict.fromkeys(range(len(rates)), 0)
        self.opened = 0

    def _may(self, call: str) -> None:
        if call == self.fails:
            raise NVMLError("Not Supported" if call != "nvmlInit" else "NVML Shared Library Not Found")

    def nvmlInit(self) -> None:
        self._may("nvmlInit")
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1

    def nvmlDeviceGetCount(self) -> int:
        self._may("nvmlDeviceGetCount")
        return len(self.rates)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:
        self._may("nvmlDeviceGetUtilizationRates")
        turn = min(self.turns[handle], len(self.rates[handle]) - 1)
        self.turns[handle] += 1
        return SimpleNamespace(gpu=self.rates[handle][turn], memory=90)


def installed(monkeypatch: pytest.MonkeyPatch, library: StandIn | None) -> StandIn | None:
    monkeypatch.setitem(sys.modules, "pynvml", library)
    return library


async def test_the_mean_over_the_engines_gpus_is_told_and_nvml_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    library = installed(monkeypatch, StandIn([0, 90, 100], [0, 70, 100]))
    async with nvml.seen(2) as gpus:
        assert [gpus.percent(), gpus.percent()] == [80, 100]
        assert gpus.unseen == ""
    assert library is not None and library.opened == 0


@pytest.mark.parametrize(
    ("library", "expected", "says"),
    [
        (None, 1, "pynvml is not installed"),
        (StandIn([50], fails="nvmlInit"), 1, "the node shows no GPU to the client container (NVML Shared Library"),
        (StandIn([50], fails="nvmlDeviceGetCount"), 1, "NVML tells no utilisation (Not Supported)"),
        (StandIn([50], fails="nvmlDeviceGetUtilizationRates"), 1, "NVML tells no utilisation (Not Supported)"),
        (StandIn([50], [50], [50], [50]), 2, "the client container sees 4 GPUs, the engine has 2"),
        (StandIn([50]), 0, "the engine has no NVIDIA GPU beside this client"),
    ],
)
async def test_what_cannot_be_seen_is_said_and_never_raised(
    monkeypatch: pytest.MonkeyPatch, library: StandIn | None, expected: int, says: str
) -> None:
    installed(monkeypatch, library)
    async with nvml.seen(expected) as gpus:
        assert gpus.percent() is None
        assert says in gpus.unseen
    assert library is None or library.opened == 0


async def test_a_gpu_that_fails_meanwhile_has_no_figure_for_that_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    library = installed(monkeypatch, StandIn([50, 60]))
    assert library is not None
    async with nvml.seen(1) as gpus:
        assert gpus.percent() == 60
        library.fails = "nvmlDeviceGetUtilizationRates"
        assert gpus.percent() is None
