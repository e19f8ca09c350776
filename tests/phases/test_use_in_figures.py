"""How busy a replica was is told for both sides at their rates, and on the new pods at the demand; what was not
measured says why.
"""

import dataclasses
from typing import Any

import pytest

from rightsizer_jobs.contract import EngineUse, TrialAssignment
from rightsizer_operator.phases import advance, observe
from rightsizer_operator.resource.status import GpuReading
from rightsizer_operator.sizing import figures
from tests.phases.builders import a_node, a_spec, a_target
from tests.phases.village import Village, capacities

PLAY = capacities(as_is=2.5, int8=4.0, int4=3.0)


def busy(**figures: Any) -> Any:
    """Every engine reports its use."""

    def script(assignment: Any) -> Any:
        report = PLAY(assignment)
        if not isinstance(assignment, TrialAssignment):
            return report
        rate = assignment.rate_rps or report.probes[0].rate_rps
        return report.model_copy(update={"use": EngineUse(rate_rps=rate, **figures)})

    return script


def settled(script: Any, **changes: Any) -> Village:
    village = Village(script=script, **changes)
    village.settle()
    return village


def test_both_sides_tell_how_busy_one_replica_was_and_at_which_rate() -> None:
    village = settled(busy(running=12.345, waiting=0.5, kv_usage=0.42, gpu_percent=87.0))
    current, proposal = village.status.current, village.status.proposal
    assert current is not None and current.use is not None
    assert (current.use.running, current.use.kv_cache_percent, current.use.gpu_percent) == ("12.3", "42", "87")
    assert proposal is not None and proposal.configuration.use is not None
    assert proposal.configuration.use.at_rps == proposal.configuration.certified_rps


def test_what_was_not_measured_says_why() -> None:
    village = settled(busy(gpu_unseen="pynvml is not installed in the trial image"))
    assert village.status.current is not None and village.status.current.use is not None
    use = village.status.current.use
    assert (use.running, use.gpu_percent) == (None, None)
    assert use.gpu_not_measured == "pynvml is not installed in the trial image"


def test_reports_of_older_trial_images_have_no_use() -> None:
    village = settled(PLAY)
    assert village.status.current is not None
    assert village.status.current.use is None


def test_the_new_pods_are_told_at_their_share_of_the_demand() -> None:
    village = settled(busy(running=3.0))
    village.approve()
    village.settle()
    assert village.status.current is not None and village.status.current.use_at_demand is not None
    assert village.status.current.evidence == "Observed"
    assert village.status.current.use_at_demand.at_rps == "3.75"


def test_a_client_is_told_how_many_gpus_its_engine_has_and_none_of_other_accelerators() -> None:
    def first_assignment(village: Village) -> TrialAssignment:
        for _ in range(3):
            village.tick()
        (job,) = village.jobs.values()
        found = observe.assignment_of(job)
        assert isinstance(found, TrialAssignment)
        return found

    assert first_assignment(Village(script=PLAY)).accelerators == 0
    gpu = "nvidia.com/gpu"
    limits = {"resources": {"limits": {gpu: "2", "memory": "6Gi"}}}
    args = ["--model", "/models/base", "--served-model-name", "chat", "--port", "8000", "--tensor-parallel-size", "2"]
    node = a_node(status={"allocatable": {gpu: "16"}})
    spec = a_spec(accelerator={"resource": gpu, "type": "NVIDIA-H100-80GB-HBM3"})
    village = Village(script=PLAY, spec=spec, target=a_target(args=args, **limits), nodes=[node])
    assert first_assignment(village).accelerators == 2


def at_both_rates(assignment: Any, play: Any) -> Any:
    """Every engine reports its use at its share of the demand, where it is asked for."""
    report, share = play(assignment), getattr(assignment, "demand_share_rps", None)
    told = EngineUse(rate_rps=share, running=2.0, gpu_unseen="no GPU is shown") if share else None
    return report.model_copy(update={"use_at_demand": told}) if isinstance(assignment, TrialAssignment) else report


def test_both_sides_are_measured_at_one_replicas_share_of_the_demand() -> None:
    village = settled(lambda assignment: at_both_rates(assignment, capacities(as_is=2.5, int8=6.0, int4=3.0)))
    current, proposal = village.status.current, village.status.proposal
    assert current is not None and proposal is not None and current.use_at_demand is not None
    after = proposal.configuration
    assert after.use_at_demand is not None
    share = 7.5  # of the demand in the examples, over the replicas of each side
    assert float(current.use_at_demand.at_rps) == pytest.approx(share / current.replicas, abs=1e-3)
    assert float(after.use_at_demand.at_rps) == pytest.approx(share / after.replicas, abs=1e-3)
    assert (current.use_at_demand.running, after.use_at_demand.running) == ("2", "2")


def test_only_the_baseline_and_certifications_are_watched_at_the_demand() -> None:
    asked: dict[tuple[str, str], float | None] = {}
    play = capacities(as_is=2.5, int8=6.0, int4=3.0)

    def script(assignment: Any) -> Any:
        if isinstance(assignment, TrialAssignment):
            asked[assignment.purpose, assignment.candidate] = assignment.demand_share_rps
        return play(assignment)

    village = settled(script)
    assert village.status.proposal is not None
    assert {subject for (_, subject), share in asked.items() if share} == {"as-is", village.status.proposal.candidate}
    assert all(share is None for (purpose, name), share in asked.items() if purpose == "Explore" and name != "as-is")


@pytest.mark.parametrize(("rate", "found"), [(2.0, 2.0), (2.09, 2.0), (1.91, 2.0), (2.2, None), (0.5, 0.5)])
def test_a_run_shows_a_rate_only_where_it_was_near(rate: float, found: float | None) -> None:
    seen = figures.nearest(rate, (EngineUse(rate_rps=one) for one in (0.5, 2.0, 9.0)))
    assert (seen and seen.rate_rps) == found


def test_places_of_the_batch_are_the_engines_own_figure_else_what_its_command_line_states() -> None:
    published = figures.use(EngineUse(rate_rps=1.0, running=12.0, slots=48.0), slots=256)
    assert published is not None and (published.slots, published.batch_percent) == ("48", "25")
    stated = figures.use(EngineUse(rate_rps=1.0, running=64.0), slots=256)
    assert stated is not None and (stated.slots, stated.batch_percent) == ("256", "25")
    unknown = figures.use(EngineUse(rate_rps=1.0, running=64.0))
    assert unknown is not None and (unknown.slots, unknown.batch_percent) == (None, None)


def with_readings(village: Village, reading: GpuReading) -> None:
    """Lives on, with a reading of Prometheus beside each trial that has just finished."""
    for _ in range(60):
        world = village.world()
        names = [job["metadata"]["name"] for job in world.jobs]
        village.perform(advance(dataclasses.replace(world, gpu_readings={name: (reading,) for name in names})))
        village.play_jobs()


def unseen_at_two(assignment: Any) -> Any:
    report = PLAY(assignment)
    use = EngineUse(rate_rps=2.0, gpu_unseen="no GPU is shown")
    return report.model_copy(update={"use": use}) if isinstance(assignment, TrialAssignment) else report


def test_what_prometheus_told_of_the_gpus_is_kept_with_the_trial_and_shown_with_its_query() -> None:
    village = Village(script=unseen_at_two)
    with_readings(village, GpuReading(at_rps="2", gpu_percent="71.5", dram_percent="40", query="avg(x)"))
    assert {one.gpu_readings[0].gpu_percent for one in village.run.status.trials if one.purpose != "Compress"} == {
        "71.5"
    }
    assert village.status.current is not None and village.status.current.use is not None
    use = village.status.current.use
    assert (use.gpu_percent, use.gpu_source, use.dram_percent, use.tensor_percent) == ("71.5", "DCGM", "40", None)
    assert (use.gpu_query, use.gpu_not_measured) == ("avg(x)", "")


def test_where_neither_saw_the_gpus_both_reasons_are_told() -> None:
    village = Village(script=unseen_at_two)
    with_readings(village, GpuReading(at_rps="2", not_read="no Prometheus is configured"))
    assert village.status.current is not None and village.status.current.use is not None
    assert village.status.current.use.gpu_percent is None
    assert village.status.current.use.gpu_not_measured == "no GPU is shown; no Prometheus is configured"


def test_a_reading_of_another_rate_or_beside_the_clients_own_figure_changes_nothing() -> None:
    reading = (GpuReading(at_rps="3", gpu_percent="71.5"),)
    other = figures.use(EngineUse(rate_rps=2.0, gpu_unseen="why"), reading)
    assert other is not None and (other.gpu_percent, other.gpu_not_measured) == (None, "why")
    own = figures.use(EngineUse(rate_rps=3.0, gpu_percent=50.0), reading)
    assert own is not None and (own.gpu_percent, own.gpu_source) == ("50", "NVML")
