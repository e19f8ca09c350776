"""The run of the batching rules: against hand arithmetic, against a step-by-step run, and its invariants."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rightsizer_operator.sizing.estimate import batching
from rightsizer_operator.sizing.estimate.batching import Limits
from rightsizer_operator.sizing.estimate.steps import StepClock

CLOCK = StepClock(
    dense_weights_s=0.010, expert_weights_s=0.0, expert_skipped=1.0, groups=1, token_s=20e-6, pair_s=1e-9,
    context_s=20e-9, window=0, windowed=0.0, token_traffic_s=0.0, fixed_s=0.002, sequence_s=10e-6,
)  # fmt: skip
ROOMY = Limits(policy="Mixed", batched_tokens=2048, sequences=256, kv_tokens=10_000_000, reserves=False)


@dataclass
class Job:
    """One request of the step-by-step run."""

    arrival: float
    prompt: int
    output: int
    done: int = 0
    emitted: int = 0
    first: float = 0.0
    last: float = 0.0


def step_by_step(limits: Limits, arrivals: list[tuple[float, int, int]]) -> list[Job]:
    """The same rules without preemption, one step after the other and nothing clever."""
    jobs = [Job(*arrival) for arrival in arrivals]
    now, waiting, active = 0.0, list(jobs), list[Job]()
    while waiting or active:
        while waiting and waiting[0].arrival <= now + 1e-9 and len(active) < limits.sequences:
            active.append(waiting.pop(0))
        if not active:
            now = waiting[0].arrival
            continue
        decoding = [job for job in active if job.emitted]
        prompts = [job for job in active if not job.emitted]
        riding = decoding if limits.policy != "First" or not prompts else []
        budget, pairs, tokens = max(1, limits.batched_tokens - len(riding)), 0.0, 0
        for job in prompts:
            wanted = job.prompt - job.done
            if tokens and (tokens >= budget or (limits.policy == "Whole" and tokens + wanted > budget)):
                break
            chunk = wanted if limits.policy == "Whole" else min(wanted, budget - tokens)
            pairs += chunk * (job.done + chunk / 2)
            job.done += chunk
            tokens += chunk
        now += CLOCK.seconds(tokens, pairs, len(riding), sum(job.prompt + job.emitted for job in riding))
        for job in riding:
            job.emitted += 1
        for job in prompts:
            if job.done == job.prompt:
                job.emitted, job.first = 1, now
        for job in [job for job in active if job.emitted >= job.output]:
            job.last = now
            active.remove(job)
    return jobs


def test_one_request_takes_its_prompt_step_and_one_step_a_token() -> None:
    found = batching.open_loop(CLOCK, ROOMY, [(1.0, 1000, 3)])
    prompt = CLOCK.seconds(1000, 1000 * 500.0, 0, 0.0)
    decode = CLOCK.seconds(0, 0.0, 1, 1001) + CLOCK.seconds(0, 0.0, 1, 1002)
    assert found.ttft == pytest.approx([prompt])
    assert found.e2e == pytest.approx([prompt + decode])
    assert found.tpot == pytest.approx([decode / 2])


def test_a_long_prompt_is_cut_into_chunks() -> None:
    found = batching.open_loop(CLOCK, ROOMY, [(0.0, 5000, 1)])
    chunks = [(2048, 0), (2048, 2048), (904, 4096)]
    assert found.ttft == pytest.approx([sum(CLOCK.seconds(n, n * (at + n / 2), 0, 0.0) for n, at in chunks)])


requests = st.lists(
    st.tuples(st.floats(0, 20), st.integers(1, 6000), st.integers(1, 300)), min_size=1, max_size=25
).map(sorted)


@settings(max_examples=60, deadline=None)
@given(arrivals=requests, policy=st.sampled_from(["Mixed", "Whole", "First"]), sequences=st.sampled_from([1, 3, 256]))
def test_jumping_from_event_to_event_gives_what_single_steps_give(
    arrivals: list[tuple[float, int, int]], policy: str, sequences: int
) -> None:
    limits = replace(ROOMY, policy=policy, sequences=sequences)
    jobs = step_by_step(limits, arrivals)
    found = batching.open_loop(CLOCK, limits, arrivals)
    assert sorted(found.ttft) == pytest.approx(sorted(job.first - job.arrival for job in jobs), rel=1e-6)
    assert sorted(found.e2e) == pytest.approx(sorted(job.last - job.arrival for job in jobs), rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(arrivals=requests, reserves=st.booleans(), room=st.integers(6400, 30_000))
def test_a_small_cache_delays_requests_and_loses_none(
    arrivals: list[tuple[float, int, int]], reserves: bool, room: int
) -> None:
    tight = replace(ROOMY, reserves=reserves, kv_tokens=room)
    found = batching.open_loop(CLOCK, tight, arrivals)
    assert len(found.e2e) == len(arrivals)
    assert min(found.ttft) > 0
    assert reserves is False or found.preemptions == 0
    assert sum(count for _, count in found.gaps) >= sum(output - 1 for _, _, output in arrivals) - found.preemptions


def test_a_full_cache_preempts_the_request_that_came_last() -> None:
    tight = replace(ROOMY, kv_tokens=2600)
    found = batching.open_loop(CLOCK, tight, [(0.0, 1000, 500), (0.0, 1000, 500)])
    assert found.preemptions >= 1
    roomy = batching.open_loop(CLOCK, ROOMY, [(0.0, 1000, 500), (0.0, 1000, 500)])
    assert max(found.e2e) > 1.2 * max(roomy.e2e)


def test_a_request_larger_than_the_cache_is_an_error() -> None:
    with pytest.raises(ValueError, match="larger than the cache"):
        batching.open_loop(CLOCK, replace(ROOMY, kv_tokens=500), [(0.0, 1000, 10)])


def test_a_closed_loop_keeps_its_number_of_requests_in_flight() -> None:
    found = batching.closed_loop(CLOCK, ROOMY, [(500, 100)] * 80, 8)
    assert len(found.e2e) == 80
    assert sum(found.e2e) / found.duration == pytest.approx(8, rel=0.03)


def test_prefill_first_stalls_decoding_and_mixing_does_not() -> None:
    arrivals = [(0.0, 100, 300), (1.0, 8000, 2)]
    mixed = batching.open_loop(CLOCK, ROOMY, arrivals)
    first = batching.open_loop(CLOCK, replace(ROOMY, policy="First"), arrivals)
    assert max(gap for gap, _ in first.gaps) > 2 * max(gap for gap, _ in mixed.gaps)
    assert min(first.ttft[1:]) <= min(mixed.ttft[1:])


def test_a_slow_front_end_delays_answers_but_not_steps() -> None:
    arrivals = [(0.0, 200, 200)] * 64
    free = batching.open_loop(CLOCK, ROOMY, arrivals)
    bound = batching.open_loop(CLOCK, replace(ROOMY, token_s=500e-6), arrivals)
    assert bound.duration == pytest.approx(free.duration)
    assert max(bound.e2e) == pytest.approx(64 * 199 * 500e-6 + min(free.ttft), rel=0.05)


def test_the_way_to_the_scheduler_counts_as_time_to_first_token() -> None:
    near, far = (
        batching.open_loop(CLOCK, replace(ROOMY, request_s=way), [(0.0, 100, 2)]).ttft[0] for way in (0.0, 0.03)
    )
    assert far - near == pytest.approx(0.03)
