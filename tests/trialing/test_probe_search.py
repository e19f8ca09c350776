"""Which rate comes next, and when the search ends: values in, values out."""

import math

import pytest

from rightsizer_jobs.contract import Measurement, Probe, Slo
from rightsizer_jobs.trial.search import Done, Next, Situation, decide, missed

SLO = Slo(ttft_ms=500)
MEASUREMENT = Measurement()


def probe(rate, share, *, requests=600, aborted=False, failed=0):
    return Probe(
        rate_rps=rate, achieved_rps=rate, seconds=60, requests=requests, failed=failed, violations={"ttft": share},
        p_ms={"ttft": -1 if failed else 620.0}, output_tps=1, variance_inflation=1, aborted=aborted,
    )  # fmt: skip


def situation(*probes, **changes):
    values = {
        "probes": probes, "saturation_rps": 10.0, "slo": SLO, "measurement": MEASUREMENT,
        "spent_s": 100.0, "left_s": 2000.0,
    }  # fmt: skip
    return Situation(**(values | changes))


def test_the_first_probe_is_at_72_hundredths_of_saturation():
    assert decide(situation()) == Next(pytest.approx(7.2), 60)


def test_after_a_clear_pass_the_rate_goes_up_by_a_third_but_not_to_saturation():
    assert decide(situation(probe(5, 0.0))).rate_rps == pytest.approx(6.75)
    assert decide(situation(probe(7.2, 0.0))).rate_rps == pytest.approx(9.72)
    assert decide(situation(probe(9, 0.0))).rate_rps == pytest.approx(9.8)


def test_after_a_clear_failure_the_rate_goes_down():
    assert decide(situation(probe(7.2, 0.95))).rate_rps == pytest.approx(0.6 * 7.2)


def test_after_an_informative_probe_the_next_is_at_the_estimate():
    step = decide(situation(probe(7.2, 0.10)))
    assert step.rate_rps == pytest.approx(7.2 * 0.5**0.1, rel=1e-3)


def test_between_a_pass_and_a_stopped_run_the_middle_is_next():
    step = decide(situation(probe(6, 0.0), probe(8, 0.9, aborted=True)))
    assert step.rate_rps == pytest.approx(math.sqrt(48))


def test_a_stopped_first_probe_is_never_repeated_at_its_rate():
    assert decide(situation(probe(7.2, 0.10), probe(6.0, 0.5, aborted=True))).rate_rps < 6.0


def test_probes_get_longer_once_the_estimate_is_near():
    assert decide(situation(probe(7.2, 0.05))).seconds == pytest.approx(240)
    assert decide(situation(probe(7.2, 0.05), spent_s=700.0)).seconds == pytest.approx(80)


def test_the_search_ends_at_the_wanted_error():
    done = decide(situation(probe(7.2, 0.05, requests=60_000)))
    assert isinstance(done, Done)
    assert (done.outcome, done.capacity.bound) == ("Succeeded", "Fitted")
    assert done.capacity.standard_error < 0.03


def test_the_search_ends_when_limits_hold_up_to_saturation():
    done = decide(situation(probe(9.8, 0.0)))
    assert (done.outcome, done.capacity.bound, done.capacity.rate_rps) == ("Succeeded", "AtLeast", 9.8)
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
    done = decide(situation(probe(5, 0.05, requests=6000), rate_to_beat_rps=9.0))
    assert done.outcome == "CannotBeat"
    assert isinstance(decide(situation(probe(5, 0.05, requests=6000), rate_to_beat_rps=5.1)), Next)


def test_a_capacity_must_exceed_the_rate_to_beat_by_the_error_that_its_certified_rate_will_lack():
    """5 +-3.3 % may be 5.34, of which 5.18 could be certified at the wanted 3 %."""
    done = decide(situation(probe(5, 0.05, requests=6000), rate_to_beat_rps=5.2))
    assert isinstance(done, Done)
    assert done.outcome == "CannotBeat"


def test_a_candidate_that_passes_everything_so_far_is_not_given_up():
    assert isinstance(decide(situation(probe(5, 0.0), rate_to_beat_rps=9.0)), Next)


def test_a_miss_without_answers_says_so():
    assert "no answer against 500 ms; 5 of 600 failed" in missed([probe(7, 0.2, failed=5)], SLO)
