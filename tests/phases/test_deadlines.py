"""How long a trial may take: its steps with answers that meet the limits; each deadline within the next."""

import pytest

from rightsizer_jobs.contract import TrialAssignment
from rightsizer_jobs.trial import search
from rightsizer_operator.phases import observe
from tests.phases.builders import a_spec
from tests.phases.village import Village


def test_deadlines_are_ordered_client_pod_job() -> None:
    village = Village()
    for _ in range(3):
        village.tick()
    (job,) = village.jobs.values()
    pod = job["spec"]["template"]["spec"]["activeDeadlineSeconds"]
    assignment = observe.assignment_of(job)
    assert isinstance(assignment, TrialAssignment)
    assert assignment.deadlines.request_s < assignment.deadlines.total_s < pod < job["spec"]["activeDeadlineSeconds"]


def test_long_answers_are_given_the_time_that_their_limits_allow() -> None:
    village = Village(a_spec(slo={"ttftMs": 800, "itlMs": 50}, workload={"static": {"outputTokens": 8192}}))
    for _ in range(3):
        village.tick()
    (job,) = village.jobs.values()
    assignment = observe.assignment_of(job)
    assert isinstance(assignment, TrialAssignment)
    deadlines = assignment.deadlines
    assert deadlines.answer_s(8192) == pytest.approx(120 + 2 * (0.8 + 8192 * 0.05))
    steps = assignment.measurement.budget_s + assignment.measurement.hold_s
    assert deadlines.total_s > deadlines.answer_s(8192) + deadlines.ready_s + steps


@pytest.mark.parametrize("tokens", [256, 2_000, 8_000, 32_000])
def test_the_deadline_leaves_room_for_every_step_whose_length_follows_from_an_answers(tokens: int) -> None:
    village = Village(a_spec(slo={"ttftMs": 2000, "itlMs": 50}, workload={"static": {"outputTokens": tokens}}))
    for _ in range(3):
        village.tick()
    (job,) = village.jobs.values()
    assignment = observe.assignment_of(job)
    assert isinstance(assignment, TrialAssignment)
    deadlines, measurement = assignment.deadlines, assignment.measurement
    answer = 2.0 + 0.05 * tokens
    singles = (1 + measurement.sanity_requests) * answer
    warm = 2 * search.warm_up_seconds(measurement, answer)
    saturation = search.saturation_seconds(measurement, answer)
    probe = search.ramp_seconds(measurement, measurement.probe_s, answer) + measurement.probe_s + answer
    assert deadlines.ready_s + singles + warm + saturation + probe < deadlines.total_s
