"""How long an answer may take before it counts as timed out: what meets its limits never does, everything ends."""

import math

import hypothesis.strategies as some
import pytest
from hypothesis import given

from rightsizer_jobs.contract import Slo
from rightsizer_jobs.workload import Bin, Histogram, Lognormal
from rightsizer_operator.sizing import patience

LIMITS = some.none() | some.floats(1, 3_600_000)
SLOS = some.builds(Slo, ttft_ms=LIMITS, itl_ms=LIMITS, tpot_ms=LIMITS, e2e_ms=LIMITS).filter(lambda slo: slo.limits())


def waits(slo: Slo, tokens: int) -> float:
    request_s, token_s = patience.allowed(slo)
    return request_s + token_s * tokens


@given(slo=SLOS, tokens=some.integers(1, 100_000), early=some.floats(0, 1))
def test_an_answer_that_meets_its_limits_is_never_cut_off(slo: Slo, tokens: int, early: float) -> None:
    """Its slowest form: every limit that is set is reached; what none bounds takes what the module states."""
    first = slo.ttft_ms if slo.ttft_ms is not None else early * 1000 * patience.FLOOR_S
    gap = slo.tpot_ms or slo.itl_ms or 1000 * patience.SLOWEST_TOKEN_S
    slowest_ms = min(first + gap * (tokens - 1), slo.e2e_ms or math.inf)
    assert slowest_ms / 1000 <= waits(slo, tokens)


@given(slo=SLOS, tokens=some.integers(1, 100_000))
def test_one_that_is_far_beyond_its_limits_ends(slo: Slo, tokens: int) -> None:
    gap = slo.tpot_ms or slo.itl_ms or 500 * patience.SLOWEST_TOKEN_S
    allowed_ms = slo.e2e_ms if slo.e2e_ms is not None else (slo.ttft_ms or 0) + gap * tokens
    assert patience.FLOOR_S <= waits(slo, tokens) <= patience.FLOOR_S + 2.0001 * allowed_ms / 1000


def test_eight_thousand_tokens_at_their_limit_take_longer_than_the_floor() -> None:
    slo = Slo(ttft_ms=800, tpot_ms=50)
    assert waits(slo, 8192) == pytest.approx(120 + 2 * (0.8 + 8192 * 0.05))


def test_short_answers_wait_little_longer_than_the_floor() -> None:
    assert waits(Slo(ttft_ms=1500, itl_ms=200), 24) == pytest.approx(132.6)


def test_an_e2e_limit_bounds_every_answer_whatever_its_length() -> None:
    assert waits(Slo(e2e_ms=90_000, ttft_ms=800), 8192) == 180
    assert waits(Slo(e2e_ms=5000), 10) == 120


def test_the_longest_answer_is_that_of_the_distribution() -> None:
    assert patience.longest_output(24) == 24
    histogram = Histogram(bins=(Bin(tokens=10, weight=1e6), Bin(tokens=9000, weight=1e-3)))
    assert patience.longest_output(histogram) == 9000
    lengths = Lognormal(mean=200, at_percentile=600)
    assert patience.longest_output(lengths) == lengths.quantile(1.0) > 600
    assert patience.longest_output(None) == patience.TRACE_TOKENS
