"""The race by estimate, the moves on the leader, and the budget that ends both: what is tried, in which order, and what
is said of what was not.
"""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rightsizer_jobs.contract import TrialAssignment
from rightsizer_jobs.workload import TraceFacts
from rightsizer_operator.resource.base import number
from rightsizer_operator.resource.workload import WorkloadSpec
from rightsizer_operator.sizing.estimate.model_config import _REMEDY as REMEDY
from tests.phases import builders
from tests.phases.builders import a_node, a_spec, a_target
from tests.phases.village import Killed, Village, capacities

H100 = "NVIDIA-H100-80GB-HBM3"
LLAMA = {
    "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 128_256, "intermediate_size": 14_336, "max_position_embeddings": 131_072,
}  # fmt: skip


def on_gpus(**changes: Any) -> Any:
    """A spec on accelerators that the estimator knows; the demand needs many of them."""
    told: Any = {
        "accelerator": {"type": H100},
        "slo": {"ttftMs": 1500, "itlMs": 60},
        "workload": {"static": {"inputTokens": 512, "outputTokens": 256, "requestRate": "300"}},
        "search": {"precisions": ["AsIs", "INT4", "INT8", "FP8"]},
    }
    return a_spec(**builders.merged(told, changes))


def describing(script: Any, model: Any = LLAMA) -> Any:
    """Whoever is asked what the model is tells it."""

    def play(assignment: Any) -> Any:
        report = script(assignment)
        if isinstance(assignment, TrialAssignment) and assignment.describe_model:
            return report.model_copy(update={"model": model})
        return report

    return play


def settled(script: Any, **changes: Any) -> Village:
    village = Village(**{"nodes": [a_node(slots=60)], "script": script, **changes})
    village.settle(600)
    return village


def explored(village: Village) -> list[str]:
    return [one.subject for one in village.run.status.trials if one.purpose == "Explore"]


def entry(village: Village, candidate: str) -> Any:
    return next(one for one in village.run.status.candidates if one.id == candidate)


# --- order and drop ---


def test_only_the_baseline_is_asked_what_the_model_is() -> None:
    asked: dict[str, bool] = {}

    def script(assignment: Any) -> Any:
        if isinstance(assignment, TrialAssignment):
            asked[f"{assignment.purpose} {assignment.candidate}"] = assignment.describe_model
        return capacities(as_is=2.5, int8=4.0)(assignment)

    settled(script)
    assert [who for who, yes in asked.items() if yes] == ["Explore as-is"]


def test_candidates_are_tried_best_estimate_first_from_the_model_that_the_baseline_reported() -> None:
    village = settled(describing(capacities(as_is=20.0, int8=30.0, int4=25.0, fp8=30.0)), spec=on_gpus())
    status = village.run.status
    estimated = {one.candidate: number(one.rate_rps or "0") for one in status.forecast}
    first, *others = explored(village)
    assert first == "as-is"
    assert others == sorted(others, key=lambda name: -estimated[name])
    assert others[0] in ("int8", "fp8")
    assert "config.json) on H100-SXM" in status.order
    assert {one.evidence for one in status.forecast} == {"Estimated"}


def test_a_trace_is_estimated_by_what_the_baseline_found_in_it() -> None:
    facts = TraceFacts(
        sha256="c" * 64,
        requests=900,
        seconds=90,
        mean_rps=10,
        busiest_minute_rps=12,
        input_tokens=900,
        output_tokens=90,
    )

    def script(assignment: Any) -> Any:
        report = describing(capacities(as_is=20.0, int8=30.0, int4=25.0, fp8=30.0))(assignment)
        return report.model_copy(update={"trace": facts}) if isinstance(assignment, TrialAssignment) else report

    spec = on_gpus()
    trace = WorkloadSpec.model_validate({"trace": {"path": "traces/chat.csv"}})
    village = settled(script, spec=spec.model_copy(update={"workload": trace}))
    status = village.run.status
    assert "on H100-SXM, by the mean lengths of the trace" in status.order
    rates = [number(one.rate_rps) for one in status.forecast if one.rate_rps]
    assert rates and len(set(rates)) > 1


def test_estimates_are_made_once_and_kept_with_the_run() -> None:
    village = settled(describing(capacities(as_is=20.0, int8=30.0)), spec=on_gpus())
    before = village.run.status.forecast
    village.settings = builders.some_settings(void_retries=5)
    village.tick()
    assert village.run.status.forecast == before != ()


@pytest.mark.parametrize(
    ("spec", "model", "word"),
    [
        (
            a_spec(),
            LLAMA,
            "cpu-core is not in the estimator's table. Have its facts added to the operator's setting gpus",
        ),
        (on_gpus(), None, "acme/chat is not in the table, and the baseline's trial told nothing. State spec.model."),
        (on_gpus(), {**LLAMA, "hidden_size": "large"}, "is no positive whole number"),
        (on_gpus(), {**LLAMA, "num_experts_per_tok": 2, "num_experts": 8, "first_k_dense_replace": "x"}, "config.json"),
        (on_gpus(), {**LLAMA, "mamba_d_state": 128}, "mamba_d_state: state-space and linear-attention layers are"),
        (on_gpus(), {**LLAMA, "mamba_d_state": 128}, f"are not known to the estimator. {REMEDY}"),
    ],
)
def test_where_gpu_or_model_is_unknown_the_planned_order_stays_and_that_is_said(
    spec: Any, model: Any, word: str
) -> None:
    village = settled(describing(capacities(as_is=2.5, int8=4.0), model), spec=spec)
    planned = [one.id for one in village.run.spec.candidates if not one.excluded]
    tried = explored(village)
    assert tried == [name for name in planned if name in tried]
    assert village.run.status.order.startswith("the planned order")
    assert word in village.run.status.order
    assert not village.run.status.forecast


def test_an_estimator_that_is_far_off_for_the_baseline_is_not_believed_at_all() -> None:
    spec = on_gpus(search={"precisions": ["AsIs", "INT8"], "maxGPUsPerReplica": 8})
    village = settled(describing(capacities(as_is=0.5, int8=0.8)), spec=spec)
    assert village.run.status.order.startswith("the planned order")
    assert "were measured" in village.run.status.order
    assert not any("(Estimated)" in one.verdict for one in village.run.status.candidates)


def test_a_far_loser_is_not_tried_and_its_word_is_estimated_never_measured() -> None:
    spec = on_gpus(search={"precisions": ["AsIs", "INT8"], "maxGPUsPerReplica": 8})
    village = settled(describing(capacities(as_is=20.0, int8=30.0)), spec=spec)
    left = [one for one in village.run.status.candidates if "(Estimated)" in one.verdict]
    assert left
    for one in left:
        assert one.outcome == "Unsupported"
        assert one.id not in explored(village)
        assert one.configuration is None
    told = {one.candidate: one.evidence for one in village.run.status.proof}
    assert {told[one.id] for one in left if one.id in told} <= {"Estimated"}


def test_when_the_favourites_fail_what_they_had_put_out_is_tried_after_all() -> None:
    spec = on_gpus(search={"precisions": ["AsIs", "INT8"], "maxGPUsPerReplica": 8})

    def script(assignment: Any) -> Any:
        report = capacities(as_is=20.0, int8=30.0)(assignment)
        broken = isinstance(assignment, TrialAssignment) and "tp" not in assignment.candidate
        if broken and assignment.candidate != "as-is":
            gone = {"outcome": "EngineFailed", "probes": (), "capacity": None, "saturation": None}
            return report.model_copy(update=gone)
        return report

    kept = set(explored(settled(describing(capacities(as_is=20.0, int8=30.0)), spec=spec)))
    assert set(explored(settled(describing(script), spec=spec))) > kept


# --- batching settings ---

LEVERS = ["MaxNumSeqs", "MaxNumBatchedTokens", "ChunkedPrefill", "MemoryFraction", "GraphSizes"]


def moved(script: Any, levers: Any = None, **changes: Any) -> Village:
    search = {"precisions": ["AsIs", "INT8"], "batching": levers or LEVERS}
    spec = a_spec(**builders.merged({"search": search, "workload": {"static": {"requestRate": "40"}}}, changes))
    return settled(script, spec=spec, target=a_target(replicas=16))


def test_defaults_come_first_then_one_setting_at_a_time_on_the_leader() -> None:
    village = moved(capacities(as_is=2.5, int8=4.0))
    derived = village.run.status.derived
    assert explored(village)[:2] == ["as-is", "int8"]
    assert explored(village)[2:] == [one.id for one in derived if not one.excluded]
    assert {one.parent for one in derived} == {"int8"}
    assert [one.id for one in derived][:2] == ["int8-seqs512", "int8-seqs128"]
    assert len(derived) <= 8


def test_a_setting_that_improves_is_the_new_leader_and_the_next_is_tried_from_there() -> None:
    village = moved(capacities(as_is=2.5, int8=4.0, int8_seqs512=5.0, int8_seqs512_tokens4096=5.9), LEVERS[:2])
    parents = {one.id: one.parent for one in village.run.status.derived}
    assert parents["int8-seqs512"] == "int8"
    assert parents["int8-seqs512-tokens4096"] == "int8-seqs512"
    winner = next(one for one in village.run.status.derived if one.id == "int8-seqs512-tokens4096")
    assert winner.serving is not None
    assert {"--max-num-seqs", "512", "--max-num-batched-tokens", "4096"} <= set(winner.serving.args)
    assert village.status.proposal is not None
    assert village.status.proposal.candidate == winner.id


def test_nothing_is_moved_where_no_setting_could_save_an_accelerator() -> None:
    village = moved(capacities(as_is=2.5, int8=4.0), workload={"static": {"requestRate": "7.5"}})
    assert village.status.proposal is not None
    assert village.run.status.derived == ()


def test_without_levers_nothing_is_moved() -> None:
    village = settled(capacities(as_is=2.5, int8=4.0), spec=a_spec(workload={"static": {"requestRate": "40"}}))
    assert village.run.status.derived == ()


def test_a_setting_that_the_command_line_fixes_is_named_and_costs_no_trial() -> None:
    target = a_target(replicas=16)
    target["spec"]["template"]["spec"]["containers"][0]["args"].append("--enforce-eager")
    spec = a_spec(
        search={"precisions": ["AsIs"], "batching": ["GraphSizes"]}, workload={"static": {"requestRate": "40"}}
    )
    village = settled(capacities(as_is=2.5), spec=spec, target=target)
    (derived,) = village.run.status.derived
    assert "--enforce-eager" in derived.excluded
    assert entry(village, derived.id).outcome == "Unsupported"
    assert explored(village) == ["as-is"]


def test_no_setting_is_tried_once_certification_has_begun() -> None:
    seen: list[str] = []

    def script(assignment: Any) -> Any:
        if isinstance(assignment, TrialAssignment):
            seen.append(assignment.purpose)
            if assignment.purpose == "Certify" and seen.count("Certify") <= 6:
                return builders.a_report(assignment, capacity=0.5)
        return capacities(as_is=2.5, int8=4.0)(assignment)

    village = moved(script, ["MaxNumSeqs"])
    assert "Explore" not in seen[seen.index("Certify") :]
    assert village.run.status.derived


@settings(max_examples=5, deadline=None)
@given(st.sets(st.sampled_from(LEVERS), min_size=1), st.dictionaries(st.integers(0, 40), st.just(True), max_size=3))
def test_killed_anywhere_the_moves_and_the_decision_are_the_same_and_nothing_is_measured_twice(
    levers: set[str], kills: dict[int, bool]
) -> None:
    def life(kills: dict[int, bool]) -> Village:
        rates = capacities(as_is=20.0, int8=30.0, int8_seqs2048=36.0, int8_tokens16384=33.0, int8_nochunks=32.0)
        spec = on_gpus(search={"precisions": ["AsIs", "INT8"], "batching": sorted(levers)})
        village = Village(nodes=[a_node(slots=60)], script=describing(rates), spec=spec)
        for _ in range(400):
            if len(village.writes) in kills and village.kill_before is None and kills.pop(len(village.writes)):
                village.kill_before = len(village.writes)
            try:
                step = village.tick()
            except Killed:
                continue
            if step.wake_after_s >= 300:
                break
            village.play_jobs()
        village.settle(400)
        return village

    undisturbed, disturbed = life({}), life(dict(kills))
    told = [
        json.loads(v.run.status.model_dump_json(include={"derived", "forecast", "order"}))
        for v in (undisturbed, disturbed)
    ]
    assert told[0] == told[1]
    assert sorted(undisturbed.created_jobs) == sorted(disturbed.created_jobs)
    assert undisturbed.run.status.proposal == disturbed.run.status.proposal


# --- budget ---


def test_money_ends_a_search_as_accelerator_hours_do_and_what_was_not_tried_says_so() -> None:
    village = settled(capacities(as_is=2.5, int8=4.0), spec=a_spec(search={"budget": {"money": "1.20"}}))
    assert village.status.proposal is not None
    left = entry(village, "int4")
    assert left.outcome == "Pending"
    assert "not tried: spec.search.budget.money" in left.verdict
    remaining = village.run.status.remaining
    assert remaining is not None
    assert number(remaining.money or "0") == pytest.approx(1.20 - number(village.run.status.money or "0"), abs=0.01)


def test_money_without_a_price_is_refused_with_what_to_set() -> None:
    spec = a_spec(search={"budget": {"money": "10"}})
    village = Village(spec=spec.model_copy(update={"cost": spec.cost.model_copy(update={"gpu_hourly": None})}))
    village.settle()
    assert village.condition("Stalled") == ("True", "PriceMissing")
    assert "spec.search.budget.money" in village.message("Stalled")
    assert "spec.cost.gpuHourly" in village.message("Stalled")


def test_money_that_covers_no_trial_is_refused() -> None:
    village = Village(spec=a_spec(search={"budget": {"money": "0.01"}}))
    village.settle()
    assert village.condition("Stalled") == ("True", "BudgetTooSmall")
    assert "spec.search.budget.money" in village.message("Stalled")


def test_exploring_leaves_room_for_the_certification() -> None:
    """With room for one more trial but not for a certification behind it, the leader is certified instead."""
    spec = a_spec(search={"budget": {"gpuHours": "0.6", "maxTrials": 24}})
    village = settled(capacities(as_is=2.5, int8=4.0, int4=4.0), spec=spec)
    assert village.status.proposal is not None
    assert village.run.status.gpu_seconds <= 0.6 * 3600
    assert "spec.search.budget.gpuHours" in entry(village, "int4").verdict


def test_a_deadline_leaves_room_for_the_certification() -> None:
    spec = a_spec(search={"budget": {"deadlineMinutes": 45}})
    village = settled(capacities(as_is=2.5, int8=4.0, int4=4.0), spec=spec)
    assert village.status.proposal is not None
    assert "spec.search.budget.deadlineMinutes" in entry(village, "int4").verdict


def test_where_the_budget_ends_with_the_baseline_ahead_that_is_no_success() -> None:
    spec = a_spec(search={"budget": {"maxTrials": 2}}, workload={"static": {"requestRate": "9"}})
    village = settled(capacities(as_is=2.5, int8=4.0), spec=spec)
    assert village.condition("Optimized") == ("False", "BudgetExhausted")
    assert "the baseline stays" in village.message("Optimized")
    assert "2 candidates not tried" in village.message("Optimized")


def test_what_is_left_of_the_budget_is_in_the_runs_status() -> None:
    village = settled(capacities(as_is=2.5, int8=4.0), spec=a_spec(search={"budget": {"gpuHours": "8"}}))
    status = village.run.status
    assert status.remaining is not None
    assert status.remaining.trials == 24 - status.trials_used
    assert number(status.remaining.gpu_hours or "0") == pytest.approx(8 - status.gpu_seconds / 3600, abs=0.001)
    assert status.remaining.deadline == "2026-03-01T18:00:00Z"
    assert status.remaining.money is None
