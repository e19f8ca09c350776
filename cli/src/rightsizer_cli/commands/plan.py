"""``plan -f FILE… [--model-config FILE] [-o table|json|yaml|csv|html]``: ranked candidates without a cluster and
without a GPU."""

import argparse

from rightsizer_cli import documents, forecast, offline
from rightsizer_cli.failure import OK
from rightsizer_cli.forecast import Forecast
from rightsizer_cli.infdep_file import the_infdep
from rightsizer_cli.plain import structured
from rightsizer_cli.target import Target, the_target
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.sizing.estimate import nearest, questions, ranking, tables
from rightsizer_operator.sizing.estimate.failures import NotEstimable
from rightsizer_operator.sizing.estimate.questions import Choice
from rightsizer_operator.sizing.estimate.ranking import Planned
from rightsizer_operator.sizing.estimate.tables import GpuFacts

_SPREADS = ("input_tokens_p95", "input_tokens_histogram", "output_tokens_p95", "output_tokens_histogram")


def run(options: argparse.Namespace) -> int:
    if options.print_architecture:
        print(_architecture(options))
        return OK
    found = planned(options)
    print(written(found, options.output), flush=True)
    problem = nearest.nothing_ranked(found.question, found.candidates) if found.question else None
    if problem:
        raise offline.refused(problem)
    return OK


def _architecture(options: argparse.Namespace) -> str:
    """The YAML of ``spec.model.architecture``."""
    _, spec = the_infdep(documents.of_files(options.file))
    stated = offline.the_architecture(options.model_config, spec.model.name)
    return structured({"spec": {"model": {"architecture": stated.wire()}}}, "yaml")


def planned(options: argparse.Namespace) -> Forecast:
    """The plan for the files; raises Failure with the field at fault."""
    found = documents.of_files(options.file)
    name, spec = the_infdep(found)
    target = the_target(found, spec)
    product = options.gpu or spec.accelerator.type or ""
    gpus = offline.gpu_facts(options.gpus)
    gpu = tables.gpu(product, gpus)
    if gpu is None:
        return _unknown(name, spec, target, product)
    model = offline.the_model(options.model_config, spec.model.name, spec.model.architecture)
    target = target.of(model)
    hourly = spec.cost.gpu_hourly or _default_price(spec, gpu)
    efficiencies = offline.efficiency_facts(options.efficiencies, gpus)
    try:
        asked = questions.question(spec, model, gpu, target.serving, hourly, efficiencies)
        candidates = ranking.ranked(asked)
    except NotEstimable as problem:
        raise offline.refused(problem) from None
    return Forecast(
        name=name, model=spec.model.name, gpu=gpu.name, question=asked, candidates=candidates,
        notes=(*_price_notes(spec, gpu), *target.notes, *_workload_notes(spec)), currency=spec.cost.currency,
        today=target.gpus_today,
    )  # fmt: skip


def _default_price(spec: InferenceDeploymentSpec, gpu: GpuFacts) -> str | None:
    """The table's price, which is in US dollars."""
    return gpu.price_hourly if spec.cost.currency == "USD" else None


def _price_notes(spec: InferenceDeploymentSpec, gpu: GpuFacts) -> list[str]:
    default = _default_price(spec, gpu)
    if spec.cost.gpu_hourly is not None:
        return []
    if default:
        return [f"price of a {gpu.name} hour: {default} USD, a dated default; set spec.cost.gpuHourly"]
    return [f"no price of a {gpu.name} hour is known: set spec.cost.gpuHourly to see cost"]


def _workload_notes(spec: InferenceDeploymentSpec) -> list[str]:
    """What of the workload a simulation leaves out."""
    load, notes = spec.workload.static, []
    if load and any(getattr(load, name) is not None for name in _SPREADS):
        notes.append("the workload's lengths vary: estimates give every request the mean lengths")
    if load and load.arrivals == "Gamma":
        notes.append(f"arrivals are Gamma (burstiness {load.burstiness}): estimates have Poisson arrivals")
    return notes


def _unknown(name: str, spec: InferenceDeploymentSpec, target: Target, product: str) -> Forecast:
    """An unknown GPU refuses nothing: its candidates can be measured, only not estimated."""
    serving = target.serving
    said = f"GPU {product or '(spec.accelerator.type is not set)'}: measured, not estimated"
    choice = Choice(
        id="as-is", engine=serving.engine, precision="AsIs", kv_cache="Auto", parallelism=serving.parallelism,
        max_num_seqs=serving.max_num_seqs,
    )  # fmt: skip
    why = f"no facts of {product} are known" if product else "spec.accelerator.type is not set"
    remedy = f"{why}: set spec.accelerator.type or --gpu to a known product, or give --gpus FILE with its facts"
    return Forecast(
        name=name, model=spec.model.name, gpu=product or "a GPU that is not named", question=None,
        candidates=(Planned(choice=choice, reason=said),), notes=(remedy, *target.notes),
        currency=spec.cost.currency, today=target.gpus_today,
    )  # fmt: skip


def written(found: Forecast, form: str) -> str:
    """The plan in one of the output forms."""
    if form == "table":
        return "\n".join(forecast.as_table(found))
    if form == "csv":
        return forecast.as_csv(found)
    return forecast.page(found) if form == "html" else structured(forecast.wire(found), form)
