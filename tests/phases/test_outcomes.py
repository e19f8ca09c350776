"""What a Job came to: the operator's own look at the pods overrules the report; only measured outcomes are evidence."""

import datetime
from typing import Any

import pytest

from rightsizer_jobs.contract import CompressAssignment, TrialAssignment, dump_report
from rightsizer_operator.phases import observe
from rightsizer_operator.resource.run import TrialRecord
from tests.phases import builders
from tests.phases.builders import NOW, SLOT, Object, a_report, a_spec, answers
from tests.phases.village import Village, a_job_pod, capacities, stamp

LIMITS = observe.Limits(pending_s=600, accelerator_resource=SLOT)


def a_job() -> Object:
    """The first trial's Job, just created."""
    village = Village()
    for _ in range(3):
        village.tick()
    (job,) = village.jobs.values()
    return job


def assignment_of(job: Object) -> TrialAssignment:
    found = observe.assignment_of(job)
    assert isinstance(found, TrialAssignment)
    return found


def recorded(pod_status: Any, *, minutes: int = 10, limits: observe.Limits = LIMITS, **pod: Any) -> TrialRecord | None:
    """The record of a trial whose pod has that status (a dict) or that report."""
    job = a_job()
    end = NOW + datetime.timedelta(minutes=minutes)
    made = builders.merged(a_job_pod(job, NOW, end, pod_status), pod)
    return observe.record_of(job, [made], limits, end)


def good() -> Any:
    return a_report(assignment_of(a_job()))


def container(name: str, **state: Any) -> Object:
    return {"name": name, "restartCount": 0, **state}


RUNNING = {"state": {"running": {"startedAt": stamp(NOW)}}}


def crashed(reason: str = "Error", message: str = "", code: int = 1) -> Object:
    return {"terminated": {"reason": reason, "exitCode": code, "message": message}}


def test_a_report_is_taken_as_it_came() -> None:
    record = recorded(good())
    assert record is not None
    assert (record.outcome, record.gpu_seconds, record.attempt) == ("Succeeded", 600, 1)
    assert record.report


def test_a_running_trial_is_no_record() -> None:
    status = {
        "phase": "Running",
        "containerStatuses": [container("trial", **RUNNING)],
        "initContainerStatuses": [container("engine", **RUNNING)],
    }
    assert recorded(status) is None


def test_a_restarted_engine_failed_whatever_the_report_says() -> None:
    log = "loading weights\nValueError: no kernel for uint8b128\n"
    engine = {"name": "engine", "restartCount": 1, "lastState": crashed(message=log), **RUNNING}
    record = recorded(good(), status={"initContainerStatuses": [engine]})
    assert record is not None
    assert record.outcome == "EngineFailed"
    assert "no kernel for uint8b128" in record.reason
    assert record.log_tail == log


def test_an_engine_in_its_first_back_off_failed_before_the_client_noticed() -> None:
    engine = {
        "name": "engine",
        "restartCount": 0,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": crashed(message="boom"),
    }
    record = recorded(
        {"phase": "Running", "containerStatuses": [container("trial", **RUNNING)], "initContainerStatuses": [engine]}
    )
    assert record is not None
    assert (record.outcome, record.log_tail) == ("EngineFailed", "boom")


def test_an_engine_out_of_memory_is_named_from_the_init_container_statuses() -> None:
    engine = {"name": "engine", "restartCount": 1, "lastState": crashed("OOMKilled", code=137), **RUNNING}
    record = recorded(
        {"phase": "Running", "containerStatuses": [container("trial", **RUNNING)], "initContainerStatuses": [engine]}
    )
    assert record is not None
    assert record.outcome == "EngineFailed"
    assert "out of memory" in record.reason


def test_an_engine_stopped_after_the_client_has_ended_did_not_crash() -> None:
    engine = container("engine", state={"terminated": {"exitCode": 137, "finishedAt": stamp(NOW)}})
    record = recorded(good(), status={"initContainerStatuses": [engine]})
    assert record is not None
    assert record.outcome == "Succeeded"


def test_a_disrupted_pod_is_void_even_with_a_report() -> None:
    disruption = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drain"}
    record = recorded(good(), status={"conditions": [disruption]})
    assert record is not None
    assert (record.outcome, "EvictionByEvictionAPI" in record.reason) == ("Void", True)


def test_the_wrong_gpu_product_is_void() -> None:
    limits = observe.Limits(
        pending_s=600,
        accelerator_resource=SLOT,
        accelerator_type="NVIDIA-H100-80GB-HBM3",
        products={"node": "NVIDIA-A100-SXM4-80GB"},
    )
    record = recorded(good(), limits=limits)
    assert record is not None
    assert record.outcome == "Void"
    assert "NVIDIA-A100-SXM4-80GB" in record.reason


def ended(message: str, **changes: Any) -> Object:
    terminated = {"exitCode": 0, "finishedAt": stamp(NOW), "message": message, **changes}
    return {"containerStatuses": [container("trial", state={"terminated": terminated})]}


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (ended(""), "left no report"),
        (ended("", reason="OOMKilled", exitCode=137), "client ran out of memory"),
        ({**ended("", exitCode=137), "reason": "DeadlineExceeded"}, "deadline"),
        (ended("x" * 5000), "5000 bytes"),
        (ended("{" + "x" * 4095), "cut at the kubelet's limit"),
        (ended('{"version": 1, "kind": "Trial"}'), "not valid"),
        (ended('{"version": 2}'), "not valid"),
    ],
)
def test_a_missing_overlong_or_invalid_report_is_an_error_of_the_job(status: Object, says: str) -> None:
    record = recorded(status)
    assert record is not None
    assert record.outcome == "Error"
    assert says in record.reason


@pytest.mark.parametrize("change", [{"candidate": "int8"}, {"attempt": 2}, {"seed": 7}, {"purpose": "Certify"}])
def test_a_report_that_answers_another_assignment_is_an_error(change: Object) -> None:
    record = recorded(good().model_copy(update=change))
    assert record is not None
    assert record.outcome == "Error"


@pytest.mark.parametrize("figure", ["NaN", "Infinity"])
def test_a_report_with_a_figure_that_is_no_number_is_an_error_of_the_job(figure: str) -> None:
    text = dump_report(good())
    shown = text.replace('"ready_s":60.0', f'"ready_s":{figure}')
    assert shown != text
    record = recorded(ended(shown))
    assert record is not None
    assert (record.outcome, "not valid" in record.reason) == ("Error", True)


def test_success_without_a_sample_is_an_error() -> None:
    record = recorded(good().model_copy(update={"probes": ()}))
    assert record is not None
    assert record.outcome == "Error"


def test_a_pod_that_stays_unscheduled_is_void_after_the_deadline_only() -> None:
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    pending = {
        "phase": "Pending",
        "startTime": None,
        "containerStatuses": [],
        "initContainerStatuses": [],
        "conditions": [unschedulable],
    }
    assert recorded(pending, minutes=5) is None
    record = recorded(pending, minutes=11)
    assert record is not None
    assert (record.outcome, record.gpu_seconds) == ("Void", 0)
    assert "Unschedulable: 0/1 nodes" in record.reason


@pytest.mark.parametrize("name", ["engine", "trial"])
def test_an_image_that_cannot_be_pulled_is_void_but_not_within_bad_minutes(name: str) -> None:
    waiting = container(name, state={"waiting": {"reason": "ImagePullBackOff", "message": "not found"}})
    where = "initContainerStatuses" if name == "engine" else "containerStatuses"
    status = {"phase": "Pending", "containerStatuses": [], "initContainerStatuses": [], where: [waiting]}
    assert recorded(status, minutes=2) is None
    record = recorded(status, minutes=6)
    assert record is not None
    assert record.outcome == "Void"
    assert f"container {name}: ImagePullBackOff: not found" in record.reason


def failed_job(reason: str, message: str = "") -> TrialRecord | None:
    job = a_job()
    job["status"] = {"conditions": [{"type": "Failed", "status": "True", "reason": reason, "message": message}]}
    return observe.record_of(job, [], LIMITS, NOW + datetime.timedelta(minutes=1))


def test_a_job_whose_pods_never_started_before_its_deadline_is_void() -> None:
    record = failed_job("DeadlineExceeded")
    assert record is not None
    assert record.outcome == "Void"


def test_a_job_failed_by_disruption_is_void_though_its_pod_is_gone() -> None:
    record = failed_job("PodFailurePolicy", "Pod ml/x has condition DisruptionTarget matching FailJob rule")
    assert record is not None
    assert (record.outcome, "disrupted" in record.reason) == ("Void", True)


def test_a_suspended_job_waits_for_its_queue() -> None:
    job = a_job()
    job["spec"]["suspend"] = True
    assert observe.record_of(job, [], LIMITS, NOW + datetime.timedelta(hours=9)) is None


# --- what follows from them ---


def failing(candidate: str, status: Object, times: int = 99) -> Any:
    """A script in which the first trials of one candidate leave that pod status."""
    play, seen = capacities(as_is=2.5, int8=4.0, int4=3.0), [0]

    def script(assignment: Any) -> Any:
        if isinstance(assignment, TrialAssignment) and assignment.candidate == candidate and seen[0] < times:
            seen[0] += 1
            return status
        return play(assignment)

    return script


DISRUPTED = {
    "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "x"}]
}


def entry(village: Village, candidate: str) -> Any:
    return next(one for one in village.run.status.candidates if one.id == candidate)


def test_a_void_trial_is_repeated_as_the_next_attempt() -> None:
    village = Village(script=failing("int8", DISRUPTED, times=1))
    village.settle()
    attempts = [
        (r.attempt, r.outcome) for r in village.run.status.trials if (r.purpose, r.subject) == ("Explore", "int8")
    ]
    assert attempts == [(1, "Void"), (2, "Succeeded")]
    assert village.status.proposal is not None
    assert village.status.proposal.candidate == "int8"


def test_after_the_retries_a_void_candidate_is_out_and_the_proof_says_it_is_open() -> None:
    village = Village(script=failing("int8", DISRUPTED))
    village.settle()
    assert entry(village, "int8").outcome == "Void"
    assert entry(village, "int8").attempts == 3
    (open_,) = [one for one in village.run.status.proof if one.candidate == "int8"]
    assert open_.evidence == "Open"


def test_a_crashed_engine_is_not_tried_again() -> None:
    engine = {"name": "engine", "restartCount": 1, "lastState": crashed(message="no kernel"), "state": {}}
    village = Village(
        script=failing(
            "int8",
            {
                "phase": "Running",
                "initContainerStatuses": [engine],
                "containerStatuses": [container("trial", **RUNNING)],
            },
        )
    )
    village.settle()
    assert (entry(village, "int8").outcome, entry(village, "int8").attempts) == ("EngineFailed", 1)
    assert village.status.proposal is not None
    assert village.status.proposal.candidate == "int4"


def test_a_baseline_that_cannot_be_measured_ends_the_run() -> None:
    engine = {"name": "engine", "restartCount": 1, "lastState": crashed(message="no such model"), "state": {}}
    village = Village(script=failing("as-is", {"initContainerStatuses": [engine]}))
    village.settle()
    assert village.condition("Optimized") == ("False", "BaselineFailed")
    assert "no such model" in village.message("Optimized")
    assert [record.purpose for record in village.run.status.trials] == ["Explore"]


def test_an_unreadable_question_set_is_said_after_one_trial() -> None:
    def script(assignment: Any) -> Any:
        return a_report(
            assignment, outcome="Void", reason="question set /x/q.jsonl: No such file", probes=(), answers=None
        )

    village = Village(script=script)
    village.settle()
    assert village.condition("Optimized") == ("False", "QuestionSetUnreadable")
    assert village.message("Optimized").startswith("spec.quality.questionSet: question set /x/q.jsonl: No such file")
    assert not village.applied
    assert len(village.run.status.trials) == 1


def quality(flipped: int) -> Any:
    play = capacities(as_is=2.5, int8=4.0, int4=3.0)

    def script(assignment: Any) -> Any:
        report = play(assignment)
        if isinstance(assignment, CompressAssignment) or not assignment.questions or assignment.candidate != "int8":
            return report
        return report.model_copy(update={"answers": answers(flipped=flipped)})

    return script


@pytest.mark.parametrize(("flipped", "outcome"), [(5, "Succeeded"), (24, "Undecided"), (80, "FailedQuality")])
def test_quality_is_judged_from_the_paired_answers(flipped: int, outcome: str) -> None:
    village = Village(script=quality(flipped))
    village.settle()
    found = entry(village, "int8")
    assert found.outcome == outcome
    assert found.quality.lost == flipped
    assert village.status.proposal is not None
    assert village.status.proposal.candidate == ("int8" if outcome == "Succeeded" else "int4")


def test_success_without_answers_is_undecided_never_a_pass() -> None:
    play = capacities(int8=9.0)

    def script(assignment: Any) -> Any:
        report = play(assignment)
        return (
            report
            if assignment.kind == "Compress" or assignment.candidate != "int8"
            else report.model_copy(update={"answers": None})
        )

    village = Village(script=script)
    village.settle()
    assert entry(village, "int8").outcome == "Undecided"


def test_candidates_that_share_weights_image_and_kv_type_are_asked_once() -> None:
    asked = []
    play = capacities(int8=4.0, int8_seqs128=4.5)

    def script(assignment: Any) -> Any:
        if isinstance(assignment, TrialAssignment) and assignment.questions:
            asked.append((assignment.candidate, assignment.baseline_answers is not None))
        return play(assignment)

    village = Village(spec=a_spec(search={"maxNumSeqs": [128]}), script=script)
    village.settle()
    assert asked == [("as-is", False), ("int8", True), ("int4", True)]
    assert entry(village, "int8-seqs128").outcome == "Succeeded"


def test_a_compress_job_that_fails_takes_its_candidates_out_unmeasured() -> None:
    play = capacities(int4=4.0)

    def script(assignment: Any) -> Any:
        if isinstance(assignment, CompressAssignment) and "int8" in assignment.artefact:
            return builders.a_compress_report(
                assignment, outcome="VolumeFull", reason="needs 5 GiB, 1 GiB free", sha256=None
            )
        return play(assignment)

    village = Village(script=script)
    village.settle()
    assert entry(village, "int8").outcome == "Unsupported"
    assert "needs 5 GiB" in entry(village, "int8").verdict
    assert [event.reason for event in village.events if event.type == "Warning"] == ["VolumeFull"]
    assert village.status.proposal is not None
    assert village.status.proposal.candidate == "int4"
