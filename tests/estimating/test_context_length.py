"""Requests longer than the model's context are refused, with the field that states them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.sizing.estimate import questions, ranking, tables
from rightsizer_operator.sizing.estimate.failures import NotEstimable
from rightsizer_operator.sizing.estimate.questions import Question, Serving

Asked = Callable[..., Question]
HOURS = {"limits_ms": {"ttft": 3_000_000.0}, "demand_rps": 0.01}


def test_requests_beyond_the_context_are_refused_with_the_field(asked: Asked) -> None:
    with pytest.raises(NotEstimable) as said:
        ranking.ranked(asked(input_tokens=200_000, **HOURS))
    assert said.value.field == "spec.workload.static.inputTokens"
    assert "200200 tokens" in said.value.problem
    assert "131072" in said.value.problem
    assert "spec.model.architecture" in said.value.remedy


def test_requests_that_fill_the_context_are_not(asked: Asked) -> None:
    assert ranking.ranked(asked(input_tokens=131_072 - 200, **HOURS))


def test_a_context_that_is_not_stated_refuses_nothing(asked: Asked) -> None:
    question = asked(input_tokens=200_000, **HOURS)
    assert ranking.ranked(replace(question, model=replace(question.model, longest=0)))


def test_candidates_of_a_run_say_it_each_and_together(asked: Asked) -> None:
    question = asked(input_tokens=200_000, **HOURS)
    found = ranking.estimated(question, questions.choices(question))
    assert all("the context of Llama-3.1-70B is 131072" in plan.reason for plan in found)
    problem = ranking.unreachable(question, found)
    assert problem is not None
    assert problem.field == "spec.workload.static.inputTokens"
    assert ranking.latencies_at(question, found[0].choice, 0.01) is None


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"inputTokens": 100_000, "inputTokensP95": 120_000}, ""),
        ({"inputTokens": 100_000, "inputTokensP95": 140_000}, "one request in 20 has 140210 tokens"),
        ({"inputTokens": 130_000, "outputTokens": 2000}, "one request has 132000 tokens"),
    ],
)
def test_where_lengths_vary_long_requests_count(manifest: Callable[..., Path], change: dict, refused: str) -> None:
    file = manifest(**{f"workload__static__{name}": value for name, value in change.items()})
    spec = InferenceDeploymentSpec.model_validate(yaml.safe_load(file.read_text())["spec"])
    model, gpu = tables.published_model("Llama-3.1-70B"), tables.gpu("H100-SXM")
    assert model is not None
    assert gpu is not None
    problem = questions.beyond_context(questions.question(spec, model, gpu, Serving(), None))
    assert (refused in problem.problem) if problem else not refused


@pytest.mark.parametrize(
    ("model", "longest"),
    [("Meta-Llama-3-8B-Instruct", 8192), ("Llama-3.1-8B-Instruct", 131_072), ("Qwen3-30B-A3B", 40_960),
     ("Qwen3-30B-A3B-Instruct-2507", 262_144), ("Qwen3-235B-A22B-Instruct-2507", 262_144)],
)  # fmt: skip
def test_models_that_differ_in_their_context_alone_are_told_apart(model: str, longest: int) -> None:
    facts = tables.published_model(model)
    assert facts is not None
    assert facts.longest == longest
