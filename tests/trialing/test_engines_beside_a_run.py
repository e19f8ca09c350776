"""The engines' own figures say how long their queue is, stop an overloaded run, and are told in words."""

from rightsizer_jobs.engines.beside import Seen, queued, told, usually_waiting
from rightsizer_jobs.engines.engine import Sample
from rightsizer_jobs.loadgen.load import Live
from rightsizer_jobs.trial.probing import overload_watch


def test_the_queue_is_the_last_figure_of_each_engine_together():
    seen = [
        Seen(0, 1, Sample(waiting=90)),
        Seen(1, 4, Sample(waiting=5)),
        Seen(0, 5, Sample(waiting=7)),
        Seen(2, 5, Sample()),
    ]
    assert queued(seen) == 12
    assert queued([]) == 0


def test_requests_left_over_from_the_run_before_are_no_queue_of_this_one():
    seen = [Seen(0, 1, Sample(waiting=90)), Seen(0, 3.9, Sample(waiting=80))]
    assert queued(seen) == 0
    assert queued([*seen, Seen(0, 4, Sample(waiting=70))]) == 70


def test_what_usually_waits_is_the_median_over_time_of_each_engine_together():
    seen = [Seen(0, at, Sample(waiting=waiting)) for at, waiting in enumerate((90, 4, 0))]
    assert usually_waiting(seen) == 4
    assert usually_waiting([*seen, Seen(1, 0, Sample(waiting=2))]) == 6
    assert usually_waiting([*seen, Seen(1, 0, Sample())]) is None
    assert usually_waiting([]) is None


def test_a_long_queue_in_the_engines_stops_a_run_though_our_own_requests_are_served():
    seen = []
    watch = overload_watch(4.0, 20, lambda: queued(seen))
    live = Live(sent=100, unserved=1)
    seen.append(Seen(0, 1.0, Sample(waiting=0)))
    assert watch(live) == ""
    seen.append(Seen(0, 4.0, Sample(waiting=21)))
    assert watch(live) == "overload at 4 requests/s: 21 wait in the engines, allowed 20"


def test_a_run_is_told_by_peaks_and_by_what_counters_grew():
    first = Sample(running=3, waiting=0, kv_usage=0.2, preemptions=5, prefix_queries=100, prefix_hits=50)
    last = Sample(running=8, waiting=2, kv_usage=0.9, preemptions=6, prefix_queries=300, prefix_hits=60)
    assert told([Seen(0, 1, first), Seen(0, 2, last)]) == (
        "running 8, waiting 2, KV use 0.9, preemptions 1, prefix hits 0.05"
    )


def test_what_an_engine_does_not_publish_is_not_told():
    assert told([Seen(0, 1, Sample(running=3))]) == "running 3"
    assert told([Seen(0, 1, Sample())]) == "they publish no figures"
    assert told([Seen(0, 1, Sample(prefix_queries=0, prefix_hits=0))]) == "they publish no figures"
