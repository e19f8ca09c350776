"""Operator configuration as one frozen value; every field is a chart value, read once at start-up from a YAML file
by ``__main__``.

Keys of the file are the field names in camelCase. Unknown keys are refused: a misspelt limit must not be a silent
default.
"""

import pathlib
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import pydantic
import yaml
from pydantic.alias_generators import to_camel

Object = dict[str, Any]
STRICT = pydantic.ConfigDict(extra="forbid", alias_generator=to_camel)
Port = Annotated[int, pydantic.Field(ge=0, le=65535)]
Count = Annotated[int, pydantic.Field(ge=1)]
LabelName = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)]
Price = Annotated[str, pydantic.Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,6})?$")]


class SettingsError(ValueError):
    """The configuration file is missing or wrong; the message names file, key and what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProfile:
    """How Jobs of one purpose are run: operator configuration (chart values), never a CR field."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = STRICT
    image: Annotated[str, pydantic.Field(min_length=1)]
    image_pull_policy: str = "IfNotPresent"
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[Object, ...] = ()
    volumes: tuple[Object, ...] = ()
    volume_mounts: tuple[Object, ...] = ()
    env: tuple[Object, ...] = ()
    command: tuple[str, ...] = ("python3", "-m", "rightsizer_jobs")
    resources: Object = field(default_factory=dict)
    priority_class_name: str = ""
    """A class below that of serving pods, best with preemptionPolicy Never: a trial gives way and takes nothing."""


Size = Annotated[float, pydantic.Field(gt=0, le=1e6, allow_inf_nan=False)]
Speed = Annotated[float, pydantic.Field(ge=0, le=1e6, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """Facts of an accelerator that the package's table lacks, or has otherwise. TFLOPS are dense; 0: no such
    arithmetic.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = STRICT
    name: Annotated[str, pydantic.Field(min_length=1, max_length=63)]
    memory_gib: Size
    bandwidth_gbs: Size
    bf16_tflops: Size
    link_gbs: Size
    compute_capability: Annotated[str, pydantic.Field(min_length=1, max_length=16)]
    source: Annotated[str, pydantic.Field(min_length=1, max_length=200)]
    """Where the figures come from, with a date; said beside every estimate that rests on them."""
    aliases: tuple[Annotated[str, pydantic.Field(min_length=1, max_length=63)], ...] = ()
    fp8_tflops: Speed = 0.0
    int8_tflops: Speed = 0.0
    fp4_tflops: Speed = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusEndpoint:
    """Where the peak demand and the utilisation of GPUs are read: operator configuration, so that no tenant can point a
    request elsewhere.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = STRICT
    url: Annotated[
        str, pydantic.Field(pattern=r"^https?://[A-Za-z0-9.\-_\[\]:]+(/[A-Za-z0-9.\-_~/]*)?$", max_length=512)
    ]
    """Without user, query and fragment, e.g. http://prometheus.monitoring:9090."""
    bearer_token_file: str = ""
    """File with a bearer token, read anew for every question; empty: none is sent."""
    ca_file: str = ""
    """PEM file of the authorities that are trusted; empty: those of the image."""
    namespace_label: LabelName = "namespace"
    pod_label: LabelName = "pod"
    timeout_s: Annotated[int, pydantic.Field(ge=1, le=120)] = 15
    every_s: Annotated[int, pydantic.Field(ge=60)] = 900
    """How long an answer is kept: drift is noticed so late at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Operator configuration; every field is a chart value. Times in seconds."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = STRICT
    trial: JobProfile
    compress: JobProfile
    prices: dict[str, Price] = field(default_factory=dict)
    """Price of one accelerator hour by accelerator type; the resource name is looked up when the type is unknown or
    unlisted.
    """
    gpus: tuple[Gpu, ...] = ()
    """Accelerators for estimates, laid over the package's table."""
    engine_images: dict[str, str] = field(default_factory=dict)
    """Image by engine kind (VLLM, TensorRTLLM) for candidates whose engine is not the baseline's."""
    prometheus: PrometheusEndpoint | None = None
    """None: a workload whose demand is in Prometheus cannot be accepted."""
    read_only: bool = False
    """Kill switch: no new write to a target; a needed way back is still taken."""
    void_retries: int = 2
    runs_kept: int = 5
    rollout_deadline_s: int = 1800
    """How long a roll-out may go without progress before it is put back."""
    compress_deadline_s: Count = 21_600
    """How long one compress Job may work: calibrating a 70B model takes hours."""
    job_ttl_grace_s: int = 120
    """How much longer the Job's deadline is than the pod's (it catches pods that never start)."""
    pending_deadline_s: int = 3600
    """How long a pod may stay unscheduled before the trial is Void."""
    namespaces: tuple[str, ...] = ()
    """Namespaces that are watched (namespaced install); empty: all of them."""
    lease_name: str = "rightsizer"
    lease_namespace: str = ""
    """Namespace of the leader Lease; empty: the operator's own."""
    http_port: Port = 8080
    """Port of /healthz, /readyz and /metrics."""
    workers: Count = 8
    """How many resources are reconciled at once."""
    resync_s: Count = 120
    """How often all resources are listed to find what a watch missed."""
    stuck_after_s: Count = 600
    """A key that waits longer, or no list for as long, makes the leader unhealthy."""
    log_level: Annotated[str, pydantic.Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"


_SETTINGS = pydantic.TypeAdapter(Settings)


def parsed(document: object, source: str = "settings") -> Settings:
    """Settings from a parsed YAML document; raises SettingsError with every wrong key named."""
    try:
        return _SETTINGS.validate_python(document)
    except pydantic.ValidationError as error:
        problems = "; ".join(f"{_dotted(item['loc']) or 'file'}: {item['msg']}" for item in error.errors())
        raise SettingsError(f"{source}: {problems}") from error


def load(path: pathlib.Path) -> Settings:
    """Settings from a YAML file; raises SettingsError with the path named."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    return parsed(document, str(path))


def _dotted(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)
