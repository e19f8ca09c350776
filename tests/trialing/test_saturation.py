"""What a closed loop tells: a rate, and whether more in flight could raise it."""

import pytest

from rightsizer_jobs.contract import Saturation, Slo
from rightsizer_jobs.loadgen.metrics import Window
from rightsizer_jobs.loadgen.records import Exchange, Record
from rightsizer_jobs.trial.run import run
from rightsizer_jobs.trial.saturation import saturation

SECOND = 1_000_000_000
WINDOW = Window(20 * SECOND, 60 * SECOND)
TOKENS = 10
BEFORE = Saturation(rps=9.6, output_tps=96, concurrency=40)


def answers(gap_ms=100.0, first_ms=50.0, *, start_s=0.0, rate=10.0, stop_s=60.0):
    """Ten a second, each of ten tokens; those that run past the end are cut."""
    found = []
    for number in range(round((stop_s - start_s) * rate)):
        sent = round((start_s + number / rate) * SECOND)
        chunks = [round(sent + 1e6 * (first_ms + step * gap_ms)) for step in range(TOKENS)]
        inside = tuple(chunk for chunk in chunks if chunk < 60 * SECOND)
        failure = "" if len(inside) == TOKENS else "cut: the run was stopped"
        found.append(Record(number, sent, TOKENS, Exchange(sent, inside, 0 if failure else TOKENS, failure=failure)))
    return found


def found(records, **changes):
    values = {"concurrency": 80, "mean_output_tokens": TOKENS, "waiting": 0.0, "slo": Slo(ttft_ms=500, itl_ms=200)}
    return saturation(records, WINDOW, **(values | changes))


def test_the_rate_is_that_of_the_tokens_in_the_counted_part():
    told = found(answers())
    assert told.rps == pytest.approx(10, rel=0.01)
    assert told.output_tps == pytest.approx(100, rel=0.01)


@pytest.mark.parametrize(("waiting", "full"), [(0.0, False), (1.6, False), (1.7, True), (16.0, True), (None, False)])
def test_a_batch_is_full_where_requests_wait_for_a_place_in_it(waiting, full):
    assert found(answers(), waiting=waiting).ceiling is full


@pytest.mark.parametrize("late", [{"gap_ms": 201.0}, {"first_ms": 501.0}])
def test_a_limit_that_is_missed_with_so_many_in_flight_bounds_what_more_of_them_can_give(late):
    assert found(answers(**late)).ceiling is True


def test_answers_that_began_together_before_the_counted_part_are_not_held_to_the_limits():
    burst = [*answers(first_ms=900.0, stop_s=20.0), *answers(start_s=20.0)]
    assert found(burst).ceiling is False


def test_a_few_answers_tell_nothing_of_the_limits():
    assert found(answers(gap_ms=400.0, rate=0.5)).ceiling is False


@pytest.mark.parametrize(("before", "full", "rate"), [(9.4, False, 10), (9.6, True, 10), (10.5, True, 10.5)])
def test_twice_as_many_in_flight_that_give_hardly_more_show_the_ceiling(before, full, rate):
    told = found(answers(), before=BEFORE.model_copy(update={"rps": before, "ceiling": False}))
    assert told.ceiling is full
    assert told.rps == pytest.approx(rate, rel=0.01)


async def test_a_trial_saturates_an_engine_with_room_until_its_batch_is_full(start_engine, assign):
    """16 in flight do not fill 24 places; 32 do, and then the saturation decides."""
    engine = await start_engine(slots=24)
    steps = {"saturation_s": 2.4, "warmup_max_blocks": 1, "budget_s": 30}
    report = await run(assign(engine.base_url, rate_to_beat_rps=5000.0, measurement=steps))
    assert (report.outcome, report.saturation.concurrency, report.saturation.ceiling) == ("CannotBeat", 32, True)
    assert report.probes == ()
