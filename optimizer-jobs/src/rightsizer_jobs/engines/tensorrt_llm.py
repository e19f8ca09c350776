"""TensorRT-LLM's server (trtllm-serve): /health, Prometheus on /prometheus/metrics.

Written from its source (tensorrt_llm/metrics/collector.py), not run here. Its /metrics is a JSON queue that a reader
consumes: it is left alone. Releases publish different subsets, so every figure may be absent; preemptions are in none.
"""

from dataclasses import dataclass, replace

from rightsizer_jobs.engines.engine import Health, Names, Sample, Served

NAMES: Names = {
    "process_start": ("process_start_time_seconds",),
    "running": ("trtllm_num_requests_running",),
    "slots": ("trtllm_max_num_active_requests",),
    "waiting": ("trtllm_num_requests_waiting",),
    "finished": ("trtllm_request_success_total",),
    "kv_usage": ("trtllm_kv_cache_utilization",),
    "prefix_hits": ("trtllm_kv_cache_reused_blocks_total",),
    "prefix_queries": ("trtllm_kv_cache_missed_blocks_total",),
}


@dataclass(frozen=True, slots=True)
class TensorRTLLM(Served):
    async def health(self) -> Health:
        return await self.health_of("/health")

    async def sample(self) -> Sample:
        """It counts hits and misses: the look-ups are both together."""
        found = await self.figures("/prometheus/metrics", NAMES)
        hits, misses = found.prefix_hits, found.prefix_queries
        return replace(found, prefix_queries=None if hits is None or misses is None else hits + misses)
