"""vLLM's server: /health, /v1/models, Prometheus on /metrics.

Metric names with their former ones: vLLM renames and removes them. How many places its batch has is in none.
"""

import json
from dataclasses import dataclass

from rightsizer_jobs.engines.engine import UNANSWERED, Health, Names, Sample, Served

NAMES: Names = {
    "process_start": ("process_start_time_seconds",),
    "running": ("vllm:num_requests_running",),
    "waiting": ("vllm:num_requests_waiting",),
    "kv_usage": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    "preemptions": ("vllm:num_preemptions_total",),
    "prefix_queries": ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
    "finished": ("vllm:request_success_total",),
    "prefix_hits": ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
}


@dataclass(frozen=True, slots=True)
class VLLM(Served):
    async def health(self) -> Health:
        answer = await self.health_of("/health")
        return await self._serves_model() if answer.ready else answer

    async def _serves_model(self) -> Health:
        try:
            status, text = await self.get("/v1/models")
            names = [str(model["id"]) for model in json.loads(text)["data"]] if status == 200 else []
        except (*UNANSWERED, KeyError, TypeError) as error:
            return Health(False, f"/v1/models: {type(error).__name__} {error}")
        if self.served_model_name in names:
            return Health(True)
        return Health(
            False,
            f"/v1/models lists {', '.join(names)[:120] or 'nothing'}, not {self.served_model_name}",
            wrong_model=bool(names),
        )

    async def sample(self) -> Sample:
        return await self.figures("/metrics", NAMES)
