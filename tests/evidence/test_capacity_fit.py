"""The capacity fit: exact on exact curves, honest about its error on a queue, a bound where that is all there is."""

import heapq
import math
import random
import statistics

import pytest

from rightsizer_jobs.contract import Probe, Slo
from rightsizer_jobs.loadgen.arrivals import schedule
from rightsizer_jobs.stats import allowed_share, fit_capacity, holds, within_saturation, worst_share

SLO = Slo(ttft_ms=500)


def probe(rate, share, *, requests=2000, inflation=0.0, aborted=False, seconds=120.0):
    return Probe(
        rate_rps=rate,
        achieved_rps=rate,
        seconds=seconds,
        requests=requests,
        failed=0,
        violations={"ttft": share},
        p_ms={"ttft": 100},
        output_tps=1,
        variance_inflation=inflation,
        aborted=aborted,
    )


def curve(rate, capacity=8.0, slope=10.0):
    return 0.05 * (rate / capacity) ** slope


def fit(*probes, slo=SLO):
    return fit_capacity(probes, slo, block_s=30)


def test_no_probe_no_capacity():
    assert fit() is None


@pytest.mark.parametrize("slope", [6.0, 10.0, 14.0])
def test_an_exact_curve_is_found(slope):
    found = fit(*(probe(rate, curve(rate, slope=slope), requests=200_000) for rate in (6.8, 7.6, 8.4)))
    assert found.rate_rps == pytest.approx(8.0, rel=0.01)
    assert found.slope == pytest.approx(slope, rel=0.1)
    assert found.bound == "Fitted"
    assert found.lower_rps == pytest.approx(found.rate_rps * math.exp(-found.standard_error))


def test_one_probe_leans_on_the_prior_slope_and_says_so_by_its_error():
    near, far = fit(probe(7.9, curve(7.9))), fit(probe(6.4, curve(6.4)))
    assert near.slope == 10.0
    assert near.rate_rps == pytest.approx(8.0, rel=0.01)
    assert far.standard_error > near.standard_error


def test_more_requests_narrow_the_error():
    wide, narrow = fit(probe(8, 0.05, requests=500)), fit(probe(8, 0.05, requests=8000))
    assert wide.standard_error == pytest.approx(4 * narrow.standard_error, rel=0.05)


def test_the_error_of_a_thousand_requests_is_what_the_formula_says():
    expected = 1.3 / 10 * math.sqrt(20 * 0.95 / (0.05 * 1000))
    assert fit(probe(8, 0.05, requests=1000)).standard_error == pytest.approx(expected, rel=0.01)


def test_blocks_that_vary_more_than_the_floor_widen_the_error():
    assert fit(probe(8, 0.05, inflation=80)).standard_error == pytest.approx(
        2 * fit(probe(8, 0.05)).standard_error, rel=0.01
    )


def test_a_variance_from_too_few_blocks_is_not_believed():
    assert fit(probe(8, 0.05, inflation=80, seconds=60)) == fit(probe(8, 0.05, seconds=60))


def test_probes_that_contradict_each_other_widen_the_error():
    agreeing = fit(probe(7, curve(7)), probe(8, curve(8)), probe(9, curve(9)))
    scattered = fit(probe(7, 0.2, requests=50_000), probe(8, 0.01, requests=50_000), probe(9, 0.3, requests=50_000))
    assert scattered.standard_error > agreeing.standard_error


def test_when_all_pass_the_capacity_is_at_least_the_largest_rate():
    found = fit(probe(4, 0.0), probe(6, 0.001))
    assert (found.rate_rps, found.bound) == (6, "AtLeast")


def test_a_clean_pass_is_certified_no_closer_than_its_requests_could_tell():
    found = fit(probe(6, 0.0, requests=316))
    # sqrt(20 * 0.95 / (0.05 * 316)) / 10
    assert found.standard_error == pytest.approx(0.1097, abs=0.001)
    assert found.lower_rps == pytest.approx(6 * math.exp(-found.standard_error))


def test_a_pass_of_few_requests_is_not_trusted_to_the_full():
    few, fewer = fit(probe(6, 0.0, requests=70)), fit(probe(6, 0.0, requests=20))
    assert (few.rate_rps, few.bound) == (6, "AtLeast")
    assert 0.1 < few.standard_error < fewer.standard_error < 0.5
    assert few.lower_rps == pytest.approx(6 * math.exp(-few.standard_error))


def test_when_all_fail_the_capacity_is_at_most_the_smallest_rate_and_nothing_is_certified():
    found = fit(probe(9, 0.9), probe(7, 0.8))
    assert (found.rate_rps, found.lower_rps, found.bound) == (7, 0, "AtMost")


def test_between_a_pass_and_a_failure_the_lower_bound_is_what_passed():
    found = fit(probe(6, 0.0), probe(9, 0.9))
    assert found.bound == "Between"
    assert found.rate_rps == pytest.approx(math.sqrt(54))
    assert found.lower_rps >= 6


def test_a_pass_above_a_failure_is_no_lower_bound():
    assert fit(probe(5, 0.9), probe(6, 0.0)).bound == "AtMost"


def test_a_stopped_probe_caps_the_estimate():
    assert fit(probe(6, 0.01, requests=500), probe(6.5, 0.9, aborted=True)).rate_rps == 6.5


def test_the_worst_metric_decides_and_a_missing_one_counts_as_missed():
    slo = Slo(ttft_ms=500, itl_ms=50)
    both = probe(8, 0.01).model_copy(update={"violations": {"ttft": 0.01, "itl": 0.07}})
    assert worst_share(both, slo) == 0.07
    assert not holds(both, slo)
    assert worst_share(probe(8, 0.01), slo) == 1.0


def test_the_allowed_share_follows_the_percentile():
    assert [allowed_share(percentile) for percentile in (50, 95, 99)] == [0.5, 0.05, 0.01]


def queue_probe(rate, seed, seconds=400.0, servers=4, service=0.4):
    """A queue with known capacity: Poisson arrivals, 4 servers, exponential service; ttft is the wait."""
    source = random.Random(seed)
    free = [0.0] * servers
    waits = []
    for instant in schedule("Poisson", rate, seconds + 60, seed + 1):
        arrival = instant / 1e9
        start = max(arrival, heapq.heappop(free))
        heapq.heappush(free, start + source.expovariate(1 / service))
        waits.append((arrival, (start - arrival) * 1000))
    counted = [wait for arrival, wait in waits if arrival >= 60]
    share = sum(wait > SLO.ttft_ms for wait in counted) / len(counted)
    return probe(rate, share, requests=len(counted), seconds=seconds)


def known_capacity(servers=4, service=0.4):
    """Erlang C: the rate at which 5 % wait longer than the limit."""

    def late(rate):
        load = rate * service
        tail = load**servers / math.factorial(servers) * servers / (servers - load)
        waits = tail / (sum(load**k / math.factorial(k) for k in range(servers)) + tail)
        return waits * math.exp(-(servers / service - rate) * SLO.ttft_ms / 1000)

    low, high = 0.1, servers / service - 0.01
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if late(middle) < 0.05 else (low, middle)
    return low


def test_a_queue_of_known_capacity_is_found_without_bias_and_with_an_honest_error():
    """40 fits of three probes each around the capacity, which the fit does not know."""
    true = known_capacity()
    errors, scores = [], []
    for seed in range(40):
        probes = [queue_probe(true * factor, 10 * seed + k) for k, factor in enumerate((0.85, 0.95, 1.05))]
        found = fit(*probes)
        error = math.log(found.rate_rps / true)
        errors.append(error)
        scores.append(error / found.standard_error)
    assert abs(statistics.mean(errors)) < 0.03
    assert statistics.stdev(scores) < 1.3
    assert sum(score > 2 for score in scores) <= 2


def test_a_capacity_is_never_above_what_a_closed_loop_reached():
    found = within_saturation(fit(probe(6, 0.001, requests=50_000), probe(6.1, 0.02, requests=50_000)), 5.0)
    assert (found.rate_rps, found.lower_rps) == (5.0, 5.0)
