"""Where no candidate is ranked, the input at fault is named, and the figure of the remedy is one that helps."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from rightsizer_operator.sizing.estimate import nearest, questions, ranking
from rightsizer_operator.sizing.estimate.failures import NotEstimable
from rightsizer_operator.sizing.estimate.questions import Question, Serving

Asked = Callable[..., Question]


def explained(question: Question) -> NotEstimable:
    problem = nearest.nothing_ranked(question, ranking.ranked(question))
    assert problem is not None
    return problem


def test_nothing_is_to_be_said_where_a_candidate_is_ranked(asked: Asked) -> None:
    question = asked()
    assert nearest.nothing_ranked(question, ranking.ranked(question)) is None
    assert nearest.nothing_ranked(question, ()) is None


@pytest.mark.parametrize("metric", ["ttft", "tpot", "itl", "e2e"])
def test_a_limit_that_single_requests_hold_and_no_rate_does_is_named(asked: Asked, metric: str) -> None:
    found = ranking.ranked(asked())
    fastest = min(plan.alone_ms[metric] for plan in found if plan.alone_ms)
    question = asked(limits_ms={metric: fastest * 1.0001})
    problem = explained(question)
    assert problem.field == f"spec.slo.{metric}Ms"
    assert "although one request alone does" in problem.problem
    enough = float(problem.remedy.split("Allow ")[1].split(" ms")[0])
    assert any(plan.gpus for plan in ranking.ranked(replace(question, limits_ms={metric: enough})))


def test_what_fits_nowhere_asks_for_as_many_gpus_as_would_do(asked: Asked) -> None:
    question = asked(serving=Serving(), precisions=("AsIs",), most_gpus=1)
    problem = explained(question)
    assert problem.field == "spec.search.maxGPUsPerReplica"
    assert "does not fit: weights and overhead need" in problem.problem
    enough = int(problem.remedy.removeprefix("Allow ").split(" (as ")[0])
    assert any(plan.gpus for plan in ranking.ranked(replace(question, most_gpus=enough)))
    assert not any(
        plan.gpus for plan in ranking.estimated(question, questions.choices(replace(question, most_gpus=enough // 2)))
    )


def test_what_fits_but_holds_no_limit_on_fewer_gpus_asks_for_more(asked: Asked) -> None:
    """On two GPUs it fits, and a token takes 46 ms."""
    question = asked(serving=Serving(), precisions=("AsIs",), most_gpus=1, limits_ms={"tpot": 30.0})
    assert explained(question).remedy.startswith("Allow 4 (as as-is-tp4 needs)")


def test_what_more_gpus_do_not_help_asks_for_larger_ones(asked: Asked) -> None:
    question = asked(model="Meta-Llama-3-8B", gpu="L4", serving=Serving(), precisions=("AsIs",), most_gpus=1)
    tiny = replace(question, gpu=replace(question.gpu, memory_gib=2.0))
    problem = explained(tiny)
    assert problem.field == "spec.search.maxGPUsPerReplica"
    assert "GPUs with more memory" in problem.remedy
    assert problem.remedy.startswith("More per replica do not help")


def test_rules_that_exclude_everything_are_said(asked: Asked) -> None:
    question = asked(model="gpt-oss-20b", serving=Serving(parallelism=3), engines=(), most_gpus=1)
    problem = explained(question)
    assert problem.field == "spec.search"
    assert "do not divide 64 attention heads" in problem.problem


def test_a_limit_below_one_request_alone_stays_what_it_was(asked: Asked) -> None:
    question = asked(limits_ms={"ttft": 2.0})
    with pytest.raises(NotEstimable) as said:
        ranking.ranked(question)
    found = ranking.estimated(question, questions.choices(question))
    problem = nearest.nothing_ranked(question, found)
    assert problem is not None
    assert str(problem) == str(said.value)
