"""Measured trials correct the estimates of the next run."""

import datetime
from dataclasses import replace
from typing import Any

from rightsizer_jobs.contract import TrialAssignment
from rightsizer_operator.phases import estimates, learning
from rightsizer_operator.resource.run import Efficiency
from rightsizer_operator.sizing.estimate import ranking, tables
from tests.phases import builders
from tests.phases.builders import a_spec, a_target, some_settings
from tests.phases.village import Village

PRODUCT = "NVIDIA-H100-80GB-HBM3"
SPEC: dict[str, Any] = {
    "model": {"name": "meta-llama/Llama-3.1-8B-Instruct"},
    "accelerator": {"resource": "nvidia.com/gpu", "type": PRODUCT},
    "slo": {"ttftMs": 2000, "itlMs": 200},
    "workload": {"static": {"inputTokens": 1000, "outputTokens": 200, "requestRate": "12"}},
}
NODE = {
    "metadata": {"name": "node", "labels": {"nvidia.com/gpu.product": PRODUCT}},
    "spec": {},
    "status": {"allocatable": {"nvidia.com/gpu": "16"}, "conditions": [{"type": "Ready", "status": "True"}]},
}
RATE = 2.0


def slower(village: Village, assignment: TrialAssignment, times: float, told: Any = None) -> Any:
    """The report of an engine that decodes so many times as long as estimated."""
    run = village.run.spec
    asked = estimates.question_of(run, village.settings, told)
    assert asked is not None
    candidate = next(one for one in run.candidates if one.id == assignment.candidate)
    found = ranking.latencies_at(asked, estimates.choice_of(candidate, run.baseline), RATE)
    assert found is not None
    probe = builders.a_probe(RATE, RATE).model_copy(
        update={"p_ms": {"ttft": found["ttft"], "itl": found["itl"] * times}, "violations": {"ttft": 0.0, "itl": 0.0}}
    )
    return builders.a_report(assignment, probes=(probe,))


def village(times: float = 1.3, **changes: Any) -> Village:
    target = a_target(4, resources={"limits": {"nvidia.com/gpu": "1"}})
    place = Village(
        spec=a_spec(**{**SPEC, "search": {"precisions": ["AsIs"]}, **changes}), target=target, settings=some_settings(),
        nodes=[NODE],
    )  # fmt: skip
    place.script = lambda assignment: slower(place, assignment, times)
    return place


def until_measured(place: Village) -> Village:
    for _ in range(40):
        place.tick()
        place.play_jobs()
        place.now += datetime.timedelta(seconds=30)
        if place.runs and place.run.status.trials:
            return place
    raise AssertionError("no trial ended")


def test_a_trial_leaves_its_factors_with_count_in_the_run() -> None:
    place = until_measured(village())
    (found,) = place.run.status.efficiencies
    assert (found.engine, found.accelerator) == ("VLLM", "H100-SXM")
    assert (found.decode_count, found.prompt_count) == (1, 1)
    assert abs(float(found.decode_factor) - 1.3) < 0.01
    assert abs(float(found.prompt_factor) - 1.0) < 0.01
    assert found.decode_spread is None


def test_the_next_run_estimates_with_what_the_last_one_taught() -> None:
    place = until_measured(village())
    left = place.run.status.efficiencies
    place.spec = a_spec(**{**SPEC, "search": {"precisions": ["AsIs"], "strategy": "Rapid"}})
    place.generation += 1
    for _ in range(8):
        place.tick()
    assert place.run.spec.learned == left
    assert place.run.status.efficiencies == left
    asked = estimates.question_of(place.run.spec, place.settings)
    assert asked is not None
    own = tables.efficiencies("VLLM", "H100-SXM", asked.efficiencies)
    assert own.layer_us > tables.efficiencies("VLLM", "H100-SXM").layer_us
    assert tables.efficiencies("VLLM", "H200", asked.efficiencies) == tables.efficiencies("VLLM", "H200")


def test_a_trial_beyond_belief_teaches_nothing() -> None:
    place = until_measured(village(times=5.0))
    (found,) = place.run.status.efficiencies
    assert (found.decode_count, found.prompt_count) == (0, 1)


def test_an_engine_that_replays_recordings_teaches_nothing() -> None:
    place = village()
    place.script = lambda assignment: slower(place, assignment, 1.3).model_copy(update={"replayed": "a recording"})
    assert until_measured(place).run.status.efficiencies == ()


def test_without_facts_of_the_accelerator_nothing_is_learned() -> None:
    place = Village(spec=a_spec(search={"precisions": ["AsIs"]}))
    assert until_measured(place).run.status.efficiencies == ()


def test_what_is_carried_is_the_last_runs_state() -> None:
    entry = Efficiency(engine="VLLM", accelerator="H200", decode_factor="1.2", decode_count=3, decode_spread="0.05")
    assert learning.carried(None) == ()
    place = until_measured(village())
    run = place.run
    silent = run.status.model_copy(update={"efficiencies": ()})
    inherited = replace(run, spec=run.spec.model_copy(update={"learned": (entry,)}), status=silent)
    assert learning.carried(inherited) == (entry,)


def test_constants_without_lessons_are_the_packaged_ones() -> None:
    assert estimates.constants_for(()) == tables.packaged()


CONFIG = {
    "model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256,
}  # fmt: skip
"""Of the model that SPEC names."""


def test_a_model_of_no_table_teaches_by_the_config_that_its_baselines_trial_told() -> None:
    (published,) = until_measured(village()).run.status.efficiencies
    place = village(model={"name": "acme/chat"})
    place.script = lambda assignment: slower(place, assignment, 1.3, CONFIG).model_copy(update={"model": CONFIG})
    (found,) = until_measured(place).run.status.efficiencies
    assert (found.engine, found.accelerator, found.decode_count) == ("VLLM", "H100-SXM", 1)
    assert abs(float(found.decode_factor) - float(published.decode_factor)) < 0.01


def test_a_model_of_no_table_whose_trial_tells_nothing_teaches_nothing() -> None:
    place = village(model={"name": "acme/chat"})
    place.script = lambda assignment: builders.a_report(assignment, probes=(builders.a_probe(RATE, RATE),))
    assert until_measured(place).run.status.efficiencies == ()
