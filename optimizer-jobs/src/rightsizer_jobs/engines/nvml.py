"""Utilisation of the GPUs as their driver counts it, where the node shows them to this container. Called by ``trial``.

NVML through pynvml, which is imported only here and only when asked. A share of time in which some kernel ran: it says
that a GPU was busy, not that it was busy with all it has. Nothing raises: what cannot be seen is said in words.
"""

import contextlib
import importlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Gpus:
    """``unseen``: why there is no figure; empty where there is one."""

    unseen: str = ""
    _library: Any = field(default=None, repr=False)
    _handles: tuple[Any, ...] = field(default=(), repr=False)

    def percent(self) -> float | None:
        """Mean over the GPUs of the share of the last moment (up to a second) in which a kernel ran; None: unknown."""
        if not self._handles:
            return None
        try:
            rates = [self._library.nvmlDeviceGetUtilizationRates(handle).gpu for handle in self._handles]
        except self._library.NVMLError:
            return None
        return float(sum(rates) / len(rates))


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
