import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rightsizer_operator.work_queue import Key, Pace, Retry, WorkQueue, work

A, B = Key("ml", "a"), Key("ml", "b")
PACE = Pace(first_retry_s=1, longest_retry_s=300, spacing_s=1, jitter=0)


def queue(pace: Pace = PACE) -> WorkQueue:
    return WorkQueue(pace, chance=lambda: 0.5)


def test_a_key_added_twice_is_taken_once() -> None:
    found = queue()
    found.add(A, 0)
    found.add(A, 0)
    assert found.take(0) == A
    assert found.take(0) is None


def test_a_key_in_work_is_not_taken_again_until_it_is_done() -> None:
    found = queue()
    found.add(A, 0)
    found.take(0)
    found.add(A, 5)
    assert found.take(10) is None
    found.done(A, 10, again_after=300)
    assert found.take(10) == A


def test_the_key_that_waits_longest_comes_first() -> None:
    found = queue()
    found.add(B, 1)
    found.add(A, 2)
    assert [found.take(3), found.take(3)] == [B, A]


def test_a_later_wish_does_not_delay_an_earlier_one() -> None:
    found = queue()
    found.add(A, 0, delay=10)
    found.add(A, 0, delay=300)
    assert found.take(9) is None
    assert found.take(10) == A


def test_a_burst_of_events_starts_a_key_at_most_once_a_second() -> None:
    found = queue()
    starts = []
    for tenth in range(50):
        found.add(A, tenth / 10)
        if found.take(tenth / 10):
            starts.append(tenth / 10)
            found.done(A, tenth / 10, again_after=300)
    assert starts == [0, 1, 2, 3, 4]


def test_failures_are_tried_again_after_ever_longer_pauses_up_to_five_minutes() -> None:
    found = queue()
    found.add(A, 0)
    now, pauses = 0.0, []
    for _ in range(12):
        assert found.take(now) == A
        pauses.append(found.failed(A, now))
        now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_success_makes_the_next_failure_a_first_one() -> None:
    found = queue()
    found.add(A, 0)
    found.take(0)
    found.failed(A, 0)
    found.take(1)
    found.done(A, 1, again_after=0)
    found.take(2)
    assert found.failed(A, 2) == 1


def test_a_gone_key_is_forgotten_unless_it_was_added_meanwhile() -> None:
    found = queue()
    for again in (False, True):
        found.add(A, 10 * again)
        found.take(10 * again)
        if again:
            found.add(A, 10)
        found.done(A, 10 * again, again_after=None)
        assert (A in found) is again


def test_a_resync_forgets_ghosts_and_adds_what_was_missed() -> None:
    found = queue()
    found.add(A, 0, delay=100)
    found.keep({B}, now=50, listed_at=49)
    assert (A in found, found.take(50)) == (False, B)


def test_a_resync_keeps_what_was_added_after_it_was_listed() -> None:
    found = queue()
    found.add(A, 50)
    found.keep(set(), now=51, listed_at=49)
    assert A in found


def test_age_counts_waiting_and_working() -> None:
    found = queue()
    assert found.oldest_age(5) == 0
    found.add(A, 0)
    assert (found.oldest_age(7), found.waiting(7)) == (7, 1)
    found.take(7)
    assert (found.oldest_age(27), found.waiting(27)) == (20, 0)
    found.done(A, 27, again_after=300)
    assert found.oldest_age(30) == 0


@given(st.floats(min_value=0, max_value=0.999), st.integers(min_value=0, max_value=40))
def test_a_delay_is_never_shorter_than_asked_nor_more_than_a_fifth_longer(chance: float, failures: int) -> None:
    found = WorkQueue(Pace(), chance=lambda: chance)
    found.add(A, 0)
    now = delay = 0.0
    for _ in range(failures + 1):
        found.take(now)
        delay = found.failed(A, now)
        now += delay
    plain = min(300.0, 2.0**failures)
    assert plain <= delay <= 1.2 * plain


async def test_workers_share_the_keys_and_repeat_what_failed() -> None:
    found = WorkQueue(Pace(first_retry_s=0.01, spacing_s=0, jitter=0))
    handled: list[Key] = []
    finished = asyncio.Event()

    async def handle(key: Key) -> float | None:
        handled.append(key)
        if handled.count(A) == 1 and key == A:
            raise Retry
        if handled.count(A) == 2 and B in handled:
            finished.set()
        return 300

    workers = [asyncio.create_task(work(found, handle)) for _ in range(3)]
    found.add(A, 0)
    found.add(B, 0)
    async with asyncio.timeout(60):
        await finished.wait()
    for worker in workers:
        worker.cancel()
    assert sorted(handled) == [A, A, B]


async def test_a_key_is_never_in_work_twice_at_once() -> None:
    found = WorkQueue(Pace(spacing_s=0, jitter=0))
    active: set[Key] = set()
    count = 0
    finished = asyncio.Event()

    async def handle(key: Key) -> float | None:
        nonlocal count
        assert key not in active
        active.add(key)
        found.add(key, 0)
        await asyncio.sleep(0)
        active.remove(key)
        count += 1
        if count > 50:
            finished.set()
        return 300

    workers = [asyncio.create_task(work(found, handle)) for _ in range(4)]
    found.add(A, 0)
    async with asyncio.timeout(60):
        await finished.wait()
    for worker in workers:
        worker.cancel()
    assert not any(
        isinstance(result, AssertionError) for result in await asyncio.gather(*workers, return_exceptions=True)
    )


async def test_what_is_not_a_failure_of_the_key_ends_the_worker() -> None:
    found = queue()
    found.add(A, 0)

    async def lost(key: Key) -> float | None:
        raise RuntimeError("leadership lost")

    with pytest.raises(RuntimeError, match="leadership lost"):
        await work(found, lost, clock=lambda: 1.0)
