"""Which rate comes next, and when the search ends: values in, values out."""

import math

import pytest

from rightsizer_jobs.contract import Measurement, Probe, Saturation, Slo
from rightsizer_jobs.stats import fit_capacity, holds
from rightsizer_jobs.trial.search import (
    Done,
    Next,
    Saturate,
    Situation,
    decide,
    missed,
    probe_seed,
    ramp_seconds,
    saturation_seconds,
    warm_up_seconds,
)

SLO = Slo(ttft_ms=500)
MEASUREMENT = Measurement(budget_s=840)


def probe(rate, share, *, requests=600, aborted=False, failed=0, seconds=60):
    return Probe(
        rate_rps=rate, achieved_rps=rate, seconds=seconds, requests=requests, failed=failed, violations={"ttft": share},
        p_ms={"ttft": -1 if failed else 620.0}, output_tps=1, variance_inflation=1, aborted=aborted,
    )  # fmt: skip


def saturated(rate, *, in_flight=320, ceiling=True):
    return Saturation(rps=rate, output_tps=10 * rate, concurrency=in_flight, ceiling=ceiling)


def situation(*probes, **changes):
    values = {
        "probes": probes, "saturation": saturated(10.0), "slo": SLO, "measurement": MEASUREMENT,
        "spent_s": 100.0, "left_s": 2000.0,
    }  # fmt: skip
    return Situation(**(values | changes))


def test_a_search_begins_with_the_saturation_run():
    assert decide(situation(saturation=None)) == Saturate(320, 60)
    assert decide(situation(saturation=None, answer_s=15.0)) == Saturate(320, 90)


ROOM = saturated(10.0, ceiling=False)


@pytest.mark.parametrize(
    ("probes", "wider"),
    [
        ((), False),
        ((probe(7.2, 0.0),), False),
        ((probe(7.2, 0.0), probe(8.5, 0.0)), True),
        ((probe(7.2, 0.10),), False),
        ((probe(9.6, 0.03, requests=6000),), True),
    ],
    ids=["nothing probed", "half-way up", "at saturation next", "far below", "capacity near saturation"],
)
def test_an_engine_with_room_is_saturated_with_twice_as_many_once_the_rate_would_be_bounded(probes, wider):
    step = decide(situation(*probes, saturation=ROOM))
    assert (step == Saturate(640, 192)) is wider
    assert isinstance(decide(situation(*probes)), Next)


def test_an_engine_with_room_is_not_beaten_by_what_so_few_in_flight_reach():
    assert decide(situation(saturation=ROOM, rate_to_beat_rps=10.0)) == Saturate(640, 192)
    assert decide(situation(saturation=ROOM, rate_to_beat_rps=9.5)) == Next(pytest.approx(7.2), 60)
    done = decide(situation(rate_to_beat_rps=10.0))
    assert (done.outcome, done.capacity) == ("CannotBeat", None)
    assert "below the 10 needed to win" in done.reason


def test_without_time_for_more_in_flight_the_search_goes_on_and_says_that_the_engine_had_room():
    assert isinstance(decide(situation(saturation=ROOM, rate_to_beat_rps=10.0, left_s=250.0)), Next)
    done = decide(situation(probe(9.8, 0.0, requests=6000), saturation=ROOM, spent_s=700.0))
    assert (done.outcome, done.capacity.bound) == ("Succeeded", "AtLeast")
    assert "320 requests in flight; the engine has room for more" in done.reason


def test_no_more_than_the_largest_closed_loop_is_ever_asked_for():
    most = saturated(10.0, in_flight=4096, ceiling=False)
    assert isinstance(decide(situation(probe(7.2, 0.0), probe(8.5, 0.0), saturation=most)), Next)


def test_the_first_probe_is_at_72_hundredths_of_saturation():
    assert decide(situation()) == Next(pytest.approx(7.2), 60)


def test_after_a_clear_pass_the_rate_goes_up_by_a_third_at_most_and_to_saturation_only_after_the_second():
    assert decide(situation(probe(5, 0.0))).rate_rps == pytest.approx(6.75)
    assert decide(situation(probe(7.2, 0.0))).rate_rps == pytest.approx(math.sqrt(72))
    assert decide(situation(probe(7.2, 0.0), probe(8.5, 0.0))).rate_rps == pytest.approx(9.8)


def test_after_a_clear_failure_the_rate_goes_down():
    assert decide(situation(probe(7.2, 0.95))).rate_rps == pytest.approx(0.6 * 7.2)


def test_after_an_informative_probe_the_next_is_at_the_estimate():
    seen = probe(7.2, 0.10)
    assert decide(situation(seen)).rate_rps == fit_capacity([seen], SLO, block_s=30).rate_rps
    assert 5.8 < decide(situation(seen)).rate_rps < 7.2


def test_after_a_pass_and_a_stopped_run_the_next_is_between():
    step = decide(situation(probe(6, 0.0), probe(8, 0.9, aborted=True)))
    assert 6 < step.rate_rps < 8


def test_no_probe_goes_where_the_answer_is_known():
    """At 5 nothing missed, at 9 nearly everything: whatever a fit over so few requests says, the next is between."""
    few = probe(5, 0.0, requests=60), probe(9, 0.59, requests=60)
    assert 5 < decide(situation(*few)).rate_rps < 9
    assert 5 < decide(situation(*few, probe(8, 0.5, requests=60))).rate_rps < 8


def test_a_stopped_first_probe_is_never_repeated_at_its_rate():
    assert decide(situation(probe(7.2, 0.10), probe(6.0, 0.5, aborted=True))).rate_rps < 6.0


def test_probes_get_longer_once_the_estimate_is_near():
    assert decide(situation(probe(7.2, 0.05, seconds=200))).seconds == pytest.approx(350)
    assert decide(situation(probe(7.2, 0.05, seconds=200), spent_s=440.0)).seconds == pytest.approx(180)


def test_no_probe_is_more_than_twice_as_long_as_the_longest_before_it():
    """What one short probe says of the capacity may be a third off: a long one there would tell little."""
    assert decide(situation(probe(7.2, 0.05))).seconds == pytest.approx(120)
    assert decide(situation(probe(7.2, 0.05, seconds=120), probe(8, 0.05))).seconds == pytest.approx(240)


def test_the_last_probe_takes_what_is_left_where_it_is_too_short_for_two():
    assert decide(situation(probe(7.2, 0.05), spent_s=700.0)).seconds == pytest.approx(120)
    assert decide(situation(probe(7.2, 0.05), spent_s=740.0)).seconds == pytest.approx(80)


def test_steps_are_long_against_an_answer_whatever_their_setting():
    assert situation().ramp_s == 20
    assert situation(answer_s=15.0).ramp_s == 30
    assert ramp_seconds(MEASUREMENT.model_copy(update={"probe_s": 20}), 20, 1.0) == pytest.approx(20 / 3)
    assert (warm_up_seconds(MEASUREMENT, 1.0), warm_up_seconds(MEASUREMENT, 15.0)) == (20, 30)
    assert (saturation_seconds(MEASUREMENT, 1.0), saturation_seconds(MEASUREMENT, 15.0)) == (60, 90)


def test_every_probe_has_gaps_of_its_own_and_every_candidate_the_same_ones():
    seeds = [probe_seed(7, number) for number in range(1, 13)]
    assert len({*seeds, 7}) == 13
    assert seeds == [probe_seed(7, number) for number in range(1, 13)]


@pytest.mark.parametrize(("share", "bound"), [(0.05, True), (0.0501, False)])
def test_a_share_of_exactly_what_is_allowed_holds(share, bound):
    assert holds(probe(7, share), SLO) is bound


def test_the_search_ends_at_the_wanted_error():
    done = decide(situation(probe(7.2, 0.05, requests=60_000)))
    assert isinstance(done, Done)
    assert (done.outcome, done.capacity.bound) == ("Succeeded", "Fitted")
    assert done.capacity.standard_error < 0.03


def test_the_search_ends_when_limits_hold_up_to_saturation():
    done = decide(situation(probe(9.8, 0.0, requests=6000)))
    assert (done.outcome, done.capacity.bound, done.capacity.rate_rps) == ("Succeeded", "AtLeast", 9.8)
    assert "bounds the capacity" in done.reason


def test_a_short_pass_near_saturation_is_looked_at_longer_for_a_queue_may_grow_slowly():
    step = decide(situation(probe(9.8, 0.0)))
    assert (step.rate_rps, step.seconds) == (pytest.approx(9.8), 120)
    done = decide(situation(probe(9.8, 0.0), spent_s=800.0))
    assert done.capacity.standard_error > 0.05
    assert "bounds the capacity" in done.reason


def test_the_budget_ends_a_bracketed_search_and_never_an_unbracketed_one():
    assert isinstance(decide(situation(probe(7.2, 0.05), spent_s=880.0)), Done)
    assert isinstance(decide(situation(probe(7.2, 0.0), spent_s=880.0)), Next)


def test_the_trials_own_deadline_ends_any_search():
    done = decide(situation(probe(7.2, 0.0), left_s=60.0))
    assert (done.outcome, done.capacity.bound) == ("Succeeded", "AtLeast")
    assert "deadline" in done.reason


def test_a_search_without_any_pass_is_missed_with_figures():
    probes = [probe(7.2 * 0.6**n, 0.9) for n in range(8)]
    done = decide(situation(*probes))
    assert (done.outcome, done.capacity.lower_rps) == ("MissedSLO", 0)
    assert "p95 ttft 620 ms against 500 ms" in done.reason


def test_a_candidate_whose_best_case_is_too_slow_cannot_beat():
    done = decide(situation(probe(5, 0.05, requests=1500), rate_to_beat_rps=9.0))
    assert done.outcome == "CannotBeat"
    assert isinstance(decide(situation(probe(5, 0.05, requests=1500), rate_to_beat_rps=5.1)), Next)


def test_a_capacity_must_exceed_the_rate_to_beat_by_the_error_that_its_certified_rate_will_lack():
    seen = probe(5, 0.05, requests=1500)
    found = fit_capacity([seen], SLO, block_s=30)
    best = found.rate_rps * math.exp(2 * found.standard_error)
    assert found.standard_error > MEASUREMENT.target_error
    for margin, kind in ((0.999, Done), (0.96, Next)):  # 3 %, the wanted error, are between
        assert isinstance(decide(situation(seen, rate_to_beat_rps=margin * best)), kind)


def test_a_candidate_that_passes_everything_so_far_is_not_given_up():
    assert isinstance(decide(situation(probe(5, 0.0), rate_to_beat_rps=9.0)), Next)


def test_a_miss_without_answers_says_so():
    assert "no answer against 500 ms; 5 of 600 failed" in missed([probe(7, 0.2, failed=5)], SLO)


def test_a_result_of_probes_shorter_than_three_answers_says_so_and_how_long_they_should_be():
    seen = probe(7.0, 0.05, requests=60_000)
    remedy = "an answer takes 25 s, so the error may be larger: set search.measurement.probeSeconds to 75 or more"
    assert decide(situation(seen, answer_s=25.0)).reason.endswith(remedy)
    assert "probeSeconds" not in decide(situation(seen, answer_s=20.0)).reason
    failed = decide(situation(*[probe(7.0, 0.9)] * MEASUREMENT.max_probes, answer_s=25.0))
    assert failed.outcome == "MissedSLO"
    assert failed.reason.endswith(remedy)


@pytest.mark.parametrize(
    ("tpot_ms", "idle_ms", "share"),
    [
        (None, 10.0, 0.72),
        (20.0, 10.0, 40 * 10 / (20 * 30)),
        (39.0, 10.0, 0.72),
        (10.001, 10.0, 40 / (320 * 10.001)),
        (20.0, 0.0, 0.72),
    ],
    ids=["no limit per token", "far below saturation", "hardly below", "one request alone", "idle time not known"],
)
def test_the_first_probe_is_at_a_share_of_the_saturation_rate_or_where_tokens_take_their_limit(tpot_ms, idle_ms, share):
    full = Saturation(rps=10.0, output_tps=8000.0, concurrency=320)  # 40 ms a token
    first = decide(situation(saturation=full, slo=Slo(ttft_ms=500, tpot_ms=tpot_ms), idle_tpot_ms=idle_ms))
    assert first == Next(pytest.approx(10.0 * share), 60)
