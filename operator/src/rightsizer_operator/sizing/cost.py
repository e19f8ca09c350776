"""Money: per hour, per million output tokens, payback. All cost is put on output tokens. Called by ``figures`` and
the CLI.

Without a price every figure is None: left out and said, never guessed. Prices are per accelerator hour in the spec's
currency.
"""

from rightsizer_operator.resource.base import number
from rightsizer_operator.resource.spec import InferenceDeploymentSpec


def price_of(spec: InferenceDeploymentSpec, accelerator_type: str, prices: dict[str, str]) -> str | None:
    """The price of one accelerator hour: stated in the spec, else by type, else by resource name in the operator's
    list.
    """
    if spec.cost.gpu_hourly is not None:
        return spec.cost.gpu_hourly
    return prices.get(accelerator_type) or prices.get(spec.accelerator.resource)


def per_hour(gpus: int, gpu_hourly: str | None) -> float | None:
    """Price of all accelerators for one hour."""
    return None if gpu_hourly is None else gpus * number(gpu_hourly)


def per_million_tokens(hourly: float | None, output_tokens_per_s: float) -> float | None:
    """Price of a million output tokens at a throughput; None without a price or without throughput."""
    if hourly is None or output_tokens_per_s <= 0:
        return None
    return hourly / (output_tokens_per_s * 3600) * 1e6


def payback_hours(spent: float | None, before_hourly: float | None, after_hourly: float | None) -> float | None:
    """Hours after which the saving has paid for the search; None without a price or without a saving."""
    if spent is None or before_hourly is None or after_hourly is None or after_hourly >= before_hourly:
        return None
    return spent / (before_hourly - after_hourly)
