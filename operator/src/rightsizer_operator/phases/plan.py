"""Second step: the run as one frozen object: accepted spec, baseline, and every candidate in order, excluded ones
with their rule.

Called by ``advance`` where no run fits the inputs. The same inputs give the same run, so creating it twice makes one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from rightsizer_operator.actions import CreateRun
from rightsizer_operator.manifests import artefacts, engine_batching, labels, serving
from rightsizer_operator.manifests import baseline as baselines
from rightsizer_operator.phases import learning
from rightsizer_operator.phases.accept import Accepted
from rightsizer_operator.resource.run import Baseline, Batching, Candidate, RunSpec, Serving
from rightsizer_operator.settings import Settings
from rightsizer_operator.sizing import fingerprint
from rightsizer_operator.sizing.verdicts import AS_IS, MORE, ORIGINAL
from rightsizer_operator.world import InferenceDeployment, OptimizationRun

CALIBRATION_SAMPLES = 384
MAX_SEQUENCE_LENGTH = 512
MOST_CANDIDATES = 56
"""Eight places stay free for candidates derived from leaders."""
PRECISION_ORDER = ("AsIs", "INT8", "INT4", "FP8", "INT8W8A16", "BF16")
INTEGER_PRECISIONS = ("INT8", "INT8W8A16", "INT4")
BEFORE_FP8 = ("A100", "A800", "A30", "A40", "A10", "A16", "A2", "V100", "T4", "RTX-A")
"""Products of compute capability below 8.9: no FP8 arithmetic."""
WITHOUT_INT8 = ("B300", "GB300")


@dataclass(frozen=True, slots=True)
class Choice:
    """One combination of levers."""

    engine: str
    precision: str
    kv_cache: str
    parallelism: int


def create_run(
    infdep: InferenceDeployment, accepted: Accepted, settings: Settings, last: OptimizationRun | None = None
) -> CreateRun:
    """The run for these inputs, owned by the resource; what the last run learned goes with it."""
    spec = run_spec(infdep, accepted, settings).model_copy(update={"learned": learning.carried(last)})
    name = labels.run_name(infdep.name, spec.fingerprint, spec.attempt)
    return CreateRun(
        manifest={
            "apiVersion": "rightsizer.dev/v1alpha1",
            "kind": "OptimizationRun",
            "metadata": {
                "name": name,
                "namespace": infdep.namespace,
                "labels": {
                    labels.MANAGED_BY: labels.MANAGED_BY_US,
                    labels.INFERENCE_DEPLOYMENT: labels.label_value(infdep.name),
                },
                "ownerReferences": [
                    {
                        "apiVersion": "rightsizer.dev/v1alpha1",
                        "kind": "InferenceDeployment",
                        "name": infdep.name,
                        "uid": infdep.uid,
                        "controller": True,
                        "blockOwnerDeletion": True,
                    }
                ],
            },
            "spec": spec.wire(),
        }
    )


def run_spec(infdep: InferenceDeployment, accepted: Accepted, settings: Settings) -> RunSpec:
    """Frozen inputs and candidates."""
    return RunSpec(
        inference_deployment=infdep.name,
        generation=infdep.generation,
        fingerprint=fingerprint.inputs_fingerprint(accepted.spec, accepted.baseline, accepted.accelerator_type),
        generator_version=fingerprint.GENERATOR_VERSION,
        attempt=1,
        accepted=accepted.spec,
        accelerator_type=accepted.accelerator_type,
        gpu_hourly=accepted.gpu_hourly,
        peak=accepted.peak,
        baseline=accepted.baseline,
        candidates=candidates(accepted, settings),
    )


def candidates(accepted: Accepted, settings: Settings) -> tuple[Candidate, ...]:
    """The baseline first, then every choice in order of trial; at most MOST_CANDIDATES."""
    found = [as_is(accepted), *_original(accepted)]
    for engine in accepted.spec.search.engines:
        rule = _engine_rule(engine, accepted, settings)
        if rule:
            found.append(Candidate(id=_engine_word(engine), engine=engine, precision="AsIs", excluded=rule))
    for choice in _choices(accepted, settings):
        candidate = _candidate(choice, accepted, settings)
        twin = next((c for c in found if c.serving is not None and c.serving == candidate.serving), None)
        if twin is not None:
            candidate = candidate.model_copy(update={"serving": None, "excluded": f"is the same as {twin.id}"})
        if all(candidate.id != other.id for other in found):
            found.append(candidate)
    return _cut(found)


def _cut(found: list[Candidate]) -> tuple[Candidate, ...]:
    """At most MOST_CANDIDATES; excluded ones go first, and what was left out is said."""
    if len(found) <= MOST_CANDIDATES:
        return tuple(found)
    usable = [one for one in found if not one.excluded]
    excluded = [one for one in found if one.excluded]
    room = MOST_CANDIDATES - 1
    kept = {one.id for one in (*usable[:room], *excluded[: max(0, room - len(usable))])}
    return (*(one for one in found if one.id in kept), _more([one for one in found if one.id not in kept]))


def _more(left: list[Candidate]) -> Candidate:
    """What stands for the combinations left out, as small as the smallest; another id where a rule excludes each."""
    usable = [one for one in left if not one.excluded]
    smallest = min(one.parallelism for one in usable or left)
    if usable:
        rule = f"{len(left)} further combinations were left out, {MOST_CANDIDATES} fit a run: narrow spec.search"
    else:
        rules = "; ".join(dict.fromkeys(one.excluded for one in left))
        rule = f"{len(left)} further combinations were left out, each excluded by a rule: {rules}"
    return Candidate(
        id=MORE if usable else f"{MORE}-excluded",
        engine=left[0].engine,
        precision="AsIs",
        parallelism=smallest,
        excluded=rule[:1024],
    )


def as_is(accepted: Accepted) -> Candidate:
    """The target as found: it gives the baseline's answers and capacity."""
    baseline = accepted.baseline
    return Candidate(
        id=AS_IS,
        engine=baseline.engine,
        precision="AsIs",
        kv_cache=serving.kv_type(baseline),
        parallelism=serving.parallelism_of(baseline),
        serving=baseline.serving,
    )


def _original(accepted: Accepted) -> list[Candidate]:
    """What served before the first rewrite: the reference for quality while weights, KV type or engine are of ours."""
    recorded, now = baselines.recorded(accepted.target), accepted.baseline
    if recorded is None or recorded.serving.artefact:
        return []
    if not now.serving.artefact and _answering(recorded) == _answering(now):
        return []
    return [
        Candidate(
            id=ORIGINAL,
            engine=recorded.engine,
            precision="AsIs",
            kv_cache=serving.kv_type(recorded),
            parallelism=serving.parallelism_of(recorded),
            serving=recorded.serving,
        )
    ]


def _answering(baseline: Baseline) -> tuple[str, str]:
    return baseline.engine, serving.kv_type(baseline)


def derive(
    leader: Candidate,
    max_num_seqs: int | None,
    accepted: Accepted,
    settings: Settings,
    *,
    word: str = "",
    batching: Batching | None = None,
) -> Candidate:
    """The leader with another batch limit, or with other batching settings; ``word`` tells them in its id."""
    inherited = leader.kv_cache == serving.kv_type(accepted.baseline)
    kv_cache = "Auto" if inherited else leader.kv_cache
    choice = Choice(leader.engine, leader.precision, kv_cache, leader.parallelism)
    made = _candidate(choice, accepted, settings, max_num_seqs, batching)
    if batching is None and made.serving == leader.serving:  # the limit is what the target has
        made = made.model_copy(update={"serving": None, "excluded": f"is the same as {leader.id}"})
    word = word or f"seqs{max_num_seqs}"
    return made.model_copy(update={"id": f"{leader.id[: 39 - len(word)]}-{word}", "parent": leader.id})


def _choices(accepted: Accepted, settings: Settings) -> Iterator[Choice]:
    """All levers, simplest first: precision alone, then with another KV type, then with other parallelism or another
    engine.
    """
    search, baseline = accepted.spec.search, accepted.baseline
    found = serving.parallelism_of(baseline)
    precisions = [p for p in PRECISION_ORDER if p in search.precisions or p == "AsIs"]
    kv_types = (
        ["Auto", *[kv for kv in search.kv_cache if kv != "Auto"]] if "Auto" in search.kv_cache else search.kv_cache
    )
    allowed = [engine for engine in search.engines if not _engine_rule(engine, accepted, settings)]
    engines = sorted(allowed, key=lambda engine: engine != baseline.engine)
    for engine in engines:
        for parallelism in _parallelisms(found, search.max_gpus_per_replica):
            for kv_cache in kv_types:
                for precision in precisions:
                    choice = Choice(engine, precision, kv_cache, parallelism)
                    if choice != Choice(baseline.engine, "AsIs", "Auto", found):
                        yield choice


def _parallelisms(found: int, most: int) -> tuple[int, ...]:
    """As found first, then smaller powers of two, then larger ones."""
    powers = [1 << exponent for exponent in range(7) if 1 << exponent <= most]
    smaller = sorted((p for p in powers if p < found), reverse=True)
    return (found, *smaller, *sorted(p for p in powers if p > found))


def _candidate(
    choice: Choice,
    accepted: Accepted,
    settings: Settings,
    max_num_seqs: int | None = None,
    batching: Batching | None = None,
) -> Candidate:
    made, rule = _serving(choice, accepted, settings, max_num_seqs, batching)
    return Candidate(
        id=candidate_id(choice, accepted.baseline.engine, serving.parallelism_of(accepted.baseline)),
        engine=choice.engine,
        precision=choice.precision,
        kv_cache=serving.kv_type(accepted.baseline) if choice.kv_cache == "Auto" else choice.kv_cache,
        parallelism=choice.parallelism,
        max_num_seqs=max_num_seqs,
        batching=batching,
        serving=made,
        excluded=rule,
    )


def candidate_id(choice: Choice, baseline_engine: str, found: int) -> str:
    """``int8``, ``int4-fp8kv``, ``trtllm-fp8-tp2``: what differs from the baseline."""
    parts = [] if choice.engine == baseline_engine else [_engine_word(choice.engine)]
    parts.append("as-is" if choice.precision == "AsIs" else choice.precision.lower())
    if choice.kv_cache != "Auto":
        parts.append(f"{choice.kv_cache.lower()}kv")
    if choice.parallelism != found:
        parts.append(f"tp{choice.parallelism}")
    return "-".join(parts)[:40]


def _serving(
    choice: Choice, accepted: Accepted, settings: Settings, max_num_seqs: int | None, batching: Batching | None
) -> tuple[Serving | None, str]:
    """What would be deployed, or the rule that excludes it."""
    rule = _hard_rule(choice, accepted)
    if rule:
        return None, rule
    try:
        made = serving.candidate_serving(
            accepted.baseline,
            engine=choice.engine,
            precision=choice.precision,
            kv_cache=choice.kv_cache,
            parallelism=choice.parallelism,
            max_num_seqs=max_num_seqs,
            artefact=artefact_of(choice.precision, accepted, settings),
            engine_images=settings.engine_images,
            batching=batching or engine_batching.NOTHING,
        )
    except serving.Excluded as excluded:
        return None, str(excluded)[:1024]
    return made, ""


def artefact_of(precision: str, accepted: Accepted, settings: Settings) -> str:
    """Name of the artefact of that precision; empty where the weights are served as they are."""
    recipe = artefacts.recipe_for(precision)
    if recipe is None:
        return ""
    model = accepted.spec.model
    return artefacts.artefact_name(
        model.name,
        model.revision,
        model.path,
        recipe,
        settings.compress.image,
        f"{model.calibration_path or ''} {CALIBRATION_SAMPLES}x{MAX_SEQUENCE_LENGTH}",
    )


def _engine_rule(engine: str, accepted: Accepted, settings: Settings) -> str:
    """Why an engine as a whole is out; empty where it may be tried."""
    if engine == accepted.baseline.engine:
        return ""
    resource = accepted.spec.accelerator.resource
    if engine == "TensorRTLLM" and not resource.startswith("nvidia.com/"):
        return f"TensorRT-LLM runs on NVIDIA GPUs only; the accelerator here is {resource}"
    if not settings.engine_images.get(engine):
        return f"the operator's configuration names no image for {engine} (engineImages.{engine})"
    return ""


def _engine_word(engine: str) -> str:
    return "trtllm" if engine == "TensorRTLLM" else engine.lower()


def _hard_rule(choice: Choice, accepted: Accepted) -> str:
    """Rules that hold whatever an image can do."""
    product = accepted.accelerator_type
    if choice.engine == "TensorRTLLM" and choice.precision in INTEGER_PRECISIONS:
        return "TensorRT-LLM reads INT compressed-tensors weights wrongly without an error: the pair is refused"
    if choice.precision in INTEGER_PRECISIONS and not accepted.spec.model.calibration_path:
        return f"{choice.precision} weights need calibration samples: set spec.model.calibrationPath"
    if choice.precision == "FP8" and _names(product, BEFORE_FP8):
        return f"{product} has no FP8 arithmetic (compute capability below 8.9)"
    if choice.precision == "INT8" and _names(product, WITHOUT_INT8):
        return f"{product} has no INT8 tensor arithmetic (compute capability 10.3)"
    return ""


def _names(product: str, families: tuple[str, ...]) -> bool:
    """Whether a product label such as NVIDIA-A100-SXM4-80GB is of one of the families."""
    model = product.removeprefix("NVIDIA-").removeprefix("Tesla-")
    return any(model.startswith(family) and not model[len(family) :][:1].isdigit() for family in families)
