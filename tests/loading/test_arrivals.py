"""Arrival schedules: Poisson is Poisson, constant is constant, and a rate only scales the gaps."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rightsizer_jobs.loadgen.arrivals import schedule

SECOND = 1_000_000_000


def gaps(instants):
    return [later - earlier for earlier, later in zip([0, *instants], instants, strict=False)]


def dispersion(instants, bins):
    """Variance over mean of the arrivals in a second: 1 for a Poisson process."""
    counts = [0] * bins
    for instant in instants:
        counts[instant // SECOND] += 1
    return statistics.variance(counts) / statistics.mean(counts)


@pytest.mark.parametrize("seed", range(5))
def test_poisson_arrivals_have_the_rate_and_the_dispersion_of_a_poisson_process(seed):
    instants = schedule("Poisson", 20, 500, seed)
    assert len(instants) == pytest.approx(10_000, abs=4 * 100)
    assert dispersion(instants, 500) == pytest.approx(1, abs=4 * (2 / 500) ** 0.5)


def test_poisson_gaps_do_not_repeat():
    found = gaps(schedule("Poisson", 20, 100, 3))
    assert len(set(found)) > 0.99 * len(found)


def test_constant_arrivals_are_evenly_spaced():
    instants = schedule("Constant", 4, 10, 1)
    assert len(instants) == 39
    assert set(gaps(instants)) == {SECOND // 4}


@given(seed=some.integers(0, 2**32), rate=some.floats(0.5, 50), factor=some.floats(0.2, 5))
def test_another_rate_only_scales_the_same_gaps(seed, rate, factor):
    slow, fast = schedule("Poisson", rate, 20, seed), schedule("Poisson", rate * factor, 20, seed)
    for one, other in zip(slow, fast, strict=False):
        assert one == pytest.approx(other * factor, rel=1e-6, abs=10)


@given(seed=some.integers(0, 2**32), rate=some.floats(0.5, 50))
def test_a_schedule_ascends_ends_in_time_and_repeats_by_its_seed(seed, rate):
    instants = schedule("Poisson", rate, 20, seed)
    assert instants == sorted(instants) == schedule("Poisson", rate, 20, seed)
    assert all(0 <= instant <= 20 * SECOND for instant in instants)


def test_other_seeds_give_other_arrivals():
    assert schedule("Poisson", 5, 20, 1) != schedule("Poisson", 5, 20, 2)


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_of_nothing_is_refused(rate):
    with pytest.raises(ValueError, match="above 0"):
        schedule("Poisson", rate, 20, 1)
