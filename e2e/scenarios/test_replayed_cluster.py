"""A node of replayed H200s: three limits, three searches over both engines and every parallelism, each of which must
find the plan that exhaustive choice over the same recordings finds; and nothing of it may be called a measurement.
"""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.embedded import binaries
from e2e.embedded.node import Node
from e2e.scenarios import replayed
from e2e.scenarios.conftest import KEEP
from e2e.scenarios.replayed import CASES, Case, Decided
from e2e.scenarios.scene import spec_of, status_of
from e2e.stage import objects
from e2e.stage.cluster import Own
from e2e.stage.kubectl import Kubectl

pytestmark = pytest.mark.timeout(2100)
Everything = dict[Case, Decided]


@pytest.fixture(scope="module")
def gpus(say: Callable[[str], None]) -> Iterator[Kubectl]:
    """A node of its own: no engine, no model is needed."""
    own = Own(node=Node("replayed"))
    binaries.ensure(binaries.NODE)
    try:
        replayed.furnish(own, say)
        yield own.kubectl
    finally:
        if not KEEP:
            own.down()
            shutil.rmtree(replayed.FOLDER, ignore_errors=True)


@pytest.fixture(scope="module")
def decided(gpus: Kubectl, say: Callable[[str], None]) -> Everything:
    try:
        return replayed.search(gpus, say)
    except Exception:
        keep_evidence(gpus)
        raise


def keep_evidence(kubectl: Kubectl) -> None:
    folder = replayed.FOLDER.with_name("replayed-evidence")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "objects.yaml").write_text(
        kubectl.run("get", "infdep,optrun,jobs,pods", "-n", objects.NAMESPACE, "-o", "yaml")
    )


def report(kubectl: Kubectl, case: Case, form: str) -> str:
    program = str(Path(sys.executable).with_name("kubectl-rightsizer"))
    return kubectl.run("report", case.name, "-o", form, "-n", objects.NAMESPACE, program=program)


def test_each_engine_wins_a_case_and_each_case_another_parallelism() -> None:
    best = [{one.served for one in case.best()} for case in CASES]
    alone = {one.engine for found in best if len(found) == 1 for one in found}
    assert alone == {"VLLM", "TensorRTLLM"}
    assert [{one.parallelism for one in found} for found in best] == [{1}, {2}, {4}]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_search_finds_the_plan_that_exhaustive_choice_finds(decided: Everything, case: Case) -> None:
    best, found = case.best(), status_of(decided[case].run)
    assert found.proposal is not None, decided[case].infdep["status"].get("activity")
    candidate = next(one for one in spec_of(decided[case].run).candidates if one.id == found.proposal.candidate)
    assert (candidate.engine, candidate.parallelism) in {(one.served.engine, one.served.parallelism) for one in best}
    assert found.proposal.gpus == best[0].gpus(case.demand_rps)
    held = [one for one in found.trials if (one.purpose, one.subject) == ("Certify", candidate.id)]
    assert held[-1].outcome == "Succeeded"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_figure_is_replayed_and_none_measured(gpus: Kubectl, decided: Everything, case: Case) -> None:
    status = decided[case].infdep["status"]
    assert status["current"]["evidence"] == "Replayed"
    assert status["proposal"]["configuration"]["evidence"] == "Replayed"
    assert "Measured" not in {one.evidence for one in status_of(decided[case].run).proof}
    result = json.loads(report(gpus, case, "json"))
    assert f"on h200_sxm with VLLM at TP8, {case.time_scale} times as fast" in result["replayed"][0]
    assert re.findall(r'"evidence": *"(Measured|Observed)"', json.dumps(result)) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_page_says_replayed(gpus: Kubectl, decided: Everything, case: Case) -> None:
    page = report(gpus, case, "html")
    assert "Replayed, not measured: the engines answered with recorded latencies" in page
    assert "No GPU was used" in page


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_engines_answer_alike_and_quality_passes_without_a_drop(decided: Everything, case: Case) -> None:
    asked = [one.quality for one in status_of(decided[case].run).candidates if one.quality is not None]
    assert all((one.lost, one.won) == (0, 0) for one in asked)


def test_the_product_was_read_from_the_nodes_label(decided: Everything) -> None:
    assert {spec_of(one.run).accelerator_type for one in decided.values()} == {replayed.PRODUCT}
