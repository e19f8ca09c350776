"""The Job's entry: one variable in, one file out, and an exit code that says which of the two went wrong."""

import json
import os
import subprocess
import sys

import pytest

from rightsizer_jobs import __main__ as entry
from rightsizer_jobs.contract import ASSIGNMENT_VARIABLE, TrialReport, load_report


@pytest.fixture
def report_path(tmp_path):
    return tmp_path / "termination-log"


def environment(assignment, path):
    return {ASSIGNMENT_VARIABLE: assignment.model_dump_json(), entry.REPORT_PATH_VARIABLE: str(path)}


def test_a_failed_engine_is_still_a_successful_job(assign, unused_tcp_port, report_path):
    assignment = assign(f"http://127.0.0.1:{unused_tcp_port}", deadlines={"ready_s": 0.1})
    assert entry.main(environment(assignment, report_path)) == 0
    assert load_report(report_path.read_text()).outcome == "EngineFailed"


def test_the_module_runs_as_a_program(assign, unused_tcp_port, report_path):
    assignment = assign(f"http://127.0.0.1:{unused_tcp_port}", deadlines={"ready_s": 0.1})
    done = subprocess.run(
        [sys.executable, "-m", "rightsizer_jobs"],
        env=os.environ | environment(assignment, report_path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "report written: EngineFailed" in done.stderr
    assert load_report(report_path.read_text()).outcome == "EngineFailed"


@pytest.mark.parametrize(
    ("text", "named"), [("", "RIGHTSIZER_ASSIGNMENT"), ("{}", "kind"), ('{"kind":"Trial","seed":-1}', "purpose")]
)
def test_an_invalid_assignment_names_the_field_and_writes_no_report(text, named, report_path, caplog):
    code = entry.main({ASSIGNMENT_VARIABLE: text, entry.REPORT_PATH_VARIABLE: str(report_path)})
    assert code == 40
    assert named in caplog.text
    assert not report_path.exists()


def test_a_field_of_another_version_is_refused(assign, report_path):
    values = json.loads(assign("http://127.0.0.1:1").model_dump_json()) | {"surprise": 1}
    code = entry.main({ASSIGNMENT_VARIABLE: json.dumps(values), entry.REPORT_PATH_VARIABLE: str(report_path)})
    assert code == 40


def test_a_report_that_is_too_long_is_an_error_of_the_job(assign, report_path, monkeypatch):
    noise = os.urandom(6000).hex()
    long = TrialReport(purpose="Explore", candidate=noise, attempt=1, seed=1, outcome="Succeeded")
    monkeypatch.setattr(entry, "perform", lambda assignment: long)
    assert entry.main(environment(assign("http://127.0.0.1:1"), report_path)) == 41
    assert not report_path.exists()
