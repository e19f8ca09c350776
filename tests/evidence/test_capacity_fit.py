"""The capacity fit: exact on exact curves, honest about its error on a queue, a bound where that is all there is."""

import heapq
import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rightsizer_jobs.contract import Probe, Saturation, Slo
from rightsizer_jobs.loadgen.arrivals import schedule
from rightsizer_jobs.posterior import PRIOR_SLOPE, PRIOR_SLOPE_SPREAD
from rightsizer_jobs.stats import (
    EARLY_SHARE,
    ERROR_CALIBRATION,
    INFLATION_SECONDS,
    allowed_share,
    fit_capacity,
    holds,
    within_saturation,
    worst_share,
)

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


LIMIT = EARLY_SHARE * 0.05
"""What a run of minutes shows where 5 % violate in the long run."""


def curve(rate, capacity=8.0, slope=10.0):
    return LIMIT * (rate / capacity) ** slope


def fit(*probes, slo=SLO):
    return fit_capacity(probes, slo, block_s=30)


def test_the_error_is_smaller_only_where_every_probe_was_balanced():
    plain = [probe(7.8, curve(7.8), requests=3000), probe(8.2, curve(8.2), requests=3000)]
    even = [one.model_copy(update={"balanced": True}) for one in plain]
    assert fit(*even).standard_error == pytest.approx(0.7 / 0.8 * fit(*plain).standard_error)
    assert fit(*even).rate_rps == fit(*plain).rate_rps
    assert fit(even[0], plain[1]).standard_error == fit(*plain).standard_error


def test_a_report_that_does_not_say_how_its_arrivals_came_is_judged_as_before():
    old = probe(8, 0.05).model_dump()
    del old["balanced"]
    assert Probe.model_validate(old).balanced is False


def test_no_probe_no_capacity():
    assert fit() is None


def test_a_run_without_a_request_shows_nothing():
    nothing = probe(8, 0.0, requests=0)
    assert not holds(nothing, SLO)
    assert fit(nothing) is None
    assert fit(nothing, probe(4, 0.0)) == fit(probe(4, 0.0))


@pytest.mark.parametrize("slope", [6.0, 10.0, 14.0])
def test_an_exact_curve_is_found(slope):
    found = fit(*(probe(rate, curve(rate, slope=slope), requests=200_000) for rate in (6.8, 7.6, 8.4)))
    assert found.rate_rps == pytest.approx(8.0, rel=0.01)
    assert found.slope == pytest.approx(slope, rel=0.1)
    assert found.bound == "Fitted"
    assert found.lower_rps == pytest.approx(found.rate_rps * math.exp(-found.standard_error))


def test_one_probe_leans_on_the_prior_slope_and_says_so_by_its_error():
    near, far = fit(probe(7.9, curve(7.9))), fit(probe(6.6, curve(6.6)))
    assert near.slope == pytest.approx(PRIOR_SLOPE, rel=0.15)
    assert near.rate_rps == pytest.approx(8.0, rel=0.03)
    assert far.standard_error > near.standard_error


def test_more_requests_narrow_the_error():
    wide, narrow = fit(probe(8, LIMIT, requests=2000)), fit(probe(8, LIMIT, requests=32_000))
    assert wide.standard_error == pytest.approx(4 * narrow.standard_error, rel=0.25)


def test_the_error_at_the_limit_is_what_the_formula_says():
    shallow = math.exp(PRIOR_SLOPE_SPREAD**2)  # root mean square of 1 / slope over the prior, times its median
    inflation = INFLATION_SECONDS * 8
    expected = ERROR_CALIBRATION * math.sqrt(inflation * (1 - LIMIT) / (LIMIT * 32_000)) / PRIOR_SLOPE * shallow
    assert fit(probe(8, LIMIT, requests=32_000)).standard_error == pytest.approx(expected, rel=0.15)


def test_a_probe_counts_at_the_rate_that_really_arrived():
    asked = [probe(rate, curve(1.02 * rate), requests=20_000) for rate in (7.0, 7.6, 8.2)]
    arrived = [one.model_copy(update={"achieved_rps": 1.02 * one.rate_rps}) for one in asked]
    assert fit(*arrived).rate_rps == pytest.approx(8.0, rel=0.02)
    assert fit(*arrived).rate_rps == pytest.approx(1.02 * fit(*asked).rate_rps, rel=0.005)


def test_the_error_is_never_below_what_the_requests_near_the_limit_could_tell():
    lucky = fit(probe(7.6, 0.0, requests=600), probe(8.0, 0.006, requests=1000), probe(8.6, 0.5, requests=800))
    assert lucky.standard_error > 0.9 * math.sqrt(20 * 0.95 / (0.05 * 1800)) / PRIOR_SLOPE


def test_a_long_run_that_a_late_burst_ended_tells_what_was_seen_until_then():
    seen = [probe(4.3, 0.0), probe(5.0, 0.02, requests=4000, seconds=800.0)]
    ended = probe(5.1, 0.05, requests=4000, seconds=800.0, aborted=True)
    short = probe(5.1, 0.9, requests=100, seconds=20.0, aborted=True)
    assert fit(*seen, ended).rate_rps == pytest.approx(5.0, rel=0.03)
    assert fit(*seen, short).rate_rps < fit(*seen, ended).rate_rps
    assert fit(*seen, ended).rate_rps < fit(*seen, ended.model_copy(update={"aborted": False})).rate_rps


def test_blocks_that_vary_more_than_the_floor_widen_the_error():
    found = fit(probe(4, 0.05, requests=8000, inflation=80))
    assert found.variance_inflation == pytest.approx((6 * 20 + 3 * 80) / 9)  # four blocks against six of the floor
    assert found.standard_error == pytest.approx(
        math.sqrt(2) * fit(probe(4, 0.05, requests=8000)).standard_error, rel=0.15
    )


def test_at_high_rates_more_requests_share_one_queue():
    assert fit(probe(4, 0.05)).variance_inflation == 20
    assert fit(probe(40, 0.05)).variance_inflation == 40 * INFLATION_SECONDS


def test_blocks_that_vary_less_than_the_floor_do_not_narrow_it():
    assert fit(probe(8, 0.05, inflation=1, seconds=3000)) == fit(probe(8, 0.05))


def test_a_variance_from_one_block_is_not_believed():
    assert fit(probe(8, 0.05, inflation=80, seconds=30)) == fit(probe(8, 0.05, seconds=30))


def test_a_pass_without_violations_close_below_a_failure_says_that_the_curve_is_steep():
    alone = fit(probe(24, 0.19, requests=1400))
    both = fit(probe(24, 0.19, requests=1400), probe(21, 0.0, requests=5000))
    assert both.slope > alone.slope
    assert alone.rate_rps < both.rate_rps < 24


@given(st.lists(st.tuples(st.floats(5, 12), st.floats(0, 1), st.integers(50, 5000)), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_fit_scales_with_the_rates_and_never_leaves_what_was_probed_far_behind(seen):
    found = fit(*(probe(rate, share, requests=count) for rate, share, count in seen))
    twice = fit(*(probe(2 * rate, share, requests=count) for rate, share, count in seen))
    assert twice.rate_rps == pytest.approx(2 * found.rate_rps, rel=0.5)
    assert 0 <= found.lower_rps <= found.rate_rps
    assert min(rate for rate, _, _ in seen) / 2.8 < found.rate_rps < 1.9 * max(rate for rate, _, _ in seen)


@given(st.floats(0.005, 0.2), st.floats(1.05, 3))
@settings(max_examples=40, deadline=None)
def test_more_violations_never_mean_a_larger_capacity(share, factor):
    fewer = fit(probe(7, 0.01), probe(8, share))
    more = fit(probe(7, 0.01), probe(8, share * factor))
    assert more.rate_rps <= fewer.rate_rps * 1.001


def test_probes_that_contradict_each_other_widen_the_error():
    agreeing = fit(probe(7, curve(7)), probe(8, curve(8)), probe(9, curve(9)))
    scattered = fit(probe(7, 0.2, requests=50_000), probe(8, 0.01, requests=50_000), probe(9, 0.3, requests=50_000))
    assert scattered.standard_error > agreeing.standard_error


def test_when_all_pass_the_capacity_is_at_least_the_largest_rate():
    found = fit(probe(4, 0.0), probe(6, 0.001))
    assert (found.rate_rps, found.bound) == (6, "AtLeast")


def test_a_quiet_part_of_a_trace_shows_no_more_than_the_rate_that_it_sent():
    """Asked for 4 and 6 requests/s, the parts sent 3 and 2.5; what was too much is told by what it sent as well."""
    quiet = [
        probe(4, 0.0).model_copy(update={"achieved_rps": 3.0}),
        probe(6, 0.0).model_copy(update={"achieved_rps": 2.5}),
    ]
    assert (fit(*quiet).rate_rps, fit(*quiet).bound) == (3.0, "AtLeast")
    busy = probe(6, 0.9).model_copy(update={"achieved_rps": 9.0})
    assert (fit(busy).rate_rps, fit(busy).bound) == (9.0, "AtMost")
    balanced = [one.model_copy(update={"balanced": True}) for one in quiet]
    assert fit(*balanced).rate_rps == 6


def test_a_clean_pass_is_certified_no_closer_than_its_requests_could_tell():
    found = fit(probe(6, 0.0, requests=316))
    expected = math.sqrt(6 * INFLATION_SECONDS * 0.95 / (0.05 * 316)) / PRIOR_SLOPE
    assert found.standard_error == pytest.approx(expected, abs=0.001)
    assert found.lower_rps == pytest.approx(6 * math.exp(-found.standard_error))


def test_a_pass_of_few_requests_is_not_trusted_to_the_full():
    few, fewer = fit(probe(6, 0.0, requests=70)), fit(probe(6, 0.0, requests=20))
    assert (few.rate_rps, few.bound) == (6, "AtLeast")
    assert 0.1 < few.standard_error < fewer.standard_error < 0.5
    assert few.lower_rps == pytest.approx(6 * math.exp(-few.standard_error))


def test_when_all_fail_the_capacity_is_at_most_the_smallest_rate_and_nothing_is_certified():
    found = fit(probe(9, 0.9), probe(7, 0.8))
    assert (found.rate_rps, found.lower_rps, found.bound) == (7, 0, "AtMost")


def test_between_a_pass_and_a_failure_the_capacity_is_between_and_the_error_reaches_both():
    found = fit(probe(6, 0.0, requests=20_000), probe(9, 0.9, requests=20_000))
    assert found.bound == "Between"
    assert 6 < found.lower_rps < found.rate_rps < 9
    assert math.log(9 / 6) / 10 < found.standard_error < math.log(9 / 6) / 2


def test_between_two_short_probes_close_together_the_error_is_not_just_their_distance():
    found = fit(probe(6, 0.0, requests=200), probe(6.2, 0.9, requests=200))
    assert found.bound == "Between"
    assert found.standard_error > math.log(6.2 / 6)


def test_a_pass_above_a_failure_is_no_lower_bound():
    assert fit(probe(5, 0.9), probe(6, 0.0)).bound == "AtMost"


def test_a_stopped_probe_caps_the_estimate():
    assert fit(probe(6, 0.01, requests=500)).rate_rps > 6.5
    assert fit(probe(6, 0.01, requests=500), probe(6.5, 0.9, requests=10, aborted=True)).rate_rps <= 6.5


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


def saturated(rate, *, ceiling=True):
    return Saturation(rps=rate, output_tps=10 * rate, concurrency=320, ceiling=ceiling)


ABOUT_6 = (probe(6, 0.001, requests=50_000), probe(6.1, 0.02, requests=50_000))


def test_a_capacity_is_never_above_what_a_closed_loop_reached_nor_surer_than_the_largest_rate_that_is_probed():
    found = within_saturation(fit(*ABOUT_6), saturated(5.0), target_error=0.12)
    assert (found.rate_rps, found.lower_rps) == (5.0, pytest.approx(0.98 * 5.0 * math.exp(-0.03)))
    finely = within_saturation(fit(*ABOUT_6), saturated(5.0), target_error=0.01)
    assert (finely.rate_rps, finely.lower_rps) == (5.0, pytest.approx(0.98 * 5.0 * math.exp(-0.01)))


def test_saturation_changes_no_lower_bound_below_it_and_no_capacity_below_it():
    found = fit(probe(6, 0.001, requests=5_000), probe(6.1, 0.02, requests=5_000))
    assert within_saturation(found, saturated(0.995 * found.rate_rps), target_error=0.0).lower_rps == found.lower_rps
    assert within_saturation(found, saturated(10.0), target_error=0.03) == found


def test_a_capacity_above_the_saturation_of_an_engine_with_room_is_at_least_that():
    found = within_saturation(fit(*ABOUT_6), saturated(5.0, ceiling=False), target_error=0.03)
    assert (found.rate_rps, found.bound) == (5.0, "AtLeast")
    assert within_saturation(fit(*ABOUT_6), saturated(5.0), target_error=0.03).bound == "Fitted"
