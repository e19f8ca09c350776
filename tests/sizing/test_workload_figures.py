"""One function turns each kind of workload into the same figures."""

from typing import Any

import pytest

from rightsizer_jobs.workload import Histogram, Lognormal, TraceFacts
from rightsizer_operator.resource.workload import WorkloadSpec
from rightsizer_operator.sizing import workload

FACTS = TraceFacts(
    sha256="a" * 64, requests=100, seconds=50, mean_rps=2, busiest_minute_rps=3, input_tokens=900.5, output_tokens=80.25
)
BINS = [{"tokens": 10, "weight": 1}, {"tokens": 100, "weight": 3}]


def static(**fields: Any) -> WorkloadSpec:
    return WorkloadSpec.model_validate({"static": {"requestRate": "5.5", **fields}})


def trace(**fields: Any) -> WorkloadSpec:
    return WorkloadSpec.model_validate({"trace": {"path": "t.csv", **fields}})


def test_fixed_lengths_and_a_stated_rate_are_taken_as_they_are() -> None:
    found = workload.resolved(static(inputTokens=64, outputTokens=24))
    assert (found.demand_rps, found.input_tokens, found.output_tokens) == (5.5, 64, 24)
    assert (found.arrivals, found.source, found.known) == ("Poisson", "stated", True)
    assert found.lengths == "64 tokens in, 24 out"
    assert found.least_output(95) == 24


def test_distributions_are_resolved_to_their_means() -> None:
    spec = static(inputTokens=1000, inputTokensP95=2500, outputTokensHistogram=BINS, arrivals="Gamma", burstiness="0.5")
    found = workload.resolved(spec)
    assert (found.input_tokens, found.output_tokens) == (1000, 77.5)
    assert found.inputs == Lognormal(mean=1000, percentile=95, at_percentile=2500)
    assert isinstance(found.outputs, Histogram)
    assert found.burstiness == 0.5
    assert (found.least_output(95), found.least_output(50), found.least_output(20)) == (100, 100, 10)


def test_only_fixed_lengths_and_plain_arrivals_are_what_an_estimate_is_made_for() -> None:
    fixed = {"inputTokens": 64, "outputTokens": 24}
    assert workload.resolved(static(**fixed)).alike
    assert workload.resolved(static(**fixed, arrivals="Constant")).alike
    assert not workload.resolved(static(**fixed, arrivals="Gamma", burstiness="0.5")).alike
    assert not workload.resolved(static(**fixed, inputTokensP95=100)).alike
    assert not workload.resolved(trace(requestRate="7"), FACTS).alike


def test_a_percentile_equal_to_the_mean_is_a_fixed_length() -> None:
    found = workload.resolved(static(inputTokens=64, inputTokensP95=64, outputTokens=24))
    assert found.inputs == 64


@pytest.mark.parametrize(
    ("fields", "demand", "source"),
    [
        ({}, 2, "mean rate of 100 requests in 50 s of the trace"),
        ({"timeScale": "1.5"}, 3, "mean rate of 100 requests in 50 s of the trace x 1.5"),
        ({"requestRate": "7"}, 7, "stated"),
    ],
)
def test_a_trace_that_was_read_has_lengths_and_a_demand(fields: dict[str, str], demand: float, source: str) -> None:
    found = workload.resolved(trace(**fields), FACTS)
    assert (found.demand_rps, found.source) == (demand, source)
    assert (found.input_tokens, found.output_tokens, found.arrivals) == (900.5, 80.25, "Trace")


def test_a_trace_that_nobody_has_read_has_at_most_its_stated_rate() -> None:
    assert not workload.resolved(trace(timeScale="2")).known
    found = workload.resolved(trace(requestRate="7"))
    assert (found.demand_rps, found.input_tokens, found.known) == (7, 0, True)


@pytest.mark.parametrize(
    ("spec", "field", "demand"),
    [
        (static(inputTokens=1, outputTokens=1), "spec.workload.static.requestRate", 5.5),
        (trace(requestRate="7"), "spec.workload.trace.requestRate", 7),
        (trace(timeScale="0.5"), "spec.workload.trace.timeScale", 0.5),
        (trace(), "spec.workload.trace.timeScale", 1),
    ],
)
def test_the_field_that_states_the_demand_is_named(spec: WorkloadSpec, field: str, demand: float) -> None:
    assert workload.stated_demand(spec) == (field, demand)
