"""result.json: what it says, that every figure has its evidence class, and that nothing is guessed."""

import json
from pathlib import Path
from typing import Any

import pytest

from e2e.demo import story
from rightsizer_cli import levers, outcome, tables
from rightsizer_cli import result as documents
from rightsizer_cli.assemble import assembled
from rightsizer_cli.page import document
from rightsizer_cli.result import Result
from rightsizer_operator.resource.run import Candidate, RunStatus

Object = dict[str, Any]


def test_it_reads_back_as_written(result: Result) -> None:
    document = json.loads(json.dumps(result.wire()))
    assert Result.model_validate(document) == result
    assert document["schemaVersion"] == "rightsizer.dev/result/v1"


def test_the_same_objects_give_the_same_bytes(infdep: Object, run: Object) -> None:
    assert json.dumps(assembled(infdep, run).wire()) == json.dumps(assembled(infdep, run).wire())


def test_before_and_after_are_the_runs_own_figures(result: Result) -> None:
    assert result.before is not None
    assert result.after is not None
    assert (result.before.gpus, result.after.gpus, result.after.candidate) == (4, 2, "int8")
    assert (result.before.certified, result.after.certified) == (False, True)
    assert result.after.rate_rps is not None
    assert result.after.rate_rps.value == 1.936
    assert set(result.after.latencies_ms) == {"ttft", "itl"}


def test_cost_follows_from_price_demand_and_measured_rate(result: Result) -> None:
    assert result.before is not None
    assert result.before.cost_per_million_tokens is not None
    assert result.before.cost_per_million_tokens.value == pytest.approx(4 * 2.5 / (3.6 * 210 * 3600) * 1e6, rel=1e-3)
    (as_is, int8, *_) = result.ladder
    assert int8.capacity_rps is not None
    assert as_is.capacity_rps is not None
    assert int8.cost_per_million_tokens_at_capacity is not None
    assert int8.cost_per_million_tokens_at_capacity.value == pytest.approx(
        2.5 / (int8.capacity_rps.value * 210 * 3600) * 1e6
    )
    assert int8.times_as_is is not None
    assert int8.times_as_is.value == pytest.approx(int8.capacity_rps.value / as_is.capacity_rps.value)


def test_a_rung_says_what_saturates_it(result: Result) -> None:
    (as_is, int8, *_) = result.ladder
    assert as_is.saturation_rps is not None
    assert int8.saturation_rps is not None
    assert (as_is.saturation_rps.value, int8.saturation_rps.value) == (1.782, 3.17)
    assert int8.saturation_rps.evidence == "Measured"


def test_the_demo_compares_closed_loops_only_where_both_were_measured(result: Result) -> None:
    document = result.wire()
    lines = story.compared(document)
    assert lines[0] == ("INT8 weights and activations: 666 output tokens/s in a closed loop, as found 374: 1.78 times")
    document["ladder"][0].pop("saturationRps")
    assert story.compared(document) == []


def test_the_api_is_charged_for_input_and_output(result: Result) -> None:
    assert result.cost is not None
    assert result.cost.api is not None
    request = (1020 * 1.8 + 210 * 2.5) / 1e6
    assert result.cost.api.per_hour == pytest.approx(request * 3.6 * 3600)
    assert result.cost.api.break_even_rps == pytest.approx(5.0 / (request * 3600))


def test_headroom_is_told_as_asked_and_as_found(infdep: Object, run: Object) -> None:
    for accepted in (infdep["spec"], run["spec"]["accepted"]):
        accepted["sizing"] = {"headroomPercent": 20, "spareReplicas": 1}
    run["status"]["current"]["headroomPercent"] = "-12.5"
    found = assembled(infdep, run)
    assert (found.targets.headroom_percent, found.targets.spare_replicas) == (20, 1)
    assert found.before is not None and found.before.headroom_percent is not None
    assert found.before.headroom_percent.value == -12.5
    assert tables.load(found.targets) == "3.6 requests/s with 20 % headroom and 1 spare"


def test_the_proof_tells_what_one_replica_would_have_to_do(infdep: Object, run: Object) -> None:
    run["status"]["proof"][0].update(neededRps="3.6", shownRps="1.9")
    found = assembled(infdep, run).minimality
    assert found is not None
    assert (found.alternatives[0].needed_rps, found.alternatives[0].shown_rps) == (3.6, 1.9)


def test_every_figure_has_an_evidence_class(result: Result) -> None:
    def figures(document: object) -> list[dict[str, Any]]:
        if isinstance(document, list):
            return [found for item in document for found in figures(item)]
        if not isinstance(document, dict):
            return []
        own = [document] if "value" in document else []
        return own + [found for item in document.values() for found in figures(item)]

    found = figures(result.wire())
    assert len(found) > 40
    assert {figure["evidence"] for figure in found} <= {"Measured", "Estimated", "Observed"}


def test_without_a_price_there_is_no_cost_and_a_note_says_so(infdep: Object, run: Object) -> None:
    del run["spec"]["gpuHourly"]
    for side in (run["status"]["current"], *(c.get("configuration", {}) for c in run["status"]["candidates"])):
        for key in [key for key in side if key.startswith("costPer")]:
            del side[key]
    found = assembled(infdep, run)
    assert found.cost is None
    assert all(rung.cost_per_million_tokens_at_capacity is None for rung in found.ladder)
    assert any("No price" in note for note in found.notes)


def test_a_report_that_cannot_be_read_is_left_out_and_named(infdep: Object, run: Object) -> None:
    record = next(r for r in run["status"]["trials"] if r["subject"] == "int8" and r["purpose"] == "Explore")
    record["report"] = record["report"][:200]
    found = assembled(infdep, run)
    assert any(record["job"] in note for note in found.notes)
    curve = next(c for c in found.curves if c.candidate == "int8")
    assert {point.purpose for point in curve.points} == {"Certify"}


def test_an_open_proof_is_not_called_complete(infdep: Object, run: Object) -> None:
    run["status"]["proof"][0]["evidence"] = "Open"
    found = assembled(infdep, run)
    assert found.minimality is not None
    assert not found.minimality.complete
    assert any("Open" in note for note in found.notes)


def test_a_plan_that_only_an_estimate_rules_out_is_called_estimated_and_the_proof_not_complete(
    infdep: Object, run: Object
) -> None:
    entry = next(one for one in run["status"]["candidates"] if one["outcome"] == "Unsupported")
    entry["verdict"] = "not tried (Estimated): about 9 accelerators"
    run["status"]["proof"][0]["evidence"] = "Estimated"
    found = assembled(infdep, run)
    assert next(one for one in found.candidates if one.candidate == entry["id"]).evidence == "Estimated"
    assert found.minimality is not None
    assert not found.minimality.complete


def test_accuracy_of_the_baseline_and_of_the_winner_come_from_their_answers(result: Result) -> None:
    assert result.baseline_accuracy_percent is not None
    winner = next(c for c in result.quality if c.candidate == "int8")
    assert winner.accuracy_percent is not None
    assert result.baseline_accuracy_percent.value - winner.accuracy_percent.value == pytest.approx(
        100 * (420 - 266) / 14042
    )
    assert winner.verdict == "Pass"
    assert {c.candidate: c.verdict for c in result.quality}["int4"] == "Fail"


@pytest.mark.parametrize(
    ("outcome", "low", "high", "verdict"),
    [
        ("Succeeded", "0.90", "1.50", "Pass"),
        ("Undecided", "0.90", "1.50", "Undecided"),
        ("FailedQuality", "1.50", "3.00", "Fail"),
        ("CannotBeat", "0.90", "1.50", "Undecided"),
        ("CannotBeat", "0.90", "1.49", "Pass"),
    ],
)
def test_a_certificate_has_the_operators_word_where_the_rounded_bound_touches_the_limit(
    infdep: Object, run: Object, outcome: str, low: str, high: str, verdict: str
) -> None:
    entry = next(one for one in run["status"]["candidates"] if one["id"] == "int8")
    entry["outcome"] = outcome
    entry["quality"].update({"lowerPoints": low, "upperPoints": high})
    assert {c.candidate: c.verdict for c in assembled(infdep, run).quality}["int8"] == verdict


@pytest.mark.parametrize(("outcome", "attempts"), [("Void", 3), ("Pending", 1), ("Running", 1), ("Unsupported", 0)])
def test_a_candidate_of_which_nothing_was_seen_has_no_evidence(
    infdep: Object, run: Object, outcome: str, attempts: int
) -> None:
    entry = next(one for one in run["status"]["candidates"] if one["id"] == "int8w8a16")
    entry.update({"outcome": outcome, "attempts": attempts, "verdict": "the pod was disrupted"})
    assert {c.candidate: c.evidence for c in assembled(infdep, run).candidates}["int8w8a16"] == "None"


def test_combinations_that_a_run_has_no_place_for_are_out_by_no_rule(infdep: Object, run: Object) -> None:
    left = "40 further combinations were left out"
    more = {"id": "more", "engine": "VLLM", "precision": "AsIs", "excluded": left}
    run["spec"]["candidates"].append(more)
    run["status"]["candidates"].append({"id": "more", "outcome": "Unsupported", "verdict": left})
    found = {c.candidate: c.evidence for c in assembled(infdep, run).candidates}
    assert (found["more"], found["trtllm-int8"]) == ("None", "Rule")


def test_a_failed_engines_last_words_are_kept_and_nobody_elses(result: Result) -> None:
    tails = {c.candidate: c.log_tail for c in result.candidates if c.log_tail}
    assert set(tails) == {"int8w8a16"}
    assert "uint8b128" in tails["int8w8a16"]


def test_the_certificate_can_be_repeated_by_an_independent_tool(result: Result) -> None:
    assert result.repeat is not None
    assert "--request-rate 1.936" in result.repeat.command
    assert f"--random-seed {result.repeat.seed}" in result.repeat.command
    assert "--endpoint-type completions --streaming" in result.repeat.command


def test_a_certificate_over_chat_is_repeated_over_chat(infdep: Object, run: Object) -> None:
    run["spec"]["accepted"]["workload"]["api"] = "Chat"
    found = assembled(infdep, run)
    assert found.repeat is not None and "--endpoint-type chat --streaming" in found.repeat.command


def test_a_hostile_model_name_stays_one_word_of_the_command(infdep: Object, run: Object) -> None:
    run["spec"]["baseline"]["servedModelName"] = "x; rm -rf $HOME"
    found = assembled(infdep, run)
    assert found.repeat is not None
    assert "'x; rm -rf $HOME'" in found.repeat.command


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({}, "InProgress"),
        ({"phase": "Complete", "finishedAt": "2026-11-20T10:00:00Z"}, "NothingBetter"),
        ({"phase": "Exhausted", "finishedAt": "2026-11-20T10:00:00Z"}, "Exhausted"),
        ({"phase": "Superseded"}, "Superseded"),
        ({"phase": "Failed"}, "Failed"),
        ({"rollout": {"proposal": "4f0c2a9b81d7", "step": "VerifyTemplate", "since": ""}}, "Rewriting"),
        ({"rollout": {"proposal": "4f0c2a9b81d7", "step": "Applied", "since": ""}}, "Applied"),
        ({"rollout": {"proposal": "4f0c2a9b81d7", "step": "RolledBack", "since": ""}}, "RolledBack"),
        ({"rollout": {"proposal": "4f0c2a9b81d7", "step": "RollBackReplicas", "since": ""}}, "RolledBack"),
    ],
)
def test_run_and_rewrite_give_one_state(status: Object, state: str) -> None:
    assert outcome.state_of(RunStatus.model_validate(status)) == state


def test_what_was_seen_in_production_is_observed(infdep: Object, run: Object) -> None:
    seen = {"replicas": 2, "gpus": 2, "latencies": {"ttftMs": "610"}, "latenciesAtRps": "1.8"}
    run["status"]["rollout"] = {"proposal": "4f0c2a9b81d7", "step": "Applied", "since": "", "observed": seen}
    found = assembled(infdep, run)
    assert found.observed is not None
    assert found.observed.latencies_ms["ttft"].evidence == "Observed"


def test_a_run_that_has_only_begun_gives_a_result_without_figures(infdep: Object, run: Object) -> None:
    run["status"] = {}
    found = assembled(infdep, run)
    assert (found.before, found.after, found.ladder, found.minimality) == (None, None, (), None)
    assert {c.outcome for c in found.candidates} == {"Pending", "Unsupported"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"precision": "AsIs"}, "as found"),
        ({"precision": "INT8"}, "INT8 weights and activations"),
        ({"precision": "AsIs", "kv_cache": "FP8"}, "weights as found, FP8 KV cache"),
        ({"precision": "INT4", "parallelism": 2}, "INT4 weights, tensor parallelism 2"),
        ({"precision": "FP8", "engine": "TensorRTLLM"}, "FP8 weights, TensorRT-LLM"),
        ({"precision": "FP5"}, "FP5"),
    ],
)
def test_a_lever_is_named_in_words(fields: dict[str, Any], words: str) -> None:
    assert levers.lever(Candidate(id="c", **{"engine": "VLLM", **fields})) == words


def test_the_interval_of_a_share_stays_inside_it() -> None:
    low, high = levers.wilson(0, 10)
    assert (low, round(high, 3)) == (0.0, 0.278)
    assert levers.wilson(10, 10)[1] == pytest.approx(1.0)


def test_every_field_is_documented() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "report.md").read_text()
    obvious = {"target", "name", "namespace", "model", "command", "inputPerMillion", "outputPerMillion"}
    for type_ in documents.Document.__subclasses__():
        for field in type_.model_fields.values():
            name = field.alias or ""
            assert name in obvious or name in text, f"{type_.__name__}.{name}"


def test_several_tokens_a_chunk_are_said(infdep: Object, run: Object) -> None:
    assert not any("Tokens a chunk" in note for note in assembled(infdep, run).notes)
    record = next(r for r in run["status"]["trials"] if r["subject"] == "int8" and r["purpose"] == "Certify")
    record["report"] = json.dumps({**json.loads(record["report"]), "tokens_per_chunk": 4.02})
    (note,) = [note for note in assembled(infdep, run).notes if "Tokens a chunk" in note]
    assert note.startswith("Tokens a chunk: int8 4.02. ")
    assert "ITL is the gap between chunks" in note


TRACED = {"trace": {"path": "traces/chat.csv", "startSeconds": 0, "timeScale": "2"}}
FACTS = {
    "sha256": "c" * 64, "requests": 900, "seconds": 240.0, "mean_rps": 3.75, "busiest_minute_rps": 6.0,
    "input_tokens": 1020.4, "output_tokens": 210.2,
}  # fmt: skip


def test_the_targets_of_a_trace_are_what_a_trial_found_in_it(infdep: Object, run: Object) -> None:
    infdep["spec"]["workload"] = run["spec"]["accepted"]["workload"] = TRACED
    told = run["status"]["trials"][-1]
    told["report"] = json.dumps({**json.loads(told["report"]), "trace": FACTS})
    found = assembled(infdep, run)
    assert (found.targets.demand_rps, found.targets.input_tokens, found.targets.output_tokens) == (7.5, 1020, 210)
    assert found.targets.arrivals == "Trace"
    assert found.repeat is None
    assert any("No aiperf command repeats the certificate" in note for note in found.notes)


def test_the_command_that_repeats_a_certificate_has_the_spread_of_the_lengths(infdep: Object, run: Object) -> None:
    static = {"inputTokens": 1000, "inputTokensP95": 2500, "outputTokens": 210, "requestRate": "5.5"}
    load = {"static": {**static, "arrivals": "Gamma", "burstiness": "0.5"}}
    infdep["spec"]["workload"] = run["spec"]["accepted"]["workload"] = load
    found = assembled(infdep, run)
    assert found.repeat is not None
    assert "--synthetic-input-tokens-mean 1000 --synthetic-input-tokens-stddev 810.4" in found.repeat.command
    assert "--arrival-pattern gamma --arrival-smoothness 0.5" in found.repeat.command
    assert any("draws normal lengths" in note for note in found.notes)


def read_from_prometheus(infdep: Object, run: Object) -> None:
    """The same run, its demand read instead of stated."""
    static = run["spec"]["accepted"]["workload"]["static"]
    lengths = {key: value for key, value in static.items() if key != "requestRate"}
    infdep["spec"]["workload"] = {"prometheus": lengths}
    run["spec"]["peak"] = {
        "rateRps": static["requestRate"], "windowHours": 168, "averageMinutes": 5, "query": "max_over_time(<x>)",
        "readAt": "2026-03-01T12:00:00Z", "coveragePercent": "43.5",
    }  # fmt: skip


def test_a_demand_that_was_read_is_told_with_query_and_window(infdep: Object, run: Object) -> None:
    read_from_prometheus(infdep, run)
    found = assembled(infdep, run)
    assert found.targets.peak is not None
    assert (found.targets.demand_rps, found.targets.peak.rate_rps) == (3.6, 3.6)
    assert (found.targets.peak.query, found.targets.peak.coverage_percent) == ("max_over_time(<x>)", 43.5)
    assert not [note for note in found.notes if "has changed" in note]
    text = document.page(found)
    assert "max_over_time(&lt;x&gt;)" in text


def test_another_window_is_a_changed_spec(infdep: Object, run: Object) -> None:
    read_from_prometheus(infdep, run)
    infdep["spec"]["workload"]["prometheus"]["windowHours"] = 24
    assert [note for note in assembled(infdep, run).notes if "has changed" in note]


def test_how_busy_a_replica_was_is_told_and_what_was_not_measured_says_why(infdep: Object, run: Object) -> None:
    run["status"]["current"]["use"] = {
        "atRps": "1.4", "running": "12.3", "kvCachePercent": "42", "gpuNotMeasured": "<no> pynvml",
    }  # fmt: skip
    found = assembled(infdep, run)
    assert found.before is not None and found.before.use is not None
    assert found.before.use.running is not None
    assert (found.before.use.running.value, found.before.use.running.evidence) == (12.3, "Measured")
    assert found.before.use.gpu_percent is None
    told = chr(10).join(tables.report(found))
    assert "12.3 Measured at 1.40/s" in told
    assert "not measured (<no> pynvml)" in told
    assert "&lt;no&gt; pynvml" in document.page(found)
    run["status"]["current"]["use"].update(gpuPercent="87", gpuNotMeasured="")
    assert "87.0 % Measured at 1.40/s" in chr(10).join(tables.report(assembled(infdep, run)))


def test_both_rates_stand_one_below_the_other_with_who_told_of_the_gpus(infdep: Object, run: Object) -> None:
    run["status"]["current"]["use"] = {"atRps": "1.4", "running": "12", "slots": "48", "batchPercent": "25"}
    run["status"]["current"]["useAtDemand"] = {
        "atRps": "0.9", "running": "3", "gpuPercent": "31", "gpuSource": "DCGM", "dramPercent": "22",
        "gpuQuery": "up<1",
    }  # fmt: skip
    found = assembled(infdep, run)
    told = chr(10).join(tables.report(found))
    assert "requests running in one replica, at the demand" in told
    assert "3.00 Measured at 0.900/s" in told
    assert "25.0 % Measured at 1.40/s (48 places)" in told
    assert "31.0 % Measured at 0.900/s (DCGM, memory 22.0 %)" in told
    assert "Asked of Prometheus: up<1" in chr(10).join(tables.explanation(found))
    assert "up&lt;1" in document.page(found)
    assert found.wire()["before"]["useAtDemand"]["gpuPercent"] == {"value": 31.0, "evidence": "Measured"}  # type: ignore[index]
