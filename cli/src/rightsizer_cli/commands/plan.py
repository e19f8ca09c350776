"""``plan -f FILE… [--model-config FILE] [-o table|json|yaml|csv|html]``: ranked candidates without a cluster and
without a GPU."""

import argparse

from rightsizer_cli import forecast, offline
from rightsizer_cli.failure import OK
from rightsizer_cli.forecast import Forecast
from rightsizer_cli.plain import structured
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.sizing.estimate import questions, ranking, tables
from rightsizer_operator.sizing.estimate.failures import NotEstimable
from rightsizer_operator.sizing.estimate.questions import Choice, Serving
from rightsizer_operator.sizing.estimate.ranking import Planned
from rightsizer_operator.sizing.estimate.tables import GpuFacts


def run(options: argparse.Namespace) -> int:
    if options.print_architecture:
        print(_architecture(options))
        return OK
    found = planned(options)
    print(written(found, options.output))
    return OK


def _architecture(options: argparse.Namespace) -> str:
    """The YAML of ``spec.model.architecture``."""
    _, spec = offline.the_infdep(offline.manifests(options.file))
    stated = offline.the_architecture(options.model_config, spec.model.name)
    return structured({"spec": {"model": {"architecture": stated.wire()}}}, "yaml")


def planned(options: argparse.Namespace) -> Forecast:
    """The plan for the files; raises Failure with the field at fault."""
    documents = offline.manifests(options.file)
    name, spec = offline.the_infdep(documents)
    serving = offline.the_serving(documents, spec)
    product = options.gpu or spec.accelerator.type or ""
    gpu = tables.gpu(product, offline.gpu_facts(options.gpus))
    if gpu is None:
        return _unknown(name, spec, serving, product)
    model = offline.the_model(options.model_config, spec.model.name, spec.model.architecture)
    hourly = spec.cost.gpu_hourly or _default_price(spec, gpu)
    efficiencies = offline.efficiency_facts(options.efficiencies)
    try:
        asked = questions.question(spec, model, gpu, serving, hourly, efficiencies)
        candidates = ranking.ranked(asked)
    except NotEstimable as problem:
        raise offline.refused(problem) from None
    return Forecast(
        name=name, model=spec.model.name, gpu=gpu.name, question=asked, candidates=candidates,
        notes=_notes(spec, gpu, serving), currency=spec.cost.currency,
    )  # fmt: skip


def _default_price(spec: InferenceDeploymentSpec, gpu: GpuFacts) -> str | None:
    """The table's price, which is in US dollars."""
    return gpu.price_hourly if spec.cost.currency == "USD" else None


def _notes(spec: InferenceDeploymentSpec, gpu: GpuFacts, serving: Serving) -> tuple[str, ...]:
    notes = []
    default = _default_price(spec, gpu)
    if spec.cost.gpu_hourly is None and default:
        notes.append(f"price of a {gpu.name} hour: {default} USD, a dated default; set spec.cost.gpuHourly")
    if spec.cost.gpu_hourly is None and not default:
        notes.append(f"no price of a {gpu.name} hour is known: set spec.cost.gpuHourly to see cost")
    if serving.replicas is None:
        notes.append("the target's Deployment was not given: as-is stands for the engine's defaults on one GPU")
    return tuple(notes)


def _unknown(name: str, spec: InferenceDeploymentSpec, serving: Serving, product: str) -> Forecast:
    """An unknown GPU refuses nothing: its candidates can be measured, only not estimated."""
    said = f"GPU {product or '(spec.accelerator.type is not set)'}: measured, not estimated"
    choice = Choice(
        id="as-is", engine=serving.engine, precision="AsIs", kv_cache="Auto", parallelism=serving.parallelism,
        max_num_seqs=serving.max_num_seqs,
    )  # fmt: skip
    remedy = (
        "no facts of this GPU are known: set spec.accelerator.type or --gpu to a known product, or give --gpus FILE"
    )
    return Forecast(
        name=name, model=spec.model.name, gpu=product or "unknown", question=None,
        candidates=(Planned(choice=choice, reason=said),), notes=(remedy,),
    )  # fmt: skip


def written(found: Forecast, form: str) -> str:
    """The plan in one of the output forms."""
    if form == "table":
        return "\n".join(forecast.as_table(found))
    if form == "csv":
        return forecast.as_csv(found)
    return forecast.page(found) if form == "html" else structured(forecast.wire(found), form)
