"""Utilisation of the GPUs as their driver counts it, and what slows them, where the node shows them to this container.
Called by ``trial``.

NVML through pynvml, which is imported only here and only when asked. Utilisation is a share of time in which some
kernel ran: it says that a GPU was busy, not that it was busy with all it has. Nothing raises: what cannot be seen is
said in words.
"""

import contextlib
import importlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

SLOWDOWNS = {
    "HwSlowdown": "hardware slowdown",
    "HwThermalSlowdown": "hardware thermal slowdown",
    "HwPowerBrakeSlowdown": "power brake",
    "SwThermalSlowdown": "thermal slowdown",
}
"""Clock event reasons of the NVML documentation that a GPU in order does not show under any load, by the ends of their
names. The software power cap is none of them: a GPU at the limit of its power is one in full use.
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """All GPUs at one moment. ``percent``: mean utilisation; None: unknown. ``slowed``: what lowers the clock of one or
    more, in words; empty: nothing, or unknown.
    """

    percent: float | None = None
    slowed: str = ""


@dataclass(frozen=True, slots=True)
class Gpus:
    """``unseen``: why there is no figure; empty where there is one."""

    unseen: str = ""
    _library: Any = field(default=None, repr=False)
    _handles: tuple[Any, ...] = field(default=(), repr=False)

    def read(self) -> Reading:
        """Utilisation is of the last moment, up to a second."""
        return Reading(self._percent(), self._slowed())

    def _percent(self) -> float | None:
        if not self._handles:
            return None
        try:
            rates = [self._library.nvmlDeviceGetUtilizationRates(handle).gpu for handle in self._handles]
        except self._library.NVMLError:
            return None
        return float(sum(rates) / len(rates))

    def _slowed(self) -> str:
        try:
            masks = [self._library.nvmlDeviceGetCurrentClocksEventReasons(handle) for handle in self._handles]
        except self._library.NVMLError:
            return ""
        told = [
            words
            for name, words in SLOWDOWNS.items()
            if any(mask & getattr(self._library, f"nvmlClocksEventReason{name}") for mask in masks)
        ]
        return ", ".join(told)


@contextlib.asynccontextmanager
async def seen(expected: int) -> AsyncIterator[Gpus]:
    """The engine's GPUs: those that this container sees, where they are as many as the engine has.

    A container that sees more sees those of other pods, and NVML does not tell whose they are.
    """
    if expected <= 0:
        yield Gpus("the engine has no NVIDIA GPU beside this client")
        return
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        yield Gpus("pynvml is not installed in the trial image")
        return
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        yield Gpus(f"the node shows no GPU to the client container ({error})"[:120])
        return
    try:
        yield _opened(library, expected)
    finally:
        with contextlib.suppress(library.NVMLError):
            library.nvmlShutdown()


def _opened(library: Any, expected: int) -> Gpus:
    try:
        count = int(library.nvmlDeviceGetCount())
        if count != expected:
            return Gpus(f"the client container sees {count} GPUs, the engine has {expected}")
        handles = tuple(library.nvmlDeviceGetHandleByIndex(index) for index in range(count))
        for handle in handles:
            library.nvmlDeviceGetUtilizationRates(handle)
    except library.NVMLError as error:
        return Gpus(f"NVML tells no utilisation ({error})"[:120])
    return Gpus("", library, handles)
