"""The race and the decision: fewest accelerators by certified rates, the budget respected, no Job where there is no
room.
"""

from typing import Any

import pytest

from rightsizer_jobs.contract import CompressAssignment, TrialAssignment
from tests.phases.builders import SLOT, a_node, a_report, a_spec, a_target, some_settings
from tests.phases.village import Village, a_job_pod, capacities


def settled(script: Any = None, **changes: Any) -> Village:
    village = Village(**{**({"script": script} if script else {}), **changes})
    village.settle()
    return village


def certified_rates(village: Village) -> list[float]:
    return [float(one.rate_rps or 0) for one in village.run.status.trials if one.purpose == "Certify"]


def entry(village: Village, candidate: str) -> Any:
    return next(one for one in village.run.status.candidates if one.id == candidate)


def missing(candidate: str, times: int) -> Any:
    """The first certifications of one candidate miss the limits."""
    play, seen = capacities(as_is=2.5, int8=4.0, int4=3.95), [0]

    def script(assignment: Any) -> Any:
        if (
            not isinstance(assignment, TrialAssignment)
            or assignment.purpose != "Certify"
            or assignment.candidate != candidate
        ):
            return play(assignment)
        seen[0] += 1
        return a_report(assignment, capacity=1.0) if seen[0] <= times else play(assignment)

    return script


# --- order ---


def test_the_baseline_comes_first_and_weights_are_made_before_their_trial_never_beside_one() -> None:
    village = settled()
    order = [(one.purpose, one.subject) for one in village.run.status.trials]
    assert [purpose for purpose, _ in order] == ["Explore", "Compress", "Explore", "Compress", "Explore", "Certify"]
    assert order[0] == ("Explore", "as-is")


def test_a_compress_job_may_work_as_long_as_the_operator_allows() -> None:
    seen: list[float] = []
    play = capacities(as_is=2.5, int8=4.0)

    def script(assignment: Any) -> Any:
        if isinstance(assignment, CompressAssignment):
            seen.append(assignment.deadline_s)
        return play(assignment)

    settled(script=script, settings=some_settings(compress_deadline_s=90_000))
    assert set(seen) == {90_000.0}


def test_jobs_run_one_at_a_time() -> None:
    village = Village()
    for _ in range(60):
        village.tick()
        assert len(village.jobs) <= 1
        village.play_jobs()


def test_all_explorations_share_a_seed_and_a_certification_has_its_own() -> None:
    seeds: dict[str, set[int]] = {"Explore": set(), "Certify": set()}
    play = capacities(as_is=2.5, int8=4.0)

    def script(assignment: Any) -> Any:
        if isinstance(assignment, TrialAssignment):
            seeds[assignment.purpose].add(assignment.seed)
        return play(assignment)

    settled(script)
    assert len(seeds["Explore"]) == 1
    assert not seeds["Explore"] & seeds["Certify"]


def test_each_challenger_is_told_the_rate_that_would_save_an_accelerator() -> None:
    village = settled(capacities(as_is=2.5, int8=4.0))
    bars = {one.subject: one.rate_rps for one in village.run.status.trials if one.purpose == "Explore"}
    assert bars == {"as-is": None, "int8": "2.5", "int4": "7.5"}


# --- certification ---


def test_a_missed_certification_steps_down_four_percent() -> None:
    village = settled(missing("int8", 1), spec=a_spec(search={"precisions": ["AsIs", "INT8"]}))
    first, second = certified_rates(village)
    assert second == pytest.approx(first * 0.96, abs=0.001)
    assert village.status.proposal is not None
    assert float(village.status.proposal.configuration.certified_rps or 0) == second


def test_after_three_steps_down_the_next_best_is_certified() -> None:
    village = settled(missing("int8", 99), spec=a_spec(workload={"static": {"requestRate": "3.0"}}))
    subjects = [one.subject for one in village.run.status.trials if one.purpose == "Certify"]
    assert subjects[:4] == ["int8"] * 4
    assert village.status.proposal is not None
    assert village.status.proposal.candidate == "int4"
    assert "missed the limits 4 times" in entry(village, "int8").verdict


def test_a_step_down_that_costs_an_accelerator_lets_another_candidate_lead() -> None:
    village = settled(missing("int8", 1), spec=a_spec(workload={"static": {"requestRate": "7.4"}}))
    subjects = [one.subject for one in village.run.status.trials if one.purpose == "Certify"]
    assert subjects[:2] == ["int8", "int4"]
    assert village.status.proposal is not None
    assert (village.status.proposal.candidate, village.status.proposal.gpus) == ("int4", "4 -> 2")


def test_only_a_certified_rate_is_proposed() -> None:
    village = settled()
    proposal = village.run.status.proposal
    assert proposal is not None
    assert float(proposal.certified_rps) in certified_rates(village)


def test_a_candidate_stopped_early_is_tried_again_when_the_bar_falls() -> None:
    play = missing("int8", 99)

    def script(assignment: Any) -> Any:
        if (
            isinstance(assignment, TrialAssignment)
            and assignment.candidate == "int4"
            and assignment.purpose == "Explore"
        ):
            bar = assignment.rate_to_beat_rps or 0.0
            if bar > 4:
                return a_report(assignment, outcome="CannotBeat", probes=(), reason=f"saturates below {bar:g}")
        return play(assignment)

    village = settled(script, spec=a_spec(workload={"static": {"requestRate": "7.2"}}))
    assert entry(village, "int4").attempts == 2
    assert village.status.proposal is not None
    assert (village.status.proposal.candidate, village.status.proposal.gpus) == ("int4", "4 -> 2")


# --- the decision ---


def test_the_baseline_at_a_smaller_size_is_a_proposal_too() -> None:
    village = settled(capacities(as_is=4.0, int8=4.1, int4=4.1))
    assert village.status.proposal is not None
    assert (village.status.proposal.candidate, village.status.proposal.gpus) == ("as-is", "4 -> 2")
    assert village.status.proposal.quality_drop_points == "0 (same weights, image and KV type)"


def test_a_baseline_too_small_for_the_demand_is_proposed_larger() -> None:
    village = settled(spec=a_spec(search={"precisions": ["AsIs"]}, workload={"static": {"requestRate": "13"}}))
    assert village.condition("SLOMet") == ("False", "Missed")
    assert village.status.proposal is not None
    assert village.status.proposal.gpus == "4 -> 6"


def test_nothing_better_keeps_the_baseline_and_proves_it() -> None:
    village = settled(capacities(as_is=2.5, int8=2.45, int4=2.45))
    assert village.condition("Optimized") == ("True", "NothingBetter")
    assert village.condition("ProposalReady") == ("False", "NothingBetter")
    assert not certified_rates(village)
    assert {one.candidate for one in village.run.status.proof} == {"as-is", "int8", "int4", "outside the search"}


def test_ties_go_to_the_baseline() -> None:
    village = settled(capacities(as_is=4.0, int8=4.4, int4=4.4))
    assert village.status.proposal is not None
    assert village.status.proposal.candidate == "as-is"


def test_when_nothing_meets_the_limits_every_cause_is_told() -> None:
    play = capacities()

    def script(assignment: Any) -> Any:
        report = play(assignment)
        if isinstance(assignment, CompressAssignment):
            return report
        return a_report(
            assignment, outcome="MissedSLO", capacity=0.001, reason="p95 itl 90 ms against 50 ms"
        ).model_copy(
            update={
                "probes": tuple(
                    probe.model_copy(update={"violations": {"ttft": 0.0, "itl": 0.9}}) for probe in report.probes
                )
            }
        )

    village = settled(script, spec=a_spec(workload={"static": {"requestRate": "7.2"}}))
    assert village.condition("Optimized") == ("False", "BaselineMissesSLO")
    assert "as-is: MissedSLO: p95 itl 90 ms against 50 ms" in village.message("Optimized")


def test_an_idle_baseline_that_misses_the_limits_ends_the_search_with_the_figure() -> None:
    def script(assignment: Any) -> Any:
        reason = "a single request on the idle engine already misses: p50 ttft 900 ms against 800 ms"
        return a_report(assignment, outcome="MissedSLO", probes=(), answers=None, reason=reason)

    village = settled(script, spec=a_spec(workload={"static": {"requestRate": "7.2"}}))
    assert village.condition("Optimized") == ("False", "SLOUnreachable")
    assert village.message("Optimized").startswith("spec.slo: the idle baseline misses the limits")
    assert "p50 ttft 900 ms against 800 ms. Raise the limit above" in village.message("Optimized")


def test_a_candidate_whose_replica_is_as_large_as_the_best_plan_is_not_tried() -> None:
    spec = a_spec(search={"precisions": ["AsIs"], "maxGPUsPerReplica": 8}, workload={"static": {"requestRate": "2.0"}})
    village = settled(spec=spec)
    tried = {one.subject for one in village.run.status.trials if one.purpose == "Explore"}
    assert tried == {"as-is"}
    larger = entry(village, "as-is-tp8")
    assert larger.outcome == "CannotBeat"
    assert "not tried: one replica has 8 accelerators" in larger.verdict


def test_batch_limits_are_tried_on_the_leader() -> None:
    village = settled(capacities(as_is=2.5, int8=3.0, int8_seqs128=4.2), spec=a_spec(search={"maxNumSeqs": [128, 512]}))
    assert [one.id for one in village.run.status.derived] == ["int8-seqs128", "int8-seqs512"]
    assert {one.parent for one in village.run.status.derived} == {"int8"}
    assert village.status.proposal is not None
    assert village.status.proposal.candidate == "int8-seqs128"


def test_every_candidate_has_one_verdict() -> None:
    village = settled(
        spec=a_spec(search={"engines": ["VLLM", "TensorRTLLM"], "precisions": ["AsIs", "INT8", "INT4", "BF16"]})
    )
    verdicts = {one.id: (one.outcome, one.verdict) for one in village.run.status.candidates}
    assert all(verdict for _, verdict in verdicts.values())
    assert verdicts["trtllm"] == (
        "Unsupported",
        f"TensorRT-LLM runs on NVIDIA GPUs only; the accelerator here is {SLOT}",
    )
    assert verdicts["int8"][1].startswith("won: certified")
    assert verdicts["int4"][1].startswith("lost to int8: ")


# --- budget and room ---


def test_the_number_of_trials_is_kept_and_one_is_held_back_for_the_certification() -> None:
    village = settled(spec=a_spec(search={"budget": {"maxTrials": 3}}))
    assert [one.purpose for one in village.run.status.trials] == ["Explore", "Compress", "Explore", "Certify"]
    assert village.status.proposal is not None
    assert village.run.status.trials_used == 3
    (left,) = [one for one in village.run.status.proof if one.candidate == "int4"]
    assert left.evidence == "Open"


def test_accelerator_hours_are_kept() -> None:
    village = settled(spec=a_spec(search={"budget": {"gpuHours": "0.4"}}))
    assert village.condition("Optimized") == ("False", "BudgetExhausted")
    assert "gpuHours" in village.message("Optimized")
    assert village.run.status.gpu_seconds <= 0.4 * 3600


def test_raising_the_budget_lets_the_run_go_on() -> None:
    village = settled(spec=a_spec(search={"budget": {"gpuHours": "0.4"}}))
    first = village.run.name
    village.change(search={"budget": {"gpuHours": "8"}})
    village.settle()
    assert village.run.name == first
    assert village.condition("ProposalReady")[0] == "True"


def test_the_deadline_ends_a_search_and_a_running_trial() -> None:
    village = Village(spec=a_spec(search={"budget": {"deadlineMinutes": 15}}), job_s=7200)
    for _ in range(3):
        village.tick()
    village.play_jobs()
    (pod,) = village.pods.values()
    running = {"running": {"startedAt": pod["status"]["startTime"]}}
    pod["status"] = {
        "phase": "Running",
        "startTime": pod["status"]["startTime"],
        "containerStatuses": [{"name": "trial", "restartCount": 0, "state": running}],
        "initContainerStatuses": [{"name": "engine", "restartCount": 0, "state": running}],
    }
    village.tick()
    (record,) = village.run.status.trials
    assert (record.outcome, record.reason) == ("Void", "the run's budget ended during this trial")
    village.settle()
    assert village.condition("Optimized") == ("False", "BudgetExhausted")


def test_a_trial_never_displaces_serving_pods_and_says_how_many_it_needs() -> None:
    village = Village(nodes=[a_node(slots=4)])
    village.settle()
    assert not village.created_jobs
    assert village.condition("Optimized") == ("Unknown", "AcceleratorsUnavailable")
    assert f"needs 1 free {SLOT} on one node; at most 0 are free" in village.status.activity
    village.nodes = [a_node(slots=5)]
    village.settle()
    assert village.condition("ProposalReady")[0] == "True"


def test_where_nodes_cannot_be_read_the_scheduler_decides_and_its_words_are_told() -> None:
    village = Village(nodes=None)
    for _ in range(4):
        village.tick()
    (name,) = village.created_jobs
    assert "may not list nodes" in village.message("Ready")
    assert village.condition("Optimized") == ("Unknown", "Measuring")
    waiting = a_job_pod(village.jobs[name], village.now, village.now, {"phase": "Pending"})
    text = f"0/3 nodes are available: 3 Insufficient {SLOT}."
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text}
    waiting["status"] = {"phase": "Pending", "conditions": [unscheduled]}
    village.pods[name] = waiting
    village.tick()
    assert village.condition("Optimized") == ("Unknown", "AcceleratorsUnavailable")
    assert text in village.status.activity
    del village.pods[name]
    village.settle()
    assert village.condition("ProposalReady")[0] == "True"
    village.approve()
    village.settle()
    assert village.condition("Applied") == ("True", "Applied")


def test_thousands_of_accelerators_are_counted_as_the_api_server_writes_them() -> None:
    village = Village(nodes=[a_node(status={"allocatable": {SLOT: "1k"}})])
    village.settle()
    assert village.condition("ProposalReady")[0] == "True"


@pytest.mark.parametrize(
    "node",
    [
        a_node(spec={"unschedulable": True}),
        a_node(status={"conditions": [{"type": "Ready", "status": "False"}]}),
        a_node(spec={"taints": [{"key": "gpu", "effect": "NoSchedule"}]}),
    ],
)
def test_accelerators_that_a_pod_could_not_use_are_not_counted(node: Any) -> None:
    village = Village(nodes=[node])
    village.settle()
    assert village.condition("Optimized") == ("Unknown", "AcceleratorsUnavailable")


def test_a_replica_needs_its_accelerators_on_one_node() -> None:
    village = Village(
        target=a_target(replicas=1, accelerators=2), nodes=[a_node(slots=3), a_node(slots=1, name="other")]
    )
    village.settle()
    assert "needs 2 free" in village.status.activity


def test_money_and_hours_count_from_pod_start() -> None:
    village = settled(settings=some_settings())
    seconds = sum(one.gpu_seconds for one in village.run.status.trials)
    assert village.run.status.gpu_seconds == seconds == 4 * 600
    assert float(village.run.status.money or 0) == pytest.approx(seconds / 3600 * 2.0, abs=1e-4)
    assert float(village.run.status.payback_hours or 0) == pytest.approx(seconds / 3600 * 2.0 / 4.0, abs=0.01)
