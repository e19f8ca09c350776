"""From a question to ranked candidates: rules, fit, rates, accelerators, cost."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from rightsizer_operator.sizing import cost, gpus
from rightsizer_operator.sizing.estimate import batching, capacity, memory, questions, ranking, steps, tables
from rightsizer_operator.sizing.estimate.failures import NotEstimable
from rightsizer_operator.sizing.estimate.questions import Question, Serving
from rightsizer_operator.sizing.estimate.ranking import Planned

Asked = Callable[..., Question]


def by_id(found: tuple[Planned, ...]) -> dict[str, Planned]:
    return {plan.choice.id: plan for plan in found}


def test_every_candidate_is_ranked_or_says_why_not(asked: Asked) -> None:
    found = ranking.ranked(asked(engines=("VLLM", "TensorRTLLM"), precisions=("AsIs", "FP8", "INT8", "INT4")))
    assert len(by_id(found)) == len(found)
    for plan in found:
        assert plan.evidence == "Estimated"
        assert bool(plan.gpus) != bool(plan.reason)


def test_the_plan_is_the_arithmetic_of_its_rate(asked: Asked) -> None:
    question = asked(demand_rps=30.0)
    for plan in ranking.ranked(question):
        if plan.gpus:
            assert plan.replicas == gpus.replicas_for(gpus.Requirement(30.0), plan.rate_rps)
            assert plan.gpus == plan.replicas * plan.choice.parallelism
            hourly = cost.per_hour(plan.gpus, "4.00")
            assert plan.cost_per_million_tokens == cost.per_million_tokens(hourly, 30.0 * 200)


def test_headroom_and_spare_replicas_are_planned_offline_too(asked: Asked) -> None:
    plain, kept = asked(demand_rps=12.0), asked(demand_rps=12.0, headroom_percent=50, spare_replicas=1)
    as_is, roomy = (by_id(ranking.ranked(one))["as-is"] for one in (plain, kept))
    assert roomy.rate_rps == as_is.rate_rps
    assert roomy.replicas == gpus.replicas_for(gpus.Requirement(12.0, 50, 1), roomy.rate_rps)
    assert roomy.gpus > as_is.gpus


def test_simulated_candidates_meet_the_limits_at_the_demand(asked: Asked) -> None:
    question = asked(demand_rps=12.0)
    simulated = [plan for plan in ranking.ranked(question) if plan.method == "Simulation" and plan.gpus]
    assert simulated
    for plan in simulated:
        assert plan.latencies_ms["ttft"] <= 1500 * 1.1
        assert plan.latencies_ms["tpot"] <= 60 * 1.1


def test_fewest_accelerators_come_first_among_the_simulated(asked: Asked) -> None:
    counts = [plan.gpus for plan in ranking.ranked(asked()) if plan.method == "Simulation" and plan.gpus]
    assert counts == sorted(counts)


def test_tighter_limits_never_raise_a_rate(asked: Asked) -> None:
    loose = by_id(ranking.ranked(asked()))["fp8"]
    tight = by_id(ranking.ranked(asked(limits_ms={"ttft": 1500.0, "tpot": 22.0})))["fp8"]
    assert 0 < tight.rate_rps < loose.rate_rps


def test_the_roofline_is_near_the_simulation(asked: Asked) -> None:
    question = asked()
    for choice in questions.choices(question):
        if choice.id not in ("as-is", "fp8", "fp8-tp2"):
            continue
        configuration = questions.configured(question, choice)
        of = tables.efficiencies(choice.engine, question.gpu.name)
        clock = steps.clock(configuration, of)
        limits = batching.limits(configuration.rules, of, memory.memory(configuration, 1200).kv_tokens)
        quick = capacity.roofline(clock, limits, question)
        assert quick is not None
        precise = capacity.simulated(clock, limits, question, quick.rate_rps)
        assert precise is not None
        assert quick.rate_rps == pytest.approx(precise.rate_rps, rel=0.5)


@pytest.mark.parametrize(
    ("change", "id_", "said"),
    [
        ({"engines": ("TensorRTLLM",), "precisions": ("AsIs", "INT8")}, "trtllm-int8", "without an error"),
        ({"gpu": "A100-80GB"}, "fp8", "no FP8 arithmetic"),
        ({"gpu": "B300", "precisions": ("AsIs", "INT8")}, "int8", "no INT8 tensor arithmetic"),
        ({"precisions": ("AsIs", "BF16")}, "bf16", "the same as AsIs"),
        ({"model": "DeepSeek-V3", "gpu": "B300", "precisions": ("AsIs", "INT4"), "most_gpus": 8}, "int4-tp8",
         "needs unquantized weights"),
        ({"model": "gpt-oss-20b", "serving": Serving(parallelism=3)}, "as-is", "do not divide 64 attention heads"),
        ({}, "as-is-tp1", "does not fit: weights and overhead need"),
        ({"limits_ms": {"tpot": 12.0}}, "as-is", "one request alone needs"),
    ],
)  # fmt: skip
def test_an_excluded_candidate_says_which_rule(asked: Asked, change: dict, id_: str, said: str) -> None:
    plan = by_id(ranking.ranked(asked(**change)))[id_]
    assert said in plan.reason
    assert not plan.gpus


@pytest.mark.parametrize(("metric", "limit"), [("ttft", 2.0), ("tpot", 1.0), ("itl", 1.0), ("e2e", 100.0)])
def test_a_limit_below_one_request_alone_is_an_error_that_names_it(asked: Asked, metric: str, limit: float) -> None:
    with pytest.raises(NotEstimable) as said:
        ranking.ranked(asked(limits_ms={metric: limit}))
    assert said.value.field == f"spec.slo.{metric}Ms"
    assert "one request alone" in said.value.problem
    enough = float(said.value.remedy.split("Allow at least ")[1].split(" ms")[0])
    ranking.ranked(asked(limits_ms={metric: enough}))


@pytest.mark.parametrize("gpu", ["L40S", "A100-80GB", "H100-PCIe", "H100-SXM", "H200", "B200", "B300"])
@pytest.mark.parametrize("model", ["Llama-3.1-8B", "Qwen3-30B-A3B", "gpt-oss-120b", "DeepSeek-V3"])
def test_other_models_and_gpus_give_sane_figures(asked: Asked, model: str, gpu: str) -> None:
    question = asked(model=model, gpu=gpu, serving=Serving(parallelism=8), precisions=("AsIs",), most_gpus=8)
    plan = by_id(ranking.ranked(question)).get("as-is")
    assert plan is not None
    if plan.gpus:
        assert 0.05 < plan.rate_rps < 1000
        assert 2 < plan.alone_ms["tpot"] < 60
    else:
        assert plan.reason
        assert (model, gpu) in {("DeepSeek-V3", "L40S"), ("DeepSeek-V3", "A100-80GB"), ("DeepSeek-V3", "H100-PCIe"),
                                ("DeepSeek-V3", "H100-SXM")}  # fmt: skip


def test_a_mixture_of_experts_is_faster_than_a_dense_model_of_its_size(asked: Asked) -> None:
    serving = {"serving": Serving(parallelism=4), "precisions": ("AsIs",)}
    sparse = by_id(ranking.ranked(asked(model="gpt-oss-120b", **serving)))["as-is"]
    dense = by_id(ranking.ranked(asked(model="Llama-3.1-70B", **serving)))["as-is"]
    assert sparse.alone_ms["tpot"] < 0.6 * dense.alone_ms["tpot"]
    assert sparse.rate_rps > 2 * dense.rate_rps


def test_of_five_hundred_candidates_the_best_are_simulated(asked: Asked) -> None:
    question = asked(
        engines=("VLLM", "TensorRTLLM"),
        precisions=("AsIs", "FP8", "INT8", "INT8W8A16", "INT4"),
        kv_types=("Auto", "FP8"),
        batch_limits=(32, 64, 128, 256, 512),
        most_gpus=16,
    )
    found = ranking.ranked(question, simulated=2)
    assert len(found) >= 500
    assert 2 <= sum(plan.method == "Simulation" for plan in found) <= 10
    assert all(plan.method == "Simulation" for plan in found[:2])


LONG_PROMPTS = {
    "engines": ("VLLM", "TensorRTLLM"), "precisions": ("AsIs", "FP8", "INT8", "INT4"), "kv_types": ("Auto", "FP8"),
    "most_gpus": 8, "input_tokens": 8000, "output_tokens": 20, "demand_rps": 40.0, "percentile": 99,
    "limits_ms": {"ttft": 30000.0, "itl": 200.0}, "serving": Serving(),
}  # fmt: skip
"""Here the roofline puts those first that the simulation puts last."""


def test_no_candidate_shows_fewer_accelerators_than_the_first(asked: Asked) -> None:
    found = [plan for plan in ranking.ranked(asked(**LONG_PROMPTS), simulated=5) if plan.gpus]
    assert found[0].method == "Simulation"
    assert {plan.method for plan in found} == {"Simulation", "Roofline"}
    assert all(found[0].gpus <= plan.gpus for plan in found)


def test_the_first_is_the_one_that_simulating_every_candidate_finds(asked: Asked) -> None:
    question = asked(**LONG_PROMPTS)
    few, all_of_them = ranking.ranked(question), ranking.ranked(question, simulated=1000)
    assert few[0] == all_of_them[0]


def test_while_no_simulated_candidate_holds_the_limits_more_are_simulated(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    precise = capacity.simulated
    calls: list[float] = []

    def only_the_third(*given: object) -> capacity.Estimate | None:
        calls.append(0.0)
        return precise(*given) if len(calls) == 3 else None  # type: ignore[arg-type]

    monkeypatch.setattr(capacity, "simulated", only_the_third)
    found = ranking.ranked(asked(kv_types=("Auto", "FP8")), simulated=1)
    assert len(calls) >= 3
    assert found[0].method == "Simulation"
    assert found[0].gpus


def test_by_roofline_fewest_accelerators_come_first_too(asked: Asked) -> None:
    counts = [plan.gpus for plan in ranking.ranked(asked(**LONG_PROMPTS)) if plan.method == "Roofline" and plan.gpus]
    assert counts == sorted(counts)


def test_small_rates_are_told_apart(asked: Asked) -> None:
    """Both need one replica; the one with the larger rate comes first, by less than 0.001/s though it is, and not the
    one with the shorter name."""
    rare = asked(
        model="Llama-3.1-8B", serving=Serving(parallelism=8), demand_rps=1e-6, most_gpus=8, input_tokens=1000,
        output_tokens=120_000, limits_ms={"e2e": 36_000_000.0}, batch_limits=(9, 10), precisions=("AsIs",),
    )  # fmt: skip
    found = by_id(ranking.ranked(rare))
    nine, ten = found["as-is-seqs9"], found["as-is-seqs10"]
    assert nine.gpus == ten.gpus == 8
    assert 0 < ten.rate_rps - nine.rate_rps < 0.008
    assert list(found).index("as-is-seqs10") < list(found).index("as-is-seqs9")


def compressed(question: Question, weights: str) -> Question:
    return replace(question, model=replace(question.model, weights=weights))


@pytest.mark.parametrize("weights", ["INT8", "INT4"])
def test_integer_weights_of_the_checkpoint_itself_are_refused_with_tensorrt(asked: Asked, weights: str) -> None:
    found = by_id(ranking.ranked(compressed(asked(engines=("VLLM", "TensorRTLLM"), precisions=("AsIs",)), weights)))
    assert found["as-is"].gpus
    assert f"the weights served are {weights}" in found["trtllm-as-is"].reason


def test_integer_weights_that_tensorrt_serves_today_are_let_pass(asked: Asked) -> None:
    serving = Serving(engine="TensorRTLLM", parallelism=4, replicas=1)
    question = compressed(asked(engines=("TensorRTLLM",), precisions=("AsIs",), serving=serving), "INT4")
    assert by_id(ranking.ranked(question))["as-is"].gpus


def test_a_checkpoint_in_fp8_needs_the_arithmetic_with_tensorrt_and_not_with_vllm(asked: Asked) -> None:
    choices = {"engines": ("VLLM", "TensorRTLLM"), "precisions": ("AsIs",), "gpu": "A100-80GB"}
    found = by_id(ranking.ranked(compressed(asked(**choices), "FP8")))
    assert found["as-is"].gpus
    assert "A100-80GB has no FP8 arithmetic" in found["trtllm-as-is"].reason
    on_hopper = by_id(ranking.ranked(compressed(asked(**{**choices, "gpu": "H100-SXM"}), "FP8")))
    assert on_hopper["trtllm-as-is"].gpus


def test_the_same_question_gives_the_same_answer(asked: Asked) -> None:
    assert ranking.ranked(asked()) == ranking.ranked(replace(asked()))
