"""How busy a replica was is told for both sides at their rates, and on the new pods at the demand; what was not
measured says why.
"""

from typing import Any

from rightsizer_jobs.contract import EngineUse, TrialAssignment
from rightsizer_operator.phases import observe
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
    assert village.status.current is not None and village.status.current.use is not None
    assert village.status.current.evidence == "Observed"
    assert village.status.current.use.at_rps == "3.75"


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
