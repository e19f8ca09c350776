"""Engine, demand and SLO together: six shapes of serving in which a capacity search goes wrong in different ways.

The figures are of the size of one accelerator with a model of 8 to 70 billion weights; they are nobody's measurement.
``varied`` gives a case with other figures of the same kind: a search is tuned on some, and reported on others.
"""

import random
from dataclasses import dataclass, replace

from benchmarks.oracle.demand import Demand, Tokens
from benchmarks.oracle.engine import EngineShape
from rightsizer_jobs.contract import Slo


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One replica under one demand with its targets."""

    name: str
    shape: EngineShape
    demand: Demand
    slo: Slo


SMALL = EngineShape(weights_s=0.008, token_s=2.8e-5, context_s=5e-8, pair_s=8e-10)
LARGE = EngineShape(weights_s=0.014, token_s=5.5e-5, context_s=6e-8, pair_s=1.2e-9, kv_blocks=12_000)

CASES = (
    Case(
        name="prefill-heavy",
        shape=SMALL,
        demand=Demand(Tokens(4000, 0.5, 16_000), Tokens(100, 0.5, 1000)),
        slo=Slo(ttft_ms=1500, itl_ms=150),
    ),
    Case(
        name="decode-heavy",
        shape=replace(SMALL, sequences=128),
        demand=Demand(Tokens(200, 0.5, 2000), Tokens(300, 0.6, 2000)),
        slo=Slo(ttft_ms=500, tpot_ms=20),
    ),
    Case(
        name="tight-kv",
        shape=replace(SMALL, kv_blocks=1800),
        demand=Demand(Tokens(800, 0.6, 6000), Tokens(250, 0.6, 2000)),
        slo=Slo(ttft_ms=1000, itl_ms=100, e2e_ms=20_000),
    ),
    Case(
        name="bursty",
        shape=LARGE,
        demand=Demand(Tokens(1000, 0.7, 8000), Tokens(180, 0.7, 1000), burstiness=2.0, swell=0.25),
        slo=Slo(ttft_ms=1200, itl_ms=250),
    ),
    Case(
        name="long-outputs",
        shape=replace(SMALL, sequences=192),
        demand=Demand(Tokens(400, 0.5, 4000), Tokens(1200, 0.4, 4000)),
        slo=Slo(ttft_ms=800, tpot_ms=16),
    ),
    Case(
        name="token-chunks",
        shape=replace(LARGE, chunk_tokens=8),
        demand=Demand(Tokens(1155, 0.8, 14_000), Tokens(211, 0.7, 1000)),
        slo=Slo(ttft_ms=1000, itl_ms=500, e2e_ms=25_000),
    ),
)


def varied(case: Case, seed: int) -> Case:
    """The same kind of case with other figures: costs of a step, lengths, cache and limits, each within a third."""
    source = random.Random(f"{case.name}/{seed}")

    def near(value: float, share: float = 0.33) -> float:
        return value * (1 + source.uniform(-share, share))

    shape, demand, slo = case.shape, case.demand, case.slo
    return replace(
        case,
        shape=replace(
            shape,
            weights_s=near(shape.weights_s),
            token_s=near(shape.token_s),
            context_s=near(shape.context_s),
            kv_blocks=round(near(shape.kv_blocks, 0.2)),
        ),
        demand=replace(
            demand,
            input_tokens=replace(demand.input_tokens, mean=round(near(demand.input_tokens.mean))),
            output_tokens=replace(demand.output_tokens, mean=round(near(demand.output_tokens.mean))),
        ),
        slo=slo.model_copy(update={f"{name}_ms": round(near(limit, 0.25)) for name, limit in slo.limits().items()}),
    )
