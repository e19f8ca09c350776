"""What NVML tells of the GPUs: utilisation, and what slows them. ``pynvml`` is a stand-in here that behaves as its
documentation says (names, values, return types, NVMLError).
"""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from rightsizer_jobs.engines import nvml
from rightsizer_jobs.trial.run import run
from rightsizer_jobs.trial.use import Moment, Observed


class NVMLError(Exception):
    pass


class StandIn(ModuleType):
    """``rates``: utilisation of each GPU by its turn; the last one stays. ``reasons``: clock event reasons of each."""

    NVMLError = NVMLError
    nvmlClocksEventReasonGpuIdle = 0x1
    nvmlClocksEventReasonSwPowerCap = 0x4
    nvmlClocksEventReasonHwSlowdown = 0x8
    nvmlClocksEventReasonSwThermalSlowdown = 0x20
    nvmlClocksEventReasonHwThermalSlowdown = 0x40
    nvmlClocksEventReasonHwPowerBrakeSlowdown = 0x80

    def __init__(self, *rates: list[int], fails: str = "", reasons: tuple[int, ...] = ()) -> None:
        super().__init__("pynvml")
        self.rates, self.fails, self.turns = rates, fails, dict.fromkeys(range(len(rates)), 0)
        self.reasons = reasons or (0,) * len(rates)
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

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: int) -> int:
        self._may("nvmlDeviceGetCurrentClocksEventReasons")
        return self.reasons[handle]


def installed(monkeypatch: pytest.MonkeyPatch, library: StandIn | None) -> StandIn | None:
    monkeypatch.setitem(sys.modules, "pynvml", library)
    return library


async def test_the_mean_over_the_engines_gpus_is_told_and_nvml_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    library = installed(monkeypatch, StandIn([0, 90, 100], [0, 70, 100]))
    async with nvml.seen(2) as gpus:
        assert [gpus.read().percent, gpus.read().percent] == [80, 100]
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
        assert gpus.read().percent is None
        assert says in gpus.unseen
    assert library is None or library.opened == 0


async def test_a_gpu_that_fails_meanwhile_has_no_figure_for_that_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    library = installed(monkeypatch, StandIn([50, 60]))
    assert library is not None
    async with nvml.seen(1) as gpus:
        assert gpus.read().percent == 60
        library.fails = "nvmlDeviceGetUtilizationRates"
        assert gpus.read().percent is None


@pytest.mark.parametrize(
    ("reasons", "says"),
    [
        ((0x0, 0x1), ""),
        ((0x4, 0x4), ""),
        ((0x0, 0x20), "thermal slowdown"),
        ((0x8 | 0x40, 0x0), "hardware slowdown, hardware thermal slowdown"),
        ((0x80, 0x4), "power brake"),
    ],
)
async def test_heat_and_failing_power_slow_a_gpu_its_power_cap_and_idleness_do_not(
    monkeypatch: pytest.MonkeyPatch, reasons: tuple[int, ...], says: str
) -> None:
    installed(monkeypatch, StandIn([50], [50], reasons=reasons))
    async with nvml.seen(2) as gpus:
        assert gpus.read().slowed == says


async def test_a_driver_that_does_not_tell_what_slows_a_gpu_still_tells_its_utilisation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed(monkeypatch, StandIn([50], fails="nvmlDeviceGetCurrentClocksEventReasons", reasons=(0x40,)))
    async with nvml.seen(1) as gpus:
        assert gpus.read() == nvml.Reading(50.0, "")


@pytest.mark.parametrize(("hot", "void"), [(0, False), (1, False), (2, True), (20, True)])
def test_gpus_slowed_down_for_more_than_a_twentieth_of_the_readings_make_a_run_void(hot: int, void: bool) -> None:
    moments = [Moment(float(at), nvml.Reading(90.0, "thermal slowdown" if at < hot else "")) for at in range(20)]
    said = Observed([], moments).slowed()
    assert bool(said) == void
    if void:
        assert said == f"the engine's GPUs were slowed down (thermal slowdown) in {hot} of 20 readings"


async def test_a_trial_on_a_hot_gpu_is_void_and_says_so(
    monkeypatch: pytest.MonkeyPatch, start_engine: Any, assign: Any
) -> None:
    installed(monkeypatch, StandIn([95], reasons=(0x40,)))
    engine = await start_engine(slots=4)
    report = await run(assign(engine.base_url, purpose="Certify", rate_rps=10.0, accelerators=1))
    assert report.outcome == "Void"
    assert "the engine's GPUs were slowed down (hardware thermal slowdown)" in report.reason


async def test_a_saturation_run_on_a_hot_gpu_is_no_ceiling_but_void(
    monkeypatch: pytest.MonkeyPatch, start_engine: Any, assign: Any
) -> None:
    installed(monkeypatch, StandIn([95], reasons=(0x8,)))
    engine = await start_engine(slots=4)
    report = await run(assign(engine.base_url, accelerators=1, measurement={"saturation_s": 3.0}))
    assert (report.outcome, report.saturation) == ("Void", None)
    assert report.reason.startswith("saturation: the engine's GPUs were slowed down (hardware slowdown)")
