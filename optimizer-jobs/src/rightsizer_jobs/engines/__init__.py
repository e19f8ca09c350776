"""Engines seen through their HTTP API: readiness and metrics. Called by ``trial``; sends no load and judges nothing."""

from rightsizer_jobs.contract import Endpoint
from rightsizer_jobs.engines.engine import Engine
from rightsizer_jobs.engines.tensorrt_llm import TensorRTLLM
from rightsizer_jobs.engines.vllm import VLLM
from rightsizer_jobs.wire.session import Session


def connect(session: Session, endpoint: Endpoint) -> Engine:
    """The engine behind an endpoint; opens no connection yet."""
    kind = VLLM if endpoint.engine == "VLLM" else TensorRTLLM
    return kind(session, endpoint.base_url, endpoint.served_model_name)


__all__ = ["connect"]
