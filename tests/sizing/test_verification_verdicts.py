"""What verify Jobs are worth together: enough samples within the limits pass, a clear miss fails, chance asks again."""

from typing import Any

import pytest

from rightsizer_jobs.contract import Slo, TrialReport, dump_report
from rightsizer_operator.resource.run import TrialRecord
from rightsizer_operator.sizing import verdicts
from tests.phases.builders import a_probe

SLO = Slo(itl_ms=50)


def a_record(requests: int = 0, violations: int = 0, outcome: str = "Succeeded", **probe: Any) -> TrialRecord:
    shares = {"itl": violations / requests if requests else 0.0}
    made = a_probe(2.0, 4.0).model_copy(update={"requests": requests, "violations": shares, **probe})
    probes = (made,) if requests else ()
    report = TrialReport(purpose="Verify", candidate="x", attempt=1, seed=1, outcome=outcome, probes=probes)  # type: ignore[arg-type]
    return TrialRecord(
        job="j", purpose="Verify", subject="x", attempt=1, outcome=outcome, reason="told so", report=dump_report(report)
    )


def verdict(*records: TrialRecord, last: bool = False) -> str:
    return verdicts.verification(records, SLO, last=last)[0]


def test_enough_samples_within_the_limits_pass() -> None:
    assert verdict(a_record(200, 10)) == "Pass"


@pytest.mark.parametrize("last", [False, True])
def test_too_few_samples_never_pass_nor_fail(last: bool) -> None:
    assert verdict(a_record(19, 0), last=last) == "Inconclusive"
    assert verdict(a_record(outcome="Void"), last=last) == "Inconclusive"


def test_samples_of_several_jobs_are_pooled() -> None:
    assert verdict(a_record(12, 1), a_record(12, 0)) == "Pass"
    assert verdict(a_record(12, 1), a_record(outcome="Void"), a_record(12, 0)) == "Pass"


def test_a_clear_miss_fails_at_once() -> None:
    assert verdict(a_record(200, 40, outcome="MissedSLO")) == "Fail"


def test_a_miss_that_may_be_chance_asks_for_more_and_fails_when_none_is_left() -> None:
    near = a_record(40, 3, outcome="MissedSLO")
    assert verdict(near) == "Inconclusive"
    assert verdict(near, last=True) == "Fail"


@pytest.mark.parametrize("outcome", ["EngineFailed", "EngineHung"])
def test_a_broken_engine_fails(outcome: str) -> None:
    assert verdict(a_record(outcome=outcome)) == "Fail"


def test_an_overload_that_stopped_the_run_fails() -> None:
    assert verdict(a_record(10, 0, outcome="MissedSLO", aborted=True)) == "Fail"


def test_a_miss_on_idle_pods_fails_without_samples() -> None:
    assert verdict(a_record(outcome="MissedSLO")) == "Fail"
