"""Reading dcgm-exporter's series from Prometheus for a finished trial. The server is a stand-in on loopback that speaks
the documented HTTP API; neither a real Prometheus nor a real exporter is part of these tests.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from rightsizer_jobs.contract import ASSIGNMENT_VARIABLE, EngineUse, TrialReport, dump_report
from rightsizer_operator.cluster.gpu_reader import GpuReader
from rightsizer_operator.resource.status import GpuReading
from rightsizer_operator.settings import PrometheusEndpoint

ENDED = 1764000000.5
GPU = "nvidia.com/gpu"


@dataclass
class Exporter:
    """``series``: values by metric, one for each GPU of the pods asked for."""

    series: dict[str, list[str]] = field(default_factory=lambda: {"DCGM_FI_DEV_GPU_UTIL": ["60", "80"]})
    queries: list[dict[str, str]] = field(default_factory=list)
    status: int = 200

    async def query(self, request: web.Request) -> web.Response:
        self.queries.append(dict(request.query))
        if self.status != 200:
            return web.json_response({"status": "error", "errorType": "x", "error": "secret"}, status=self.status)
        metric = request.query["query"].partition("(")[2].partition("{")[0]
        values = self.series.get(metric, [])
        result = [{"metric": {"gpu": str(i)}, "value": [ENDED, value]} for i, value in enumerate(values)]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})


@pytest.fixture
async def exporter() -> AsyncIterator[tuple[Exporter, GpuReader]]:
    stand_in, app = Exporter(), web.Application()
    app.router.add_get("/api/v1/query", stand_in.query)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield stand_in, GpuReader(PrometheusEndpoint(url=url, timeout_s=20, pod_label="pod", namespace_label="namespace"))
    await runner.cleanup()


def a_report(**fields: Any) -> TrialReport:
    use = EngineUse(rate_rps=3.0, ended=ENDED, seconds=60.0, gpu_unseen="no GPU is shown")
    values = {"purpose": "Explore", "candidate": "as-is", "attempt": 1, "seed": 1, "outcome": "Succeeded", "use": use}
    return TrialReport.model_validate({**values, **fields})


def a_job(purpose: str = "Explore", hosts: tuple[str, ...] = ("127.0.0.1",)) -> Any:
    endpoints = ",".join(
        f'{{"engine":"VLLM","base_url":"http://{host}:8000","served_model_name":"m"}}' for host in hosts
    )
    assignment = (
        f'{{"kind":"Trial","purpose":"{purpose}","run_uid":"u","candidate":"as-is","attempt":1,"seed":1,"endpoints":[{endpoints}],'
        '"model_path":"m","workload":{"input_tokens":1,"output_tokens":1},"slo":{"ttft_ms":1}}'
    )
    env = [{"name": ASSIGNMENT_VARIABLE, "value": assignment}]
    spec = {"containers": [{"name": "trial", "env": env}]}
    return {"metadata": {"name": "chat-explore-1", "namespace": "ml"}, "spec": {"template": {"spec": spec}}}


def a_pod(message: str = "", *, gpus: str = "2", name: str = "chat-explore-1-x7k2p", address: str = "10.0.0.7") -> Any:
    ended = {"name": "trial", "state": {"terminated": {"message": message}}}
    return {
        "metadata": {"name": name},
        "spec": {
            "containers": [{"name": "trial"}],
            "initContainers": [{"name": "engine", "resources": {"limits": {GPU: gpus}}}],
        },
        "status": {"podIP": address, "containerStatuses": [ended] if message else []},
    }


async def read(reader: GpuReader, report: TrialReport) -> tuple[GpuReading, ...]:
    return await reader.read(a_job(), [a_pod(dump_report(report))], [], GPU)


async def test_a_finished_trial_is_asked_about_at_the_end_of_its_window(exporter: tuple[Exporter, GpuReader]) -> None:
    stand_in, reader = exporter
    (found,) = await read(reader, a_report())
    assert (found.at_rps, found.gpu_percent, found.tensor_percent, found.not_read) == ("3", "70", None, "")
    assert found.query == stand_in.queries[0]["query"]
    assert '{namespace="ml",pod=~"chat-explore-1-x7k2p"}[60s]' in found.query
    assert {query["time"] for query in stand_in.queries} == {"1764000000"}


async def test_where_the_gpus_are_profiled_that_is_told_too(exporter: tuple[Exporter, GpuReader]) -> None:
    stand_in, reader = exporter
    stand_in.series |= {
        "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": ["0.25", "0.35"], "DCGM_FI_PROF_DRAM_ACTIVE": ["0.5", "0.5"],
    }  # fmt: skip
    (found,) = await read(reader, a_report())
    assert (found.gpu_percent, found.tensor_percent, found.dram_percent) == ("70", "30", "50")


async def test_both_rates_of_a_trial_are_asked_about(exporter: tuple[Exporter, GpuReader]) -> None:
    later = EngineUse(rate_rps=1.0, ended=ENDED + 90, seconds=30.0, gpu_unseen="no GPU is shown")
    found = await read(exporter[1], a_report(use_at_demand=later))
    assert [one.at_rps for one in found] == ["3", "1"]
    assert "[30s]" in found[1].query


async def test_a_verification_is_asked_about_by_the_pods_that_it_measured(
    exporter: tuple[Exporter, GpuReader],
) -> None:
    stand_in, reader = exporter
    stand_in.series = {"DCGM_FI_DEV_GPU_UTIL": ["10", "20", "30"]}
    serving = [a_pod(name=f"chat-{i}", gpus="1", address=f"10.0.0.{i}") for i in (1, 2, 3, 4)]
    job = a_job("Verify", ("10.0.0.1", "10.0.0.2", "10.0.0.3"))
    (found,) = await reader.read(job, [a_pod(dump_report(a_report(purpose="Verify")))], serving, GPU)
    assert found.gpu_percent == "20"
    assert 'pod=~"chat-1|chat-2|chat-3"' in found.query


async def test_no_series_fewer_series_and_a_refusal_are_said_without_a_figure_or_a_word_of_the_answer(
    exporter: tuple[Exporter, GpuReader],
) -> None:
    stand_in, reader = exporter
    stand_in.series = {}
    (none,) = await read(reader, a_report())
    assert none.gpu_percent is None and "no DCGM_FI_DEV_GPU_UTIL of the pod in the window" in none.not_read
    stand_in.series = {"DCGM_FI_DEV_GPU_UTIL": ["60"]}
    (one,) = await read(reader, a_report())
    assert one.gpu_percent is None and "it tells of 1 GPUs, the engine has 2" in one.not_read
    stand_in.status = 400
    (refused,) = await read(reader, a_report())
    assert refused.gpu_percent is None and refused.not_read and "secret" not in refused.not_read


async def test_without_a_prometheus_that_is_the_reason_and_nothing_is_asked() -> None:
    (found,) = await read(GpuReader(None), a_report())
    assert found.not_read == "no Prometheus is configured (prometheus.url of the chart)"


async def test_nothing_is_asked_about_a_trial_that_goes_on_that_saw_its_gpus_or_has_none(
    exporter: tuple[Exporter, GpuReader],
) -> None:
    stand_in, reader = exporter
    seen = a_report(use=EngineUse(rate_rps=3.0, ended=ENDED, seconds=60.0, gpu_percent=80.0))
    text = dump_report(a_report())
    assert await read(reader, seen) == ()
    assert await reader.read(a_job(), [a_pod()], [], GPU) == ()
    assert await reader.read(a_job(), [a_pod("no report")], [], GPU) == ()
    assert await reader.read(a_job(), [a_pod(text, gpus="0")], [], GPU) == ()
    assert await reader.read(a_job(), [a_pod(text)], [], "rightsizer.dev/engine-slot") == ()
    assert await read(reader, a_report(replayed="recordings")) == ()
    assert stand_in.queries == []
