"""The largest rate that one replica carries inside the limits: by roofline in microseconds, by simulation in tens of
milliseconds. Called by ``ranking``.

Both are estimates. The roofline knows means and takes percentiles from a queue's tail; the simulation runs the batching
rules over a fixed arrival schedule, the same for every candidate.
"""

import functools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from rightsizer_operator.sizing.estimate import batching
from rightsizer_operator.sizing.estimate.batching import Figures, Limits
from rightsizer_operator.sizing.estimate.questions import Question
from rightsizer_operator.sizing.estimate.steps import StepClock

SEED = 20261124
FEWEST, MOST = 240, 900
"""Requests of one simulation."""
WARM_UP = 0.25
"""Share of the requests that are left out at the start."""
CLOSE = 0.02
"""Relative width at which the search for the largest rate stops."""
ROUNDS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One replica at one rate: latencies at the percentile, ms by metric."""

    rate_rps: float
    latencies_ms: dict[str, float]


def alone(clock: StepClock, limits: Limits, asked: Question) -> Estimate:
    """One request on an idle engine: what no rate can beat."""
    return at_rate(asked, batching.open_loop(clock, limits, [(0.0, asked.input_tokens, asked.output_tokens)]), 0.0)


def missed(asked: Question, latencies_ms: dict[str, float]) -> str:
    """The metric that is furthest over its limit; empty: none is."""
    over = {metric: latencies_ms[metric] / limit for metric, limit in asked.limits_ms.items()}
    worst = max(over, key=lambda metric: over[metric])
    return worst if over[worst] > 1 else ""


def roofline(clock: StepClock, limits: Limits, asked: Question) -> Estimate | None:
    """The largest rate by steady-state means and a queue's tail; None: not even the smallest rate holds."""
    return _largest(clock, limits, asked, lambda found: not missed(asked, found.latencies_ms))


def _largest(clock: StepClock, limits: Limits, asked: Question, holds: Callable[[Estimate], bool]) -> Estimate | None:
    low, high = 0.0, _most_rps(clock, limits, asked)
    best: Estimate | None = None
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        found = _steady(clock, limits, asked, middle)
        if found is not None and holds(found):
            low, best = middle, found
        else:
            high = middle
        if high - low < CLOSE * low:
            break
    return best


def _most_rps(clock: StepClock, limits: Limits, asked: Question) -> float:
    """No rate above: the prompts alone would fill every second."""
    tokens = limits.batched_tokens
    prompts = max(1.0, tokens / asked.input_tokens)
    step = clock.seconds(tokens, tokens * min(tokens, asked.input_tokens) / 2, 0, 0.0)
    return prompts / step


def _steady(clock: StepClock, limits: Limits, asked: Question, rate: float) -> Estimate | None:
    """Means in the steady state at a rate; None: work or cache overflow."""
    prompt, output = asked.input_tokens, asked.output_tokens
    if rate * output * limits.token_s > 0.97:
        return None
    context = prompt + output / 2
    step = clock.seconds(0, 0.0, 1, context)
    for _ in range(60):
        tokens, running = rate * prompt * step, rate * output * step
        longer = clock.seconds(round(tokens), tokens * prompt / 2, max(1, round(running)), running * context)
        if longer > 30 or running > limits.sequences or running * context > limits.kv_tokens:
            return None
        if abs(longer - step) < 1e-3 * step:
            break
        step = longer
    running = max(1.0, rate * output * step)
    if running * (prompt + output if limits.reserves else context) > limits.kv_tokens:
        return None
    return _tail(clock, limits, asked, rate, step, running)


def _tail(
    clock: StepClock, limits: Limits, asked: Question, rate: float, step: float, running: float
) -> Estimate | None:
    prompt, output = asked.input_tokens, asked.output_tokens
    held = running * (prompt + output / 2)
    decode = clock.seconds(0, 0.0, max(1, round(running)), held)
    own = clock.seconds(prompt, prompt * prompt / 2, round(running), held)
    busy = rate * (own - decode)
    if busy >= 0.97:
        return None
    tail = -math.log(1 - asked.percentile / 100)
    ttft = limits.request_s + own + decode / 2 + (own - decode) * busy / (1 - busy) * tail / 2
    crowded = rate * step > 1 - asked.percentile / 100
    chunk = min(prompt, limits.batched_tokens)
    gap = clock.seconds(chunk, chunk * prompt / 2, round(running), held) if crowded else decode
    found = {"ttft": ttft, "tpot": step * 1.05, "itl": gap, "e2e": ttft + step * 1.03 * (output - 1)}
    return Estimate(rate_rps=rate, latencies_ms={metric: 1000 * value for metric, value in found.items()})


def simulated(clock: StepClock, limits: Limits, asked: Question, near: float) -> Estimate | None:
    """The largest rate by simulation, searched around ``near``; None: not even a twentieth of it holds.

    Never above the rate at which work or cache overflow in the long run: a short run would not show it where limits are
    loose.
    """
    stable = _largest(clock, limits, asked, lambda _: True)
    most = stable.rate_rps if stable else near
    low, high, best = 0.0, 0.0, None
    rate = min(near, most)
    for _ in range(ROUNDS):
        found = simulate(clock, limits, asked, rate)
        if missed(asked, found.latencies_ms):
            high = rate
        else:
            low, best = rate, found
        if low >= most or (high and (high - low < 2 * CLOSE * high or high < near / 20)):
            break
        rate = (low + high) / 2 if low and high else (high * 0.7 if high else min(low * 1.4, most))
    return best


def simulate(clock: StepClock, limits: Limits, asked: Question, rate: float) -> Estimate:
    """Latencies at a rate, over arrivals that are the same for every candidate but for their speed."""
    count = _requests(clock, asked, rate)
    arrivals = [(gap / rate, asked.input_tokens, asked.output_tokens) for gap in _schedule(count, asked.steady)]
    return at_rate(asked, batching.open_loop(clock, limits, arrivals), rate)


def _requests(clock: StepClock, asked: Question, rate: float) -> int:
    """Enough to outlast the first requests by far, so that a growing queue shows; fewer where prompts are long."""
    longest = asked.output_tokens * clock.seconds(0, 0.0, 16, 16.0 * (asked.input_tokens + asked.output_tokens))
    chunks = 1 + asked.input_tokens // 8192
    return round(min(MOST, max(FEWEST, 4 * rate * longest)) / math.sqrt(chunks))


@functools.cache
def _schedule(count: int, steady: bool) -> tuple[float, ...]:
    """Arrival times at one request a second."""
    if steady:
        return tuple(float(index) for index in range(count))
    chance, now, times = random.Random(SEED), 0.0, []
    for _ in range(count):
        now += chance.expovariate(1.0)
        times.append(now)
    return tuple(times)


def at_rate(asked: Question, figures: Figures, rate: float) -> Estimate:
    """The percentile of each metric; gaps are pooled over all requests."""
    skipped = int(WARM_UP * len(figures.ttft)) if len(figures.ttft) > 4 else 0
    share = asked.percentile / 100
    found = {
        "ttft": _percentile(figures.ttft[skipped:], share),
        "e2e": _percentile(figures.e2e[skipped:], share),
        "tpot": _percentile(figures.tpot[skipped:], share),
        "itl": _weighted(figures.gaps, share),
    }
    return Estimate(rate_rps=rate, latencies_ms={metric: 1000 * value for metric, value in found.items()})


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else 0.0


def _weighted(values: list[tuple[float, int]], share: float) -> float:
    left = share * sum(count for _, count in values)
    for value, count in sorted(values):
        left -= count
        if left <= 0:
            return value
    return 0.0
