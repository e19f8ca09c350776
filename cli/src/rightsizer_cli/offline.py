"""Files instead of a cluster: ``config.json`` and tables. The edge between what a user wrote and the types; called by
``plan`` and ``estimate``; manifests are read by ``documents``.

Every fault names the file and the field, and what to do. Nothing here asks kubectl.
"""

from rightsizer_cli.failure import REFUSED, Failure
from rightsizer_cli.files import json_of
from rightsizer_operator.resource.architecture import Architecture
from rightsizer_operator.sizing.estimate import model_config, model_facts, tables
from rightsizer_operator.sizing.estimate.failures import NotEstimable
from rightsizer_operator.sizing.estimate.model_facts import ModelFacts
from rightsizer_operator.sizing.estimate.tables import Efficiencies, GpuFacts


def refused(problem: NotEstimable) -> Failure:
    """What the estimator cannot read, as an error of the command."""
    return Failure(REFUSED, str(problem), problem.remedy)


def the_model(path: str | None, name: str, stated: Architecture | None = None) -> ModelFacts:
    """Facts from a config.json, else as stated, else of the published model of that name; raises Failure."""
    try:
        if path:
            return model_facts.from_config(json_of(path), name)
    except NotEstimable as problem:
        raise refused(problem) from None
    if stated is not None:
        return model_facts.from_architecture(stated, name)
    found = tables.published_model(name)
    if found is None:
        raise _unpublished(name)
    return found


def the_architecture(path: str | None, name: str) -> Architecture:
    """``spec.model.architecture`` from a config.json, else of the published model of that name; raises Failure."""
    try:
        found = model_config.architecture(json_of(path)) if path else tables.published_architecture(name)
    except NotEstimable as problem:
        raise refused(problem) from None
    if found is None:
        raise _unpublished(name)
    return found


def _unpublished(name: str) -> Failure:
    return Failure(
        REFUSED,
        f"spec.model.name: {name} is not in the table of published models",
        "Give its config.json (--model-config config.json), or state spec.model.architecture.",
    )


def gpu_facts(path: str | None) -> dict[str, GpuFacts]:
    """Facts of the user's own GPUs; none without a file."""
    try:
        return tables.gpu_table(json_of(path)) if path else {}
    except NotEstimable as problem:
        raise refused(problem) from None


def efficiency_facts(path: str | None, gpus: dict[str, GpuFacts]) -> dict[str, Efficiencies] | None:
    """Efficiencies instead of the package's, of its GPUs and the user's own; None without a file."""
    if not path:
        return None
    try:
        return tables.efficiency_table(json_of(path), gpus)
    except NotEstimable as problem:
        raise refused(problem) from None
