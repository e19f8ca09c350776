"""A run of strategy Rapid in status, explain and report: ranked, marked Estimated, nothing to approve."""

import html.parser

import pytest

from rightsizer_cli.assemble import assembled
from rightsizer_cli.kubectl import Object
from rightsizer_cli.page import document
from rightsizer_cli.result import Result
from rightsizer_cli.screen import detail
from rightsizer_cli.summary import summarised
from rightsizer_cli.tables import explanation, report
from tests.phases.builders import a_spec, a_target, some_settings
from tests.phases.village import Village


@pytest.fixture(scope="module")
def stored() -> tuple[Object, Object]:
    """Both objects as a cluster holds them after the operator has estimated."""
    spec = a_spec(
        model={"name": "meta-llama/Llama-3.1-8B-Instruct"},
        accelerator={"resource": "nvidia.com/gpu", "type": "NVIDIA-H100-80GB-HBM3"},
        workload={"static": {"inputTokens": 1000, "outputTokens": 200, "requestRate": "40"}},
        search={"strategy": "Rapid", "engines": ["VLLM", "TensorRTLLM"], "precisions": ["AsIs", "FP8", "INT8"]},
    )
    target = a_target(4, resources={"limits": {"nvidia.com/gpu": "1"}})
    place = Village(spec=spec, target=target, settings=some_settings())
    for _ in range(3):
        place.tick()
    run = place.run
    infdep = {"metadata": {"namespace": "ml", "name": "chat"}, "spec": spec.wire(), "status": place.status.wire()}
    metadata = {"name": run.name, "uid": run.uid}
    return infdep, {"metadata": metadata, "spec": run.spec.wire(), "status": run.status.wire()}


@pytest.fixture(scope="module")
def rapid(stored: tuple[Object, Object]) -> Result:
    return assembled(*stored)


def test_the_result_ranks_plans_with_figures_that_are_estimated(rapid: Result) -> None:
    assert rapid.decision.state == "Estimated"
    assert [plan.rank for plan in rapid.estimates] == [1, 2, 3]
    for plan in rapid.estimates:
        assert plan.rate_rps is not None
        assert plan.rate_rps.evidence == "Estimated"
        assert {figure.evidence for figure in plan.latencies_ms.values()} == {"Estimated"}
        assert plan.cost_per_million_tokens is not None
        assert plan.cost_per_million_tokens.evidence == "Estimated"
    assert rapid.after is None
    assert not rapid.decision.hash


def test_every_candidate_says_what_it_rests_on(rapid: Result) -> None:
    evidence = {one.candidate: one.evidence for one in rapid.candidates}
    assert evidence == {"as-is": "Estimated", "fp8": "Estimated", "int8": "Estimated", "trtllm": "Rule"}


def test_the_report_shows_the_ranking_and_that_nothing_was_started(rapid: Result) -> None:
    text = "\n".join(report(rapid))
    assert "Every figure is Estimated" in text
    assert "Nothing was started." in text
    assert "P95 TTFT" in text
    assert "Measured" not in text


def test_explain_tells_the_ranking_and_why_the_others_are_out(rapid: Result) -> None:
    text = "\n".join(explanation(rapid))
    assert "RATE/REPLICA" in text
    assert "engineImages.TensorRTLLM" in text
    assert "set spec.search.strategy to Thorough" in text or "best by estimate" in text


def test_status_lists_candidates_by_rank_and_offers_nothing_to_approve(stored: tuple[Object, Object]) -> None:
    summary = summarised(*stored)
    assert [one.rank for one in summary.candidates if one.rank] == [1, 2, 3]
    text = "\n".join(detail(summary, colours=False))
    assert "/s Estimated" in text
    assert "estimates only, nothing is started" in text
    assert "none: Rapid estimates only" in text
    assert "approve" not in text


def test_the_page_shows_them_and_is_whole(rapid: Result) -> None:
    text = document.page(rapid)
    assert "Estimated candidates, best first" in text
    assert "estimated, nothing was measured" in text
    html.parser.HTMLParser().feed(text)


def test_what_trials_taught_is_told_with_count_and_spread(infdep: Object, run: Object) -> None:
    entry = {"engine": "VLLM", "accelerator": "H200", "promptFactor": "1", "promptCount": 0, "decodeFactor": "1.3",
             "decodeCount": 4, "decodeSpread": "0.05"}  # fmt: skip
    run["status"]["efficiencies"] = [entry]
    told = assembled(infdep, run)
    said = "VLLM on H200: decoding 1.30 times as long as estimated (4 trials, spread 0.05)"
    assert said in "\n".join(report(told))
    assert said in "\n".join(explanation(told))
    assert said in document.page(told)
