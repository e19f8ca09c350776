"""The whole search on the engine model: what it finds is true there, what it states is honest, and it stops early."""

from dataclasses import replace
from itertools import takewhile

import pytest

from benchmarks.oracle.cases import CASES
from benchmarks.oracle.trial import certify, explore, run_at
from benchmarks.oracle.truth import share_at
from rightsizer_jobs.contract import Measurement
from rightsizer_jobs.stats import holds, worst_share
from rightsizer_jobs.trial import probing

SEED = 11
MEASUREMENT = Measurement()
FAST = Measurement(warmup_block_s=5, saturation_s=20, probe_s=20, block_s=20 / 3, max_probes=3, budget_s=280)
DECODE = CASES[1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_search_finds_a_rate_that_truly_holds_and_is_not_far_below_the_capacity(case):
    found = explore(case, seed=SEED, measurement=MEASUREMENT)
    assert found.outcome == "Succeeded"
    assert found.capacity.standard_error < 0.12
    assert found.engine_s < 18 * 60
    assert share_at(case, 0.95 * found.capacity.lower_rps, 6000) < 0.10
    assert share_at(case, 1.2 * found.capacity.rate_rps, 6000) > 0.05


def test_one_seed_gives_one_search():
    assert explore(DECODE, seed=3, measurement=FAST) == explore(DECODE, seed=3, measurement=FAST)


def test_a_faster_clock_is_cheaper_and_says_that_it_knows_less():
    slow, fast = (explore(CASES[5], seed=SEED, measurement=clock) for clock in (MEASUREMENT, FAST))
    assert fast.engine_s < slow.engine_s / 2
    assert fast.capacity.standard_error > 1.5 * slow.capacity.standard_error


def test_a_limit_that_a_single_request_misses_ends_the_search_before_any_load():
    found = explore(
        replace(DECODE, slo=DECODE.slo.model_copy(update={"tpot_ms": 1.0})), seed=SEED, measurement=MEASUREMENT
    )
    assert (found.outcome, found.probes, found.saturation) == ("MissedSLO", (), None)
    assert found.engine_s < 60
    assert "p50 tpot" in found.reason


def test_a_rate_to_beat_above_saturation_ends_the_search_after_the_saturation_run():
    found = explore(DECODE, seed=SEED, measurement=MEASUREMENT, rate_to_beat_rps=100)
    assert (found.outcome, found.probes) == ("CannotBeat", ())


def test_a_rate_to_beat_above_the_capacity_ends_the_search_early():
    full = explore(CASES[5], seed=SEED, measurement=MEASUREMENT)
    bar = 1.3 * full.capacity.rate_rps
    assert bar < full.saturation.rps
    found = explore(CASES[5], seed=SEED, measurement=MEASUREMENT, rate_to_beat_rps=bar)
    assert found.outcome == "CannotBeat"
    assert found.engine_s < 0.7 * full.engine_s


def test_an_overloaded_run_is_stopped_within_seconds_and_counts_what_was_cut_as_failed():
    probe, seconds = run_at(
        DECODE, 60.0, seed=SEED, ramp_s=20.0, measured_s=240.0, block_s=30.0, idle_ttft_ms=10.0
    )  # twice the capacity
    assert probe.aborted
    assert seconds < 25
    assert probe.failed > 100
    assert not holds(probe, DECODE.slo)


def test_a_search_without_any_feasible_rate_says_which_limit_is_missed():
    slow = replace(DECODE, slo=DECODE.slo.model_copy(update={"ttft_ms": 12.0}))
    found = explore(slow, seed=SEED, measurement=FAST)
    assert found.outcome == "MissedSLO"
    assert "ttft" in found.reason


def test_a_certification_holds_well_below_the_capacity_and_not_above_it():
    found = explore(CASES[0], seed=SEED, measurement=MEASUREMENT)
    below, seconds = certify(CASES[0], 0.8 * found.capacity.rate_rps, seed=5, measurement=MEASUREMENT)
    above, _ = certify(CASES[0], 1.2 * found.capacity.rate_rps, seed=5, measurement=MEASUREMENT)
    assert holds(below, CASES[0].slo)
    assert seconds > 600
    assert not holds(above, CASES[0].slo)
    assert worst_share(above, CASES[0].slo) > 0.05


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_only_bursts_give_the_queue_the_room_of_their_own_schedule(case, monkeypatch):
    given = []

    def spy(rate_rps, slo, idle_ttft_ms, bursts=()):
        given.append(list(bursts))
        return queue_limit(rate_rps, slo, idle_ttft_ms, bursts)

    queue_limit = probing.queue_limit
    monkeypatch.setattr(probing, "queue_limit", spy)
    run_at(case, 2.0, seed=SEED, ramp_s=5, measured_s=20, block_s=10, idle_ttft_ms=100)
    arrivals = takewhile(lambda one: one.at < 25, case.demand.arrivals(2.0, SEED, balance=True))
    assert given == [[round(one.at * 1e9) for one in arrivals] if case.name == "bursty" else []]
