"""What each request asks for: stated lengths, distributions, histograms, traces; the same for one index and seed."""

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydantic import ValidationError

from rightsizer_jobs.loadgen.sequence import DRAWN, STRATUM, Ask, sequence
from rightsizer_jobs.loadgen.traces import Row, Trace
from rightsizer_jobs.workload import Histogram, Lognormal, Workload, deviation_of, mean_of, quantile_of

LOGNORMAL = Lognormal(mean=1000, at_percentile=2500)
HISTOGRAM = Histogram.model_validate(
    {"bins": [{"tokens": 20, "weight": 3}, {"tokens": 500, "weight": 1}, {"tokens": 100, "weight": 6}]}
)


def lengths(length, seed=1, count=DRAWN):
    found = sequence(Workload(input_tokens=length, output_tokens=7), seed)
    return [found.ask(index).input_tokens for index in range(count)]


def test_fixed_lengths_are_the_same_for_every_request():
    assert set(lengths(64)) == {64}


def test_log_normal_lengths_have_the_asked_mean_and_percentile():
    found = sorted(lengths(LOGNORMAL))
    assert statistics.mean(found) == pytest.approx(1000, rel=0.01)
    assert found[round(0.95 * DRAWN)] == pytest.approx(2500, rel=0.01)
    logs = [math.log(length) for length in found]
    assert statistics.mean(logs) == pytest.approx(LOGNORMAL.shape[0], abs=0.01)
    assert statistics.pstdev(found) == pytest.approx(deviation_of(LOGNORMAL), rel=0.03)
    assert max(found) == quantile_of(LOGNORMAL, 0.9999) < 8000


@given(mean=some.floats(1, 1e5), ratio=some.floats(1, 3.8), percentile=some.sampled_from([90, 95, 99]))
def test_a_log_normal_length_meets_its_percentile(mean, ratio, percentile):
    most = math.exp(statistics.NormalDist().inv_cdf(percentile / 100) ** 2 / 2)
    length = Lognormal(mean=mean, percentile=percentile, at_percentile=mean * min(ratio, 0.999 * most))
    assert quantile_of(length, percentile / 100) == pytest.approx(max(1, length.at_percentile), rel=1e-6, abs=0.6)
    mu, sigma = length.shape
    assert math.exp(mu + sigma * sigma / 2) == pytest.approx(mean)


@pytest.mark.parametrize("high", [999, 3900])
def test_a_percentile_that_no_log_normal_length_has_is_refused_with_what_is_possible(high):
    with pytest.raises(ValidationError, match=r"lies between 1000 and 3868\.\d+, not at"):
        Lognormal(mean=1000, at_percentile=high)


def test_histogram_lengths_occur_by_their_weights():
    found = lengths(HISTOGRAM)
    shares = {length: found.count(length) / DRAWN for length in set(found)}
    assert shares == pytest.approx({20: 0.3, 100: 0.6, 500: 0.1}, abs=1 / STRATUM)
    assert statistics.mean(found) == pytest.approx(mean_of(HISTOGRAM), rel=0.01) == pytest.approx(116, rel=0.01)
    assert statistics.pstdev(found) == pytest.approx(deviation_of(HISTOGRAM), rel=0.01)


def test_one_seed_gives_the_same_lengths_and_every_seed_the_same_set_of_them():
    assert lengths(LOGNORMAL, 1) == lengths(LOGNORMAL, 1) != lengths(LOGNORMAL, 2)
    assert sorted(lengths(LOGNORMAL, 1)) == sorted(lengths(LOGNORMAL, 2))


def test_every_stretch_of_a_stratum_has_the_lengths_of_the_whole():
    found = lengths(LOGNORMAL)
    assert sorted(found[:STRATUM]) == sorted(found[STRATUM : 2 * STRATUM])
    assert found[:STRATUM] != found[STRATUM : 2 * STRATUM]


def test_every_probe_begins_at_requests_of_its_own_but_a_trace_at_its_first():
    stated = sequence(Workload(input_tokens=LOGNORMAL, output_tokens=10), 1)
    starts = [stated.start(number) for number in range(6)]
    assert starts[0] == 0
    heads = [tuple(stated.ask(start + index).input_tokens for index in range(100)) for start in starts]
    assert len(set(heads)) == 6
    assert all(start % STRATUM == 0 for start in starts)
    assert [stated.carrying(number, 1, 10, 100) for number in range(6)] == starts
    assert {sequence(TRACED, 1, Trace(ROWS, 5.0, "0" * 64)).start(number) for number in range(6)} == {0}


def test_input_and_output_lengths_vary_on_their_own():
    found = sequence(Workload(input_tokens=LOGNORMAL, output_tokens=LOGNORMAL), 1)
    asks = [found.ask(index) for index in range(4000)]
    pairs = [(math.log(ask.input_tokens), math.log(ask.output_tokens)) for ask in asks]
    assert abs(statistics.correlation(*zip(*pairs, strict=True))) < 0.06
    assert found.mean_output_tokens == pytest.approx(1000, rel=0.01)


ROWS = tuple(Row(float(n), 10 + n, 100 + n, (n,)) for n in range(5))
TRACED = Workload.model_validate({"arrivals": "Trace", "trace": {"path": "t.csv"}})


@given(seed=some.integers(0, 2**31))
def test_a_replayed_request_arrives_where_it_was_recorded(seed):
    """Lengths and gaps begin at the same row."""
    uneven = Trace((Row(0, 1, 1), Row(1, 2, 1), Row(4, 3, 1)), 10.0, "0" * 64)
    found = sequence(TRACED, seed, uneven)
    before = {1: 6.0, 2: 1.0, 3: 3.0}
    for begin in range(7):
        for index, gap in enumerate(itertools.islice(found.gaps(1, begin), 7), begin):
            assert gap == pytest.approx(before[found.ask(index).input_tokens] * 3 / 10)


@given(seed=some.integers(0, 2**31), skipped=some.floats(0, 60), counted=some.floats(50, 900))
def test_a_run_of_a_trace_sends_the_rows_that_carry_its_rate(seed, skipped, counted):
    """Of a day, at whose peak ten times as many requests come as in its night, a run replays a part with the mean."""
    slow = [1 + 0.82 * math.sin(2 * math.pi * n / 2000) for n in range(2000)]
    times = list(itertools.accumulate(slow))
    trace = Trace(tuple(Row(at, number + 1, 1) for number, at in enumerate(times)), times[-1] + 1.0, "0" * 64)
    found = sequence(TRACED, 1, trace)
    first = found.carrying(1, seed, skipped, counted)
    instants = list(itertools.accumulate(itertools.islice(found.gaps(1, first), 2000)))
    carried = sum(skipped <= at < skipped + counted for at in instants)
    assert carried == pytest.approx(counted, abs=0.02 * counted + 1)
    assert first == found.carrying(1, seed, skipped, counted)


def test_only_arrivals_of_chance_are_balanced():
    def of(**arrivals):
        return sequence(Workload(input_tokens=5, output_tokens=5, **arrivals), 1).balanced

    assert of() and of(arrivals="Gamma", burstiness=0.5)
    assert not of(arrivals="Constant")
    assert not sequence(TRACED, 1, Trace(ROWS, 5.0, "0" * 64)).balanced


def test_a_trace_goes_round_and_says_which_lap_it_is():
    found = sequence(TRACED, 1, Trace(ROWS, 5.0, "0" * 64))
    begin = found.ask(0).input_tokens - 10
    asks = [found.ask(index) for index in range(12)]
    assert [ask.input_tokens for ask in asks] == [10 + (begin + n) % 5 for n in range(12)]
    assert [ask.lap for ask in asks] == [(begin + n) // 5 for n in range(12)]
    assert asks[0] == Ask(10 + begin, 100 + begin, (begin,), 0)
    assert (found.longest_input, found.longest_output, found.mean_output_tokens) == (14, 104, 102)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"input_tokens": 5}, "both given, or a trace has them"),
        ({}, "both given, or a trace has them"),
        ({"arrivals": "Trace"}, "where a trace is given"),
        ({"trace": {"path": "t"}, "input_tokens": 5, "output_tokens": 5}, "where a trace is given"),
        ({"arrivals": "Trace", "trace": {"path": "t"}, "input_tokens": 5, "output_tokens": 5}, "a trace has them"),
        ({"input_tokens": 5, "output_tokens": 5, "arrivals": "Gamma"}, "burstiness is given where"),
        ({"input_tokens": 5, "output_tokens": 5, "burstiness": 2}, "burstiness is given where"),
        ({"input_tokens": 5, "output_tokens": 200_000}, "at most 100000"),
        ({"input_tokens": {"bins": []}, "output_tokens": 5}, "bins"),
        ({"input_tokens": 0, "output_tokens": 5}, "input_tokens"),
    ],
)
def test_a_workload_that_is_half_stated_is_refused(fields, problem):
    with pytest.raises(ValidationError, match=problem):
        Workload.model_validate(fields)


def test_a_workload_of_an_older_operator_is_read_as_it_was():
    found = Workload.model_validate_json('{"input_tokens":32,"output_tokens":4,"arrivals":"Constant"}')
    assert (found.input_tokens, found.output_tokens, found.arrivals) == (32, 4, "Constant")
    assert found.model_dump(exclude_none=True) == {
        "input_tokens": 32,
        "output_tokens": 4,
        "arrivals": "Constant",
        "api": "Completions",
    }
