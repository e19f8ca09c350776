"""A workload from a trace: the first trial says what it holds, the demand follows, later trials replay that file."""

from typing import Any

import pytest

from rightsizer_jobs.contract import TrialAssignment
from rightsizer_jobs.workload import TraceFacts
from rightsizer_operator.phases import observe
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from tests.phases.builders import DIGEST, a_report, a_spec_document
from tests.phases.village import Assignment, Village, capacities

FACTS = TraceFacts(
    sha256=DIGEST, requests=900, seconds=240, mean_rps=3.75, busiest_minute_rps=6.0, input_tokens=64, output_tokens=24
)


def traced(**trace: Any) -> InferenceDeploymentSpec:
    document = a_spec_document()
    document["workload"] = {"trace": {"path": "traces/chat.csv", **trace}}
    return InferenceDeploymentSpec.model_validate(document)


def telling(assignment: Assignment) -> Any:
    """As the trial image does: every trial says what it replays."""
    report = capacities(as_is=2.5, int8=4.0, int4=3.0)(assignment)
    return report.model_copy(update={"trace": FACTS}) if isinstance(assignment, TrialAssignment) else report


class Watched(Village):
    """Keeps the trial assignments that were given."""

    def play_jobs(self) -> None:
        for job in self.jobs.values():
            given = observe.assignment_of(job)
            if isinstance(given, TrialAssignment) and given not in self.given:
                self.given.append(given)
        super().play_jobs()

    def __post_init__(self) -> None:
        self.given: list[TrialAssignment] = []
        super().__post_init__()


@pytest.mark.parametrize(
    ("trace", "rate", "source", "gpus"),
    [
        ({"timeScale": "2"}, "7.5", "mean rate of 900 requests in 240 s of the trace x 2", "4 -> 2"),
        ({}, "3.75", "mean rate of 900 requests in 240 s of the trace", "4 -> 1"),
        ({"requestRate": "11"}, "11", "stated", "4 -> 3"),
    ],
)
def test_the_demand_of_a_trace_is_its_own_mean_rate_unless_another_is_stated(
    trace: dict[str, str], rate: str, source: str, gpus: str
) -> None:
    village = Village(spec=traced(**trace), script=telling)
    village.settle()
    assert village.condition("Optimized") == ("True", "ProposalReady"), village.status.activity
    told, proposal = village.status.demand, village.status.proposal
    assert told is not None and proposal is not None
    assert (told.request_rate, told.source, proposal.gpus) == (rate, source, gpus)
    assert (told.input_tokens, told.output_tokens, told.busiest_minute_rate) == ("64", "24", "6")


def test_before_the_first_trial_the_status_says_that_nobody_knows_the_demand() -> None:
    village = Village(spec=traced(), script=telling)
    village.tick()
    village.tick()
    told = village.status.demand
    assert told is not None
    assert (told.request_rate, told.source) == (None, "the trace, which no trial has read yet")
    assert village.status.phase == "Measuring"


def test_every_trial_after_the_first_is_pinned_to_the_file_that_the_first_one_read() -> None:
    village = Watched(spec=traced(startSeconds=30, durationSeconds=240, format="Azure"), script=telling)
    village.settle()
    files = [one.workload.trace for one in village.given]
    assert len(files) > 2 and all(file is not None for file in files)
    first, *rest = [file for file in files if file is not None]
    assert (first.sha256, first.start_s, first.duration_s, first.format) == (None, 30, 240, "Azure")
    assert first.path.endswith("/traces/chat.csv")
    assert {file.sha256 for file in rest} == {DIGEST}


def test_an_applied_proposal_is_verified_at_the_demand_of_the_trace() -> None:
    village = Watched(spec=traced(timeScale="2"), script=telling)
    village.settle()
    village.approve()
    village.settle()
    assert village.condition("Applied")[0] == "True", village.status.activity
    verified = [one for one in village.given if one.purpose == "Verify"]
    assert {one.rate_rps for one in verified} == {7.5}
    assert all(one.workload.arrivals == "Trace" for one in verified)


def test_a_trace_that_cannot_be_read_stalls_nothing_but_is_said_at_once_with_field_line_and_remedy() -> None:
    reason = "trace /x/traces/chat.csv, line 7, column GeneratedTokens: -4 tokens; 1 to 100000 are possible"

    def play(assignment: Assignment) -> Any:
        assert isinstance(assignment, TrialAssignment)
        return a_report(assignment, outcome="Void", reason=reason, probes=(), answers=None)

    village = Village(spec=traced(), script=play)
    village.settle()
    assert village.condition("Optimized") == ("False", "TraceUnreadable")
    assert village.message("Optimized").startswith(f"spec.workload.trace: {reason}. Correct the field; or the file")
    assert len(village.run.status.trials) == 1


def test_a_trial_that_says_nothing_of_the_trace_is_named_as_the_cause() -> None:
    village = Village(spec=traced(), script=capacities(as_is=2.5, int8=4.0, int4=3.0))
    village.settle()
    assert village.condition("Optimized") == ("False", "BaselineFailed")
    assert "older than the operator" in village.message("Optimized")


def test_the_report_a_trial_leaves_on_a_stated_demand_is_as_it_was() -> None:
    village = Watched()
    village.settle()
    explored = next(one for one in village.given if one.purpose == "Explore")
    assert explored.workload.model_dump(exclude_none=True) == {
        "input_tokens": 64, "output_tokens": 24, "arrivals": "Poisson", "api": "Completions",
    }  # fmt: skip
    told = village.status.demand
    assert told is not None and (told.request_rate, told.source) == ("7.5", "stated")


@pytest.mark.parametrize("kind", ["static", "trace"])
def test_a_chat_workload_is_measured_over_chat_in_every_trial(kind: str) -> None:
    document = a_spec_document()
    if kind == "trace":
        document["workload"] = {"trace": {"path": "traces/chat.csv"}}
    document["workload"]["api"] = "Chat"
    village = Watched(spec=InferenceDeploymentSpec.model_validate(document), script=telling)
    village.settle()
    assert {one.workload.api for one in village.given} == {"Chat"}
    assert {one.purpose for one in village.given} >= {"Explore", "Certify"}
