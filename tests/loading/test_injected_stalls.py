"""A client that stands still is called void, whenever it does: on virtual time, the machine has no say in it."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rightsizer_jobs.contract import Slo
from rightsizer_jobs.loadgen.arrivals import schedule
from rightsizer_jobs.loadgen.health import TICK_S, Watchman, believe
from rightsizer_jobs.loadgen.load import Run
from rightsizer_jobs.loadgen.metrics import Window
from rightsizer_jobs.loadgen.records import Exchange, Record

NS = 1_000_000_000
SLO = Slo(ttft_ms=800, itl_ms=50)
FIRST_S, GAP_S, TOKENS = 0.05, 0.01, 16


def played(seconds, stalls=(), *, rate=100.0, of=1):
    """A run against an engine that never waits, by a client that stands still in ``stalls``: (start, length) seconds.

    Whatever would happen in a stall happens at its end: sends, chunks as they are stamped, and the first tick of the
    watch that is due in it.
    ``of``: so many processes send it, and only the first one stalls.
    """

    def late(instant):
        return next((start + length for start, length in stalls if start <= instant < start + length), instant)

    records = []
    for index, scheduled_ns in enumerate(schedule("Poisson", rate, seconds, 3)):
        seen = late if index % of == 0 else float
        sent = seen(scheduled_ns / NS)
        chunks = (seen(sent + FIRST_S + GAP_S * token) for token in range(TOKENS))
        exchange = Exchange(round(sent * NS), tuple(round(at * NS) for at in chunks), TOKENS, 8)
        records.append(Record(index, scheduled_ns, TOKENS, exchange))
    quiet = [0.0] * round(seconds / TICK_S)
    due = (math.ceil(start / TICK_S) * TICK_S for start, _ in stalls)
    lags = [max(0.0, start + length - tick) * 1000 for (start, length), tick in zip(stalls, due, strict=True)]
    return Run(tuple(records), Window(0, round(seconds * NS)), lags_ms=((*lags, *quiet), *((tuple(quiet),) * (of - 1))))


def test_a_client_that_never_stands_still_is_believed():
    assert believe(played(30), Watchman(), SLO) == ""


@pytest.mark.parametrize("number", range(20))
def test_each_of_twenty_injected_stalls_makes_its_run_void(number):
    """Of 0.25 to 1.2 s, spread over a run of 10 s."""
    stall = (0.4 * number, 0.25 + 0.05 * number)
    assert believe(played(10, [stall]), Watchman(), SLO) != ""


@settings(max_examples=25)
@given(start=st.floats(0, 595), length=st.floats(1.03, 4))
def test_a_stall_of_a_second_makes_a_certification_of_ten_minutes_void(start, length):
    assert believe(played(600, [(start, length)], rate=2.0), Watchman(), SLO) != ""


@settings(max_examples=25)
@given(start=st.floats(0, 8), length=st.floats(1.03, 1.9), of=st.integers(2, 8))
def test_one_stalled_process_of_several_makes_the_run_void(start, length, of):
    assert believe(played(10, [(start, length)], of=of), Watchman(), SLO) != ""


@settings(max_examples=25)
@given(length=st.floats(0.056, 0.15), number=st.integers(40, 60))
def test_many_short_stalls_make_a_run_void_too(length, number):
    """Each makes one gap of every running stream too long."""
    stalls = [(0.1 + 0.2 * n, length) for n in range(number)]
    assert believe(played(12.5, stalls), Watchman(), SLO) != ""


@settings(max_examples=25)
@given(start=st.floats(0, 55), length=st.floats(0.001, 0.03))
def test_a_hiccup_that_no_limit_would_notice_is_tolerated(start, length):
    assert believe(played(60, [(start, length)], rate=20.0), Watchman(), SLO) == ""
