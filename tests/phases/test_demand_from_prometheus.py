"""A demand that is in Prometheus: read before anything is started, frozen in the run, overtaken only by a drift."""

from typing import Any

import pytest

from rightsizer_operator.resource import reasons
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.resource.status import PeakReading
from rightsizer_operator.world import Unread
from tests.phases.builders import a_spec_document
from tests.phases.village import Village, capacities

DOWN = Unread(reasons.PROMETHEUS_UNREACHABLE, "spec.workload.prometheus: no connection; it is tried again")


def a_peak(rate: str = "7.5", **changes: Any) -> PeakReading:
    given = {
        "window_hours": 168,
        "average_minutes": 5,
        "query": "max_over_time(...)",
        "read_at": "2026-03-01T11:59:00Z",
    }
    return PeakReading(**{"rate_rps": rate, **given, **changes})


def a_spec(**asked: Any) -> InferenceDeploymentSpec:
    document = a_spec_document()
    document["workload"] = {"prometheus": {"inputTokens": 64, "outputTokens": 24, **asked}}
    return InferenceDeploymentSpec.model_validate(document)


def a_village(peak: PeakReading | Unread | None = None, **changes: Any) -> Village:
    script = capacities(as_is=2.5, int8=4.0, int4=3.0)
    return Village(**{"spec": a_spec(), "script": script, "peak": peak or a_peak(), **changes})


def settled(village: Village) -> Village:
    village.settle()
    return village


def test_the_search_is_made_for_the_peak_that_was_read_and_says_so() -> None:
    village = settled(a_village(a_peak(coverage_percent="43.5")))
    run = village.run.spec
    assert run.peak == village.peak
    assert run.accepted.workload.static is not None
    assert run.accepted.workload.static.request_rate == "7.5"
    assert village.status.proposal is not None
    assert village.status.proposal.gpus == "4 -> 2"
    assert village.status.peak == village.peak
    assert village.status.demand is not None
    assert (village.status.demand.request_rate, village.status.demand.source) == (
        "7.5", "peak of 168 h, read from Prometheus 2026-03-01T11:59:00Z",
    )  # fmt: skip
    ready = village.message("Ready")
    assert "the peak demand is 7.5 requests/s: the highest mean over 5 minutes in the 168 h before" in ready
    assert "with data for 43.5 % of them" in ready


@pytest.mark.parametrize(
    "unread",
    [
        DOWN,
        Unread(reasons.PROMETHEUS_NOT_CONFIGURED, "spec.workload.prometheus: none is configured"),
        Unread(reasons.DEMAND_UNKNOWN, "spec.workload.prometheus: no data"),
    ],
)
def test_without_a_figure_nothing_is_started_and_the_reason_stands(unread: Unread) -> None:
    village = settled(a_village(unread))
    assert not village.runs
    assert not village.created_jobs
    assert village.condition("Ready") == ("False", unread.reason)
    assert village.condition("Stalled") == ("True", unread.reason)
    assert village.message("Stalled") == unread.message


def test_a_peak_of_zero_is_no_demand() -> None:
    village = settled(a_village(a_peak("0")))
    assert village.condition("Stalled") == ("True", reasons.DEMAND_ZERO)
    assert "finished no request in the last 168 h" in village.message("Stalled")
    assert not village.runs


def test_what_heals_is_taken_up() -> None:
    village = settled(a_village(DOWN))
    village.peak = a_peak()
    assert settled(village).condition("ProposalReady")[0] == "True"
    assert village.condition("Stalled")[0] == "False"


def test_a_run_keeps_its_reading_while_it_goes_on() -> None:
    village = a_village()
    for _ in range(3):
        village.tick()
    name, village.peak = village.run.name, a_peak("70")
    for _ in range(3):
        village.tick()
        village.play_jobs()
    assert village.run.name == name
    assert village.run.status.phase != "Superseded"


@pytest.mark.parametrize("later", [DOWN, a_peak("0"), a_peak("9.3"), a_peak("5.7"), None])
def test_a_finished_run_stands_while_nothing_or_little_else_is_read(later: PeakReading | Unread | None) -> None:
    village = settled(a_village())
    name, village.peak = village.run.name, later
    assert settled(village).run.name == name
    assert village.condition("ProposalReady")[0] == "True"
    assert village.condition("Stalled")[0] == "False"


@pytest.mark.parametrize(("rate", "replicas"), [("11", 3), ("3.5", 1)])
def test_a_drift_starts_a_search_for_the_new_peak(rate: str, replicas: int) -> None:
    village = settled(a_village(nodes=None))
    name, village.peak = village.run.name, a_peak(rate)
    assert settled(village).run.name != name
    assert village.runs[name].status.phase == "Superseded"
    assert (
        f"the peak demand is {rate} requests/s now, the search was made for 7.5" in village.runs[name].status.activity
    )
    assert village.status.proposal is not None
    assert village.status.proposal.configuration.replicas == replicas


def test_another_window_is_another_question() -> None:
    village = settled(a_village())
    name = village.run.name
    village.spec, village.peak = a_spec(windowHours=24), a_peak("4", window_hours=24)
    village.generation += 1
    assert settled(village).run.name != name
    assert village.run.spec.peak == village.peak


def test_a_tolerance_is_no_input() -> None:
    village = settled(a_village())
    name = village.run.name
    village.spec = a_spec(driftPercent=50)
    village.generation += 1
    assert settled(village).run.name == name


def test_a_roll_out_is_brought_to_its_end_though_prometheus_is_away_and_the_question_changed() -> None:
    village = settled(a_village(nodes=None))
    village.approve()
    for _ in range(2):
        village.tick()
    assert village.run.status.rollout is not None
    asked = a_spec(windowHours=24).workload
    village.spec, village.peak = village.spec.model_copy(update={"workload": asked}), DOWN
    name = village.run.name
    for _ in range(40):
        village.tick()
        village.play_jobs()
    rollout = village.runs[name].status.rollout
    assert rollout is not None and rollout.step == "Applied"
