"""Measured trials correct the efficiencies of their engine and GPU."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rightsizer_operator.sizing.estimate import feedback, steps, tables
from rightsizer_operator.sizing.estimate.feedback import Observation
from rightsizer_operator.sizing.estimate.memory import Configuration
from rightsizer_operator.sizing.estimate.tables import Efficiencies

GIVEN = tables.efficiencies("VLLM", "H100-SXM")


def seen(ttft: float, tpot: float) -> Observation:
    return Observation(
        estimated_ttft_ms=100, measured_ttft_ms=100 * ttft, estimated_tpot_ms=10, measured_tpot_ms=10 * tpot
    )


def test_without_trials_nothing_changes() -> None:
    found = feedback.lesson([])
    assert (found.prompt.count, found.decode.count) == (0, 0)
    assert (found.prompt.spread, found.decode.spread) == (None, None)
    assert feedback.corrected(GIVEN, found) == GIVEN


def test_one_trial_moves_a_little_and_many_move_fully() -> None:
    one, many = feedback.lesson([seen(1, 1.3)]), feedback.lesson([seen(1, 1.3)] * 40)
    assert one.decode.mean == pytest.approx(1.3)
    assert 1.0 < one.decode.trusted < 1.15
    assert many.decode.trusted == pytest.approx(1.3, rel=0.02)
    assert many.prompt.trusted == 1.0


def test_count_and_spread_are_kept() -> None:
    found = feedback.lesson([seen(1.0, 1.0), seen(1.0, 1.2), seen(1.0, 1.1)])
    assert found.decode.count == 3
    assert found.decode.spread == pytest.approx(0.0912, abs=0.001)
    assert found.prompt.spread == 0


def test_a_share_never_exceeds_what_the_hardware_has() -> None:
    faster = feedback.corrected(GIVEN, feedback.lesson([seen(0.1, 0.1)] * 50))
    assert faster.bandwidth == faster.compute == faster.compute_8bit == 1.0


def test_a_corrected_estimate_is_nearer_to_a_slower_engine(configuration: Callable[..., Configuration]) -> None:
    found = configuration(tensor_parallel=4, weights="FP8")
    truth = replace(GIVEN, bandwidth=GIVEN.bandwidth * 0.7, layer_us=GIVEN.layer_us * 1.5)

    def decode(of: Efficiencies, sequences: int) -> float:
        return 1000 * steps.clock(found, of).seconds(0, 0.0, sequences, sequences * 1500)

    trials = [
        Observation(
            estimated_ttft_ms=1,
            measured_ttft_ms=1,
            estimated_tpot_ms=decode(GIVEN, n),
            measured_tpot_ms=decode(truth, n),
        )
        for n in (1, 8, 32)
    ]
    learned = feedback.corrected(GIVEN, feedback.lesson(trials))
    for n in (4, 64):
        assert abs(decode(learned, n) - decode(truth, n)) < 0.6 * abs(decode(GIVEN, n) - decode(truth, n))


def test_a_time_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        feedback.lesson([seen(0, 1)])


ratios = st.lists(st.floats(0.4, 2.5), max_size=6)


@given(ratios, ratios)
def test_lessons_of_two_runs_add_up_to_that_of_all_trials(first: list[float], second: list[float]) -> None:
    one, other = (feedback.lesson([seen(1.0, ratio) for ratio in found]) for found in (first, second))
    both, whole = feedback.merged(one, other).decode, feedback.lesson([seen(1.0, r) for r in (*first, *second)]).decode
    assert both.count == whole.count
    assert both.mean == pytest.approx(whole.mean)
    assert (both.spread is None) == (whole.spread is None)
    if both.spread is not None and whole.spread is not None:
        assert both.spread == pytest.approx(whole.spread, abs=1e-9)


def test_what_was_not_measured_teaches_nothing_about_it() -> None:
    blind = Observation(estimated_ttft_ms=100, measured_ttft_ms=None, estimated_tpot_ms=10, measured_tpot_ms=12)
    found = feedback.lesson([blind])
    assert (found.prompt.count, found.decode.count) == (0, 1)
