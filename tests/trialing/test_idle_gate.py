"""Single requests on the idle engine: a candidate ends there only where most of them miss a limit."""

import math

import pytest

from rightsizer_jobs.contract import Measurement, Slo
from rightsizer_jobs.loadgen.records import Exchange, Record
from rightsizer_jobs.trial.steps import idle_figures, idle_misses

MS = 1_000_000
SLO = Slo(ttft_ms=100)
ASKED = Measurement().sanity_requests


def records(late):
    """As many as a trial sends, the first ``late`` of them beyond the limit."""
    waits = [150 if number < late else 50 for number in range(ASKED)]
    return [Record(number, 0, 2, Exchange(0, (wait * MS, (wait + 10) * MS), 2, 8)) for number, wait in enumerate(waits)]


@pytest.mark.parametrize(("late", "ends"), [(0, False), (4, False), (5, True), (8, True)])
def test_five_of_eight_must_miss(late, ends):
    assert bool(idle_misses(idle_figures(records(late)), SLO)) is ends


def test_a_candidate_that_meets_its_limits_is_hardly_ever_ended_by_chance():
    """At most one request in twenty of such a candidate misses."""
    least = next(late for late in range(ASKED + 1) if idle_misses(idle_figures(records(late)), SLO))
    chance = sum(math.comb(ASKED, late) * 0.05**late * 0.95 ** (ASKED - late) for late in range(least, ASKED + 1))
    assert chance < 2e-5
