"""Arrival schedules: Poisson is Poisson, constant is constant, gamma bursts as asked; a rate only scales the gaps."""

import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rightsizer_jobs.loadgen.arrivals import scaled, schedule, unit_gaps

SECOND = 1_000_000_000


def gaps(instants):
    return [later - earlier for earlier, later in zip([0, *instants], instants, strict=False)]


def dispersion(instants, bins):
    """Variance over mean of the arrivals in a second: 1 for a Poisson process."""
    counts = [0] * bins
    for instant in instants:
        counts[instant // SECOND] += 1
    return statistics.variance(counts) / statistics.mean(counts)


def first(arrivals, count, seed, burstiness=1.0):
    return list(itertools.islice(unit_gaps(arrivals, seed, burstiness), count))


@pytest.mark.parametrize("seed", range(5))
def test_poisson_arrivals_have_the_rate_and_the_dispersion_of_a_poisson_process(seed):
    instants = schedule("Poisson", 20, 500, seed)
    assert len(instants) == pytest.approx(10_000, abs=4 * 100)
    assert dispersion(instants, 500) == pytest.approx(1, abs=3 * (2 / 500) ** 0.5)


def test_poisson_gaps_do_not_repeat():
    found = gaps(schedule("Poisson", 20, 100, 3))
    assert len(set(found)) > 0.99 * len(found)


def test_constant_arrivals_are_evenly_spaced():
    instants = schedule("Constant", 4, 10, 1)
    assert len(instants) == 39
    assert set(gaps(instants)) == {SECOND // 4}


@pytest.mark.parametrize("shape", [0.25, 0.5, 1, 4])
@pytest.mark.parametrize("seed", range(3))
def test_gamma_gaps_have_mean_one_and_the_asked_burstiness(shape, seed):
    found = first("Gamma", 20_000, seed, shape)
    assert statistics.mean(found) == pytest.approx(1, abs=4 * (1 / shape / 20_000) ** 0.5)
    # The variance of a sample variance of gamma gaps is (2 + 6/shape) / shape^2 / n.
    error = ((2 + 6 / shape) / shape**2 / 20_000) ** 0.5
    assert statistics.variance(found) == pytest.approx(1 / shape, abs=4 * error)


@pytest.mark.parametrize("shape", [0.25, 4])
def test_gamma_arrivals_burst_below_one_and_are_even_above(shape):
    found = dispersion(schedule("Gamma", 20, 500, 7, burstiness=shape), 500)
    assert (found > 2) if shape < 1 else (found < 0.5)


@given(
    arrivals=some.sampled_from(["Poisson", "Constant", "Gamma"]),
    seed=some.integers(0, 2**32),
    rate=some.floats(0.5, 50),
    factor=some.floats(0.2, 5),
    shape=some.floats(0.2, 10),
)
def test_another_rate_only_scales_the_same_gaps(arrivals, seed, rate, factor, shape):
    slow = schedule(arrivals, rate, 20, seed, burstiness=shape)
    fast = schedule(arrivals, rate * factor, 20, seed, burstiness=shape)
    for one, other in zip(slow, fast, strict=False):
        assert one == pytest.approx(other * factor, rel=1e-6, abs=10)


@given(arrivals=some.sampled_from(["Poisson", "Gamma"]), seed=some.integers(0, 2**32), rate=some.floats(0.5, 50))
def test_a_schedule_ascends_ends_in_time_and_repeats_by_its_seed(arrivals, seed, rate):
    instants = schedule(arrivals, rate, 20, seed)
    assert instants == sorted(instants) == schedule(arrivals, rate, 20, seed)
    assert all(0 <= instant <= 20 * SECOND for instant in instants)


def test_other_seeds_give_other_arrivals():
    assert schedule("Poisson", 5, 20, 1) != schedule("Poisson", 5, 20, 2)


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_of_nothing_is_refused(rate):
    with pytest.raises(ValueError, match="above 0"):
        schedule("Poisson", rate, 20, 1)


def test_gamma_gaps_of_no_shape_are_refused():
    with pytest.raises(ValueError, match="burstiness must be above 0"):
        next(unit_gaps("Gamma", 1, 0))


def test_gaps_of_any_origin_are_scaled_by_the_rate():
    assert scaled([1, 0, 2, 1], 2, 1.9) == [SECOND // 2, SECOND // 2, 3 * SECOND // 2]
