"""Balanced arrivals: independent gaps in law, but no run of minutes has many bursts more or fewer than the long run."""

import itertools
import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from rightsizer_jobs.loadgen.arrivals import gamma_gaps, poisson_gaps, unit_gaps
from rightsizer_jobs.loadgen.balance import BALANCED, BLOCK, MEMORIES, balanced
from rightsizer_jobs.loadgen.sequence import sequence
from rightsizer_jobs.workload import Lognormal, Workload

COUNT = 2048
ALIKE = [1.0] * 8192
VARIED = Lognormal(mean=1000, at_percentile=2500)


def peak_excess(gaps, memory=64.0, peak=1.15):
    """How far the load over a memory between those that are balanced was above a peak, mean over the arrivals."""
    load, total = 1.0, 0.0
    for gap in gaps:
        load = load * math.exp(-gap / memory) + 1 / memory
        total += max(0.0, load - peak)
    return total / len(gaps)


def runs(arrivals, count=24):
    """Stretches of plain and of balanced gaps."""
    shape = {"Poisson": 1.0, "Gamma": 0.4}[arrivals]
    plain = [list(itertools.islice(unit_gaps(arrivals, seed, shape), COUNT)) for seed in range(count)]
    even = [list(itertools.islice(balanced(unit_gaps(arrivals, seed, shape), ALIKE), COUNT)) for seed in range(count)]
    return plain, even


@pytest.mark.parametrize("arrivals", ["Poisson", "Gamma"])
def test_bursts_differ_far_less_from_run_to_run_and_come_as_often(arrivals):
    plain, even = ([peak_excess(gaps) for gaps in kind] for kind in runs(arrivals))
    assert statistics.stdev(even) < 0.6 * statistics.stdev(plain)
    error = statistics.stdev(plain) / math.sqrt(len(plain))
    assert statistics.mean(even) == pytest.approx(statistics.mean(plain), abs=3 * error)


@pytest.mark.parametrize("arrivals", ["Poisson", "Gamma"])
def test_the_rate_that_arrives_is_nearly_the_asked_one(arrivals):
    plain, even = ([sum(gaps) / COUNT for gaps in kind] for kind in runs(arrivals))
    assert statistics.stdev(even) < 0.4 * statistics.stdev(plain)
    assert statistics.mean(even) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("shape", [1.0, 0.4])
def test_single_gaps_keep_their_law(shape):
    """Mean, variance and correlation from one to the next, of 16,384 gaps."""
    source = poisson_gaps(7) if shape == 1.0 else gamma_gaps(7, shape)
    found = list(itertools.islice(balanced(source, [1.0] * 16_384), 16_384))
    assert statistics.mean(found) == pytest.approx(1, abs=0.01)
    assert statistics.variance(found) == pytest.approx(1 / shape, rel=0.06)
    assert abs(statistics.correlation(found[:-1], found[1:])) < 0.03


@pytest.mark.parametrize("width", [4, 16])
def test_counts_over_short_times_are_as_dispersed_as_those_of_a_poisson_process(width):
    """Bursts are balanced, not smoothed away."""
    found = list(itertools.islice(balanced(poisson_gaps(3), [1.0] * 16_384), 16_384))
    bins = [0] * (16_000 // width)
    for instant in itertools.accumulate(found):
        if instant < width * len(bins):
            bins[int(instant / width)] += 1
    assert statistics.variance(bins) / statistics.mean(bins) == pytest.approx(1, abs=0.15)


@settings(max_examples=15, deadline=None)
@given(seed=some.integers(0, 2**40), tokens=some.lists(some.integers(1, 100_000), min_size=1, max_size=3 * BLOCK))
def test_every_seed_and_all_lengths_give_endless_positive_gaps_and_the_same_ones_again(seed, tokens):
    first, again = (list(itertools.islice(balanced(poisson_gaps(seed), tokens), 4 * BLOCK)) for _ in range(2))
    assert first == again
    assert len(first) == 4 * BLOCK
    assert min(first) > 0
    assert math.isfinite(sum(first))


def test_even_arrivals_of_equal_requests_pass_unchanged():
    assert list(itertools.islice(balanced(itertools.repeat(1.0), [5] * 300), 700)) == [1.0] * 700


def test_a_workload_has_the_same_gaps_for_one_seed_and_others_for_other_requests():
    found = sequence(Workload(input_tokens=VARIED, output_tokens=VARIED), 1)

    def head(seed, first):
        return list(itertools.islice(found.gaps(seed, first), 300))

    assert head(5, 0) == head(5, 0)
    assert head(5, 0) != head(6, 0)
    assert head(5, 0) != head(5, found.start(1))


def test_long_requests_that_come_together_count_as_a_burst():
    """The load is tokens: gaps alone cannot tell."""
    found = sequence(Workload(input_tokens=VARIED, output_tokens=10), 1)
    tokens = [found.ask(index).input_tokens + 10 for index in range(BALANCED)]
    mean = statistics.fmean(tokens)

    def excess(gaps):
        load, total, memory = 1.0, 0.0, MEMORIES[1]
        for gap, amount in zip(gaps, tokens, strict=False):
            load = load * math.exp(-gap / memory) + amount / mean / memory
            total += max(0.0, load - 1.3)
        return total / COUNT

    plain = [excess(itertools.islice(poisson_gaps(seed), COUNT)) for seed in range(12)]
    even = [excess(itertools.islice(found.gaps(seed, 0), COUNT)) for seed in range(12)]
    assert statistics.stdev(even) < 0.6 * statistics.stdev(plain)


def test_constant_arrivals_are_not_drawn():
    found = sequence(Workload(input_tokens=VARIED, output_tokens=10, arrivals="Constant"), 1)
    assert set(itertools.islice(found.gaps(1, 0), 1000)) == {1.0}
