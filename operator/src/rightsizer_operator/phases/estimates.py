"""What the operator knows for estimates: facts of model and accelerator, and a run as a question to the estimator.
Called by ``accept`` and ``rapid``; pure.

The model volume cannot be read here, so a model's facts come from ``spec.model.architecture``, from the config.json
that the baseline's trial tells of, or from the table of published models; an accelerator's from the operator's setting
``gpus`` or the package's table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from pydantic import JsonValue

from rightsizer_operator.manifests import engine_flags, serving
from rightsizer_operator.manifests.artefacts import RECIPES
from rightsizer_operator.manifests.engine_command import EngineCommand
from rightsizer_operator.resource.base import number
from rightsizer_operator.resource.run import Baseline, Candidate, Efficiency, RunSpec
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.settings import Settings
from rightsizer_operator.sizing.estimate import feedback, model_facts, questions, tables
from rightsizer_operator.sizing.estimate.failures import NotEstimable
from rightsizer_operator.sizing.estimate.feedback import Factor, Lesson
from rightsizer_operator.sizing.estimate.model_facts import ModelFacts
from rightsizer_operator.sizing.estimate.questions import Choice, Question
from rightsizer_operator.sizing.estimate.tables import Efficiencies, GpuFacts

_MEMORY_SHARES = ("--gpu-memory-utilization", "--free-gpu-memory-fraction")


def model_of(spec: InferenceDeploymentSpec) -> ModelFacts | None:
    """As stated in the resource, else as published under that name; None: unknown."""
    if spec.model.architecture is not None:
        return model_facts.from_architecture(spec.model.architecture, spec.model.name)
    return tables.published_model(spec.model.name)


def model_told(spec: InferenceDeploymentSpec, told: Mapping[str, JsonValue] | None) -> tuple[ModelFacts, str]:
    """As stated in the resource, else as the baseline's trial read it, else as published under that name; and which of
    these.

    ``told``: fields of config.json in the trial's report. Raises NotEstimable.
    """
    if spec.model.architecture is None and told is not None:
        try:
            return model_facts.from_config(dict(told), spec.model.name), "config.json"
        except (ValueError, TypeError, AttributeError, ArithmeticError) as problem:
            raise NotEstimable("config.json", f"cannot be read: {problem}"[:200], "") from problem
    found = model_of(spec)
    if found is None:
        name = spec.model.name
        said = f"{name} is not in the table, and the baseline's trial told nothing"
        raise NotEstimable("spec.model.name", said, "State spec.model.architecture.")
    return found, "as stated" if spec.model.architecture is not None else "published model"


def gpu_of(product: str, settings: Settings) -> GpuFacts | None:
    """Facts of a product as node labels name it; None: unknown."""
    return tables.gpu(product, _stated(settings)) if product else None


def source_of(gpu: GpuFacts, settings: Settings) -> str:
    """Where the facts of an accelerator come from, with a date."""
    for one in settings.gpus:
        if gpu in _stated(settings).values() and one.name == gpu.name:
            return f"the operator's setting gpus: {one.source}"
    return f"the package's GPU table of {tables.dated('gpus.json')}"


def _stated(settings: Settings) -> dict[str, GpuFacts]:
    return tables.gpu_table({"gpus": [asdict(one) for one in settings.gpus]})


def question_of(run: RunSpec, settings: Settings, told: Mapping[str, JsonValue] | None = None) -> Question | None:
    """What a run asks of the estimator; None where model or accelerator are unknown. ``told``: what the baseline's
    trial said of its config.json.
    """
    gpu = gpu_of(run.accelerator_type, settings)
    if gpu is None:
        return None
    try:
        model, _ = model_told(run.accepted, told)
    except NotEstimable:
        return None
    return questions.question(
        run.accepted, model, gpu, served(run.baseline), run.gpu_hourly, constants_for(run.learned)
    )


def constants_for(learned: Sequence[Efficiency]) -> dict[str, Efficiencies]:
    """The packaged efficiencies, corrected by what trials taught: by ``engine``, or by ``engine/accelerator``."""
    own = {
        f"{one.engine}/{one.accelerator}": feedback.corrected(
            tables.efficiencies(one.engine, one.accelerator), lesson_of(one)
        )
        for one in learned if one.engine in tables.ENGINES
    }  # fmt: skip
    return {**tables.packaged(), **own}


def lesson_of(entry: Efficiency) -> Lesson:
    """An entry of a run as the estimator's own value."""
    return Lesson(
        prompt=_factor(entry.prompt_factor, entry.prompt_count, entry.prompt_spread),
        decode=_factor(entry.decode_factor, entry.decode_count, entry.decode_spread),
    )


def _factor(mean: str, count: int, spread: str | None) -> Factor:
    return Factor(mean=number(mean), count=count, spread=None if spread is None else number(spread))


def choice_of(candidate: Candidate, baseline: Baseline) -> Choice:
    """A candidate as the estimator names its levers."""
    limit = candidate.max_num_seqs or served(baseline).max_num_seqs
    return Choice(
        id=candidate.id,
        engine=candidate.engine,
        precision=candidate.precision,
        kv_cache=candidate.kv_cache if candidate.kv_cache == "FP8" else "Auto",
        parallelism=candidate.parallelism,
        max_num_seqs=limit,
    )


def served(baseline: Baseline) -> questions.Serving:
    """How the target serves today, as far as an estimate needs it."""
    command = serving.parsed(baseline)
    return questions.Serving(
        engine=baseline.engine,
        weights=_weights(command, baseline.serving.artefact),
        kv_cache=serving.kv_type(baseline),
        parallelism=serving.parallelism_of(baseline),
        replicas=baseline.replicas,
        max_num_seqs=_whole(command.value(engine_flags.MAX_NUM_SEQS) or command.value(engine_flags.MAX_BATCH_SIZE)),
        memory_share=next((_share(text) for flag in _MEMORY_SHARES if (text := command.value(flag))), None),
    )


def beyond(baseline: Baseline) -> str:
    """The flag of the baseline that no estimate knows: every candidate carries it over. Empty: there is none."""
    command = serving.parsed(baseline)
    for flag in (engine_flags.PIPELINE_PARALLEL, engine_flags.DATA_PARALLEL):
        if (command.value(flag) or "1") != "1":
            return f"{flag} {command.value(flag)}"
    return ""


def _weights(command: EngineCommand, artefact: str) -> str:
    """Format of the weights that are served; empty: as the checkpoint is."""
    found = next((precision for precision, recipe in RECIPES.items() if f"-{recipe}-" in artefact), "")
    given = (command.value("--quantization") or "").lower()
    return found or ("FP8" if given.startswith("fp8") else "")


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and 0 < int(text) < 1_000_000 else None


def _share(text: str) -> float | None:
    try:
        share = float(text)
    except ValueError:
        return None
    return share if 0 < share <= 1 else None
