"""What was found, what is proposed, what was seen: configurations with their figures. Called by ``assemble``. Pure."""

from rightsizer_cli.inputs import Run
from rightsizer_cli.result import Evidence, Figure, Side, Use
from rightsizer_operator.resource import status
from rightsizer_operator.resource.base import number
from rightsizer_operator.resource.run import CandidateStatus, Serving
from rightsizer_operator.resource.status import Configuration
from rightsizer_operator.sizing import verdicts


def before(run: Run) -> Side | None:
    entry = run.entry(verdicts.AS_IS)
    configuration = run.status.current or entry.configuration
    return _side(configuration, entry, run.inputs.baseline.serving) if configuration else None


def after(run: Run) -> Side | None:
    proposal = run.status.proposal
    if proposal is None:
        return None
    entry = run.entry(proposal.candidate)
    configuration = entry.configuration or Configuration(candidate=proposal.candidate, evidence="Measured")
    sized = configuration.model_copy(
        update={
            "replicas": proposal.replicas,
            "gpus": proposal.gpus,
            "certified_rps": configuration.certified_rps or proposal.certified_rps,
        }
    )
    return _side(sized, entry, proposal.serving)


def observed(run: Run) -> Side | None:
    rollout = run.status.rollout
    if rollout is None or rollout.observed is None:
        return None
    seen = rollout.observed.model_copy(update={"evidence": rollout.observed.evidence or "Observed"})
    return _side(seen, None, run.status.proposal.serving if run.status.proposal else None)


def _side(found: Configuration, entry: CandidateStatus | None, serving: Serving | None) -> Side:
    evidence: Evidence = found.evidence or "Estimated"
    certified = found.certified_rps is not None
    rate = figure(found.certified_rps, evidence) if certified else capacity(entry)
    return Side(
        candidate=found.candidate or verdicts.AS_IS,
        engine=found.engine,
        precision=found.precision,
        kv_cache=found.kv_cache,
        image=serving.image if serving else "",
        replicas=found.replicas,
        gpus=found.gpus,
        latencies_ms=latencies(found, evidence),
        latencies_at_rps=number(found.latencies_at_rps) if found.latencies_at_rps else None,
        rate_rps=rate,
        certified=certified,
        utilisation_percent=figure(found.utilisation_percent, evidence),
        headroom_percent=_signed(found.headroom_percent, evidence),
        use=_use(found.use, evidence),
        use_at_demand=_use(found.use_at_demand, evidence),
        cost_per_hour=figure(found.cost_per_hour, evidence),
        cost_per_million_tokens=figure(found.cost_per_million_tokens, evidence),
        cost_per_million_tokens_at_rate=figure(found.cost_per_million_tokens_at_rate, evidence),
    )


def figure(quantity: str | None, evidence: Evidence) -> Figure | None:
    return None if quantity is None else Figure(value=number(quantity), evidence=evidence)


def _use(found: status.Use | None, evidence: Evidence) -> Use | None:
    if found is None:
        return None
    return Use(
        at_rps=number(found.at_rps),
        running=figure(found.running, evidence),
        slots=None if found.slots is None else number(found.slots),
        batch_percent=figure(found.batch_percent, evidence),
        waiting=figure(found.waiting, evidence),
        kv_cache_percent=figure(found.kv_cache_percent, evidence),
        gpu_percent=figure(found.gpu_percent, evidence),
        gpu_source=found.gpu_source or "",
        tensor_percent=figure(found.tensor_percent, evidence),
        dram_percent=figure(found.dram_percent, evidence),
        gpu_query=found.gpu_query,
        gpu_not_measured=found.gpu_not_measured,
    )


def _signed(text: str | None, evidence: Evidence) -> Figure | None:
    return None if text is None else Figure(value=float(text), evidence=evidence)


def latencies(found: Configuration, evidence: Evidence) -> dict[str, Figure]:
    shown = found.latencies.model_dump(exclude_none=True) if found.latencies else {}
    return {name.removesuffix("_ms"): Figure(value=number(text), evidence=evidence) for name, text in shown.items()}


def capacity(entry: CandidateStatus | None) -> Figure | None:
    """The measured capacity of one replica with one standard error to either side."""
    if entry is None or entry.capacity_rps is None:
        return None
    value, error = number(entry.capacity_rps), number(entry.capacity_error_percent or "0") / 100
    return Figure(value=value, evidence="Measured", low=value * max(0.0, 1 - error), high=value * (1 + error))
