"""Utilisation of GPUs as Prometheus knows it from dcgm-exporter, for a trial whose client could not see them: which
question is asked, how its answer is read. Pure; ``cluster.gpu_reader`` asks.

The question names the pods that were measured and the very window of the probe, and nothing that a tenant writes.
Names and units of the fields: dcgm-exporter's ``etc/default-counters.csv`` and ``etc/dcp-metrics-included.csv``.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rightsizer_jobs.contract import EngineUse, TrialReport

FIELDS = {
    "gpu_percent": ("DCGM_FI_DEV_GPU_UTIL", 1.0),
    "tensor_percent": ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", 100.0),
    "dram_percent": ("DCGM_FI_PROF_DRAM_ACTIVE", 100.0),
}
"""Figure, the exporter's name for it, and the factor to percent. The last two need a GPU and a driver that profile."""
SHORTEST_S = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whose GPUs, and when. ``ended``: Unix seconds."""

    namespace: str
    pods: tuple[str, ...]
    gpus: int
    at_rps: float
    ended: float
    seconds: float
    namespace_label: str = "namespace"
    pod_label: str = "pod"


def unseen(report: TrialReport) -> tuple[EngineUse, ...]:
    """The probes of a report whose GPUs its client could not see, where it says when they were."""
    told = (report.use, report.use_at_demand)
    return tuple(one for one in told if one is not None and one.gpu_percent is None and one.ended and one.seconds)


def query(asked: Question, metric: str) -> str:
    """PromQL: one series for each GPU of the pods, its mean over the window.

    Prometheus keeps the exporter's own labels of the pod where it honours them, and renames them ``exported_`` where
    it does not: both are asked for, and no series can have both.
    """
    seconds = max(SHORTEST_S, math.ceil(asked.seconds))
    labels = ((asked.namespace_label, asked.pod_label), ("exported_namespace", "exported_pod"))
    pods = "|".join(re.escape(name).replace("\\-", "-") for name in asked.pods).replace("\\", "\\\\")
    return " or ".join(
        f'avg_over_time({metric}{{{namespace}="{asked.namespace}",{pod}=~"{pods}"}}[{seconds}s])'
        for namespace, pod in labels
    )


def mean(result: object, gpus: int, factor: float) -> float | None:
    """The mean over the GPUs, percent; None where there is no series.

    Raises ValueError where there are more or fewer series than GPUs, or one of them is no share.
    """
    if not isinstance(result, list):
        raise ValueError("it is no vector")
    values = [factor * _value(series) for series in result]
    if not values:
        return None
    if len(values) != gpus:
        raise ValueError(f"it tells of {len(values)} GPUs, the engine has {gpus}")
    return sum(values) / len(values)


def _value(series: object) -> float:
    value = series.get("value") if isinstance(series, dict) else None
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise ValueError("it is no vector")
    try:
        number = float(str(value[1]))
    except ValueError:
        raise ValueError("it is no number") from None
    if not 0 <= number <= 100:  # NaN as well
        raise ValueError(f"it is {number}")
    return number
