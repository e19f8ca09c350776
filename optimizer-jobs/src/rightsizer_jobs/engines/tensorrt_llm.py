"""TensorRT-LLM's server (trtllm-serve): /health, Prometheus on /prometheus/metrics.

Written from its documentation, not run here. Its /metrics is a JSON queue that a reader consumes: it is left alone.
Releases publish different subsets, so every figure may be absent.
"""

from dataclasses import dataclass

from rightsizer_jobs.engines.engine import Health, Sample, Served, first_of

NAMES: dict[str, tuple[str, ...]] = {
    "process_start": ("process_start_time_seconds",),
    "running": ("trtllm_num_requests_running",),
    "waiting": ("trtllm_num_requests_waiting",),
    "finished": ("trtllm_request_success_total",),
    "kv_usage": ("trtllm_kv_cache_utilization",),
}


@dataclass(frozen=True, slots=True)
class TensorRTLLM(Served):
    async def health(self) -> Health:
        return await self.health_of("/health")

    async def sample(self) -> Sample:
        samples = await self.metrics("/prometheus/metrics")
        return Sample(**{field: first_of(samples, names) for field, names in NAMES.items()})
