"""Cost of a result: before against after, and against an API at the stated prices. Called by ``assemble``. Pure.

Arithmetic is that of ``sizing.cost``; without a price there is no cost, never a guess.
"""

from rightsizer_cli.inputs import Run
from rightsizer_cli.result import Api, Cost, Figure, Side
from rightsizer_operator.resource.base import number
from rightsizer_operator.sizing import cost as sizing_cost


def cost_of(found: Run, before: Side | None, after: Side | None) -> Cost | None:
    """None where no price of an accelerator hour is known."""
    run = found.inputs
    if run.gpu_hourly is None:
        return None
    old, new = _hourly(before), _hourly(after)
    saved = Figure(value=old.value - new.value, evidence=new.evidence) if old and new else None
    return Cost(
        currency=run.accepted.cost.currency,
        gpu_hourly=number(run.gpu_hourly),
        saved_per_hour=saved,
        saved_percent=_percent(saved, old),
        api=_api(found, new or old),
    )


def _hourly(side: Side | None) -> Figure | None:
    return side.cost_per_hour if side else None


def _percent(saved: Figure | None, old: Figure | None) -> Figure | None:
    if saved is None or old is None or old.value <= 0:
        return None
    return Figure(value=100 * saved.value / old.value, evidence=saved.evidence)


def _api(run: Run, own: Figure | None) -> Api | None:
    spec, load = run.inputs.accepted, run.workload
    if spec.cost.api is None or not load.output_tokens:
        return None
    input_price, output_price = number(spec.cost.api.input_per_million), number(spec.cost.api.output_per_million)
    request = (load.input_tokens * input_price + load.output_tokens * output_price) / 1e6
    hourly = request * load.demand_rps * 3600
    return Api(
        input_per_million=input_price,
        output_per_million=output_price,
        per_hour=hourly,
        per_million_output_tokens=request / load.output_tokens * 1e6,
        break_even_rps=own.value / (request * 3600) if own and request > 0 else None,
    )


def at_capacity(run: Run, capacity: Figure | None, accelerators: int) -> Figure | None:
    """Price of a million output tokens of one replica at its measured capacity."""
    if capacity is None:
        return None
    hourly, tokens = sizing_cost.per_hour(accelerators, run.inputs.gpu_hourly), run.workload.output_tokens
    value = sizing_cost.per_million_tokens(hourly, capacity.value * tokens)
    return None if value is None else Figure(value=value, evidence="Measured")


def payback_hours(spent: float | None, before: Side | None, after: Side | None) -> float | None:
    """Hours of saving that pay for the search; None without a price or a saving."""
    old, new = _hourly(before), _hourly(after)
    return sizing_cost.payback_hours(spent, old.value if old else None, new.value if new else None)
