"""Operator configuration as one frozen value; every field is a chart value, read once at start-up from a YAML file by ``__main__``."""

from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProfile:
    """How Jobs of one purpose are run: operator configuration (chart values), never a CR field."""

    image: str
    image_pull_policy: str = "IfNotPresent"
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[Object, ...] = ()
    volumes: tuple[Object, ...] = ()
    volume_mounts: tuple[Object, ...] = ()
    env: tuple[Object, ...] = ()
    command: tuple[str, ...] = ("python3", "-m", "rightsizer_jobs")
    resources: Object = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Operator configuration; every field is a chart value. Times in seconds."""

    trial: JobProfile
    compress: JobProfile
    prices: dict[str, str] = field(default_factory=dict)
    """Price of one accelerator hour by accelerator type; the resource name is looked up when the type is unknown or unlisted."""
    engine_images: dict[str, str] = field(default_factory=dict)
    """Image by engine kind (VLLM, TensorRTLLM) for candidates whose engine is not the baseline's."""
    read_only: bool = False
    """Kill switch: no new write to a target; a needed way back is still taken."""
    void_retries: int = 2
    runs_kept: int = 5
    rollout_deadline_s: int = 1800
    job_ttl_grace_s: int = 120
    """How much longer the Job's deadline is than the pod's (it catches pods that never start)."""
    pending_deadline_s: int = 3600
    """How long a pod may stay unscheduled before the trial is Void."""
