"""Utilisation of a finished trial's GPUs from Prometheus (dcgm-exporter), where the trial's client could not see them.
Called by ``observe`` while the trial's pod is still there; decides nothing, and no trial waits for it.
"""

import asyncio
import contextlib
import datetime
import logging
from collections.abc import Sequence
from dataclasses import replace

from rightsizer_jobs.contract import ASSIGNMENT_VARIABLE, TrialAssignment, TrialReport, load_assignment, load_report
from rightsizer_operator.cluster import prometheus
from rightsizer_operator.cluster.port import Object
from rightsizer_operator.resource.base import count, quantity
from rightsizer_operator.resource.status import GpuReading
from rightsizer_operator.settings import PrometheusEndpoint
from rightsizer_operator.sizing import gpu_use
from rightsizer_operator.sizing.gpu_use import Question

log = logging.getLogger(__name__)

NOT_CONFIGURED = "no Prometheus is configured (prometheus.url of the chart)"


class GpuReader:
    """Asks once a probe; what it was told is stored with the trial's record."""

    def __init__(self, endpoint: PrometheusEndpoint | None) -> None:
        self._endpoint = endpoint
        self._slots = asyncio.Semaphore(prometheus.AT_ONCE)

    async def read(
        self, job: Object, pods: Sequence[Object], serving: Sequence[Object], resource: str
    ) -> tuple[GpuReading, ...]:
        """One reading for each probe of a finished trial whose GPUs its client did not see; none where it has not
        finished, or has no NVIDIA GPU.

        ``pods``: those of the Job; ``serving``: those of the target, which a verification measures.
        """
        report = next((found for pod in pods if (found := reported(pod)) is not None), None)
        if report is None or report.replayed or not resource.startswith("nvidia.com/"):
            return ()
        measured = _measured(job, pods, serving)
        gpus = sum(_held(pod, resource) for pod in measured)
        if not measured or not gpus:
            return ()
        namespace = str(job["metadata"]["namespace"])
        names = tuple(sorted(str(pod["metadata"]["name"]) for pod in measured))
        return tuple(
            [
                await self._one(
                    Question(
                        namespace=namespace,
                        pods=names,
                        gpus=gpus,
                        at_rps=use.rate_rps,
                        ended=use.ended or 0.0,
                        seconds=use.seconds or 0.0,
                    )
                )
                for use in gpu_use.unseen(report)
            ]
        )

    async def _one(self, asked: Question) -> GpuReading:
        endpoint = self._endpoint
        at = quantity(asked.at_rps)
        if endpoint is None:
            return GpuReading(at_rps=at, not_read=NOT_CONFIGURED)
        asked = replace(asked, namespace_label=endpoint.namespace_label, pod_label=endpoint.pod_label)
        async with self._slots:
            try:
                return await prometheus.in_time(endpoint, lambda: _read(endpoint, asked))
            except TimeoutError:
                return GpuReading(at_rps=at, not_read="Prometheus gave no answer in time")


def reported(pod: Object) -> TrialReport | None:
    """The report that the client of a finished trial left; None where there is none yet, or none that can be read."""
    for status in pod.get("status", {}).get("containerStatuses") or []:
        ended = (status.get("state") or {}).get("terminated") or {}
        if status.get("name") == "trial" and ended.get("message"):
            try:
                report = load_report(ended["message"])
            except ValueError:
                return None
            return report if isinstance(report, TrialReport) else None
    return None


def _measured(job: Object, pods: Sequence[Object], serving: Sequence[Object]) -> list[Object]:
    """Pods whose engines were measured: the trial's own, or those that a verification sent its requests to."""
    assignment = _assignment(job)
    if assignment is None:
        return []
    if assignment.purpose != "Verify":
        return [pod for pod in pods if reported(pod) is not None][:1]
    hosts = [endpoint.base_url for endpoint in assignment.endpoints]
    return [pod for pod in serving if any(_at(host, str(pod.get("status", {}).get("podIP", ""))) for host in hosts)]


def _at(base_url: str, address: str) -> bool:
    host = base_url.removeprefix("http://").rpartition(":")[0].strip("[]")
    return bool(address) and host == address


def _assignment(job: Object) -> TrialAssignment | None:
    for container in job["spec"]["template"]["spec"].get("containers", []):
        for variable in container.get("env") or []:
            if variable.get("name") == ASSIGNMENT_VARIABLE:
                try:
                    found = load_assignment(variable.get("value", ""))
                except ValueError:
                    return None
                return found if isinstance(found, TrialAssignment) else None
    return None


def _held(pod: Object, resource: str) -> int:
    """Accelerators that the containers of a pod, sidecars included, hold."""
    spec = pod.get("spec", {})
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    return sum(count(((one.get("resources") or {}).get("limits") or {}).get(resource, 0)) for one in containers)


def _read(endpoint: PrometheusEndpoint, asked: Question) -> GpuReading:
    at, first = quantity(asked.at_rps), gpu_use.query(asked, gpu_use.FIELDS["gpu_percent"][0])
    ended = datetime.datetime.fromtimestamp(asked.ended, datetime.UTC)
    found: dict[str, str] = {}
    try:
        with contextlib.closing(prometheus.connected(endpoint)) as connection:
            for figure, (metric, factor) in gpu_use.FIELDS.items():
                result = prometheus.instant(connection, endpoint, gpu_use.query(asked, metric), ended)
                value = gpu_use.mean(result, asked.gpus, factor)
                if value is None and figure == "gpu_percent":
                    why = f"Prometheus has no {metric} of the pod in the window; is dcgm-exporter scraped that often?"
                    return GpuReading(at_rps=at, query=first, not_read=why)
                found |= {} if value is None else {figure: quantity(value, 1)}
    except prometheus.FAILURES as error:
        log.warning("GPU utilisation could not be read", extra={"query": first, "error": str(error)[:300]})
        if "gpu_percent" not in found:
            return GpuReading(at_rps=at, query=first, not_read=f"Prometheus: {prometheus.words(error)}"[:128])
    return GpuReading(at_rps=at, query=first, **found)
