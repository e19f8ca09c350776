"""Both objects of a result, parsed: the edge between what the API server sent and the types. Called by ``assemble``
and ``diff``."""

from dataclasses import dataclass

from pydantic import ValidationError

from rightsizer_cli import __version__
from rightsizer_cli.failure import REFUSED, Failure
from rightsizer_cli.kubectl import Object, pick
from rightsizer_operator.resource.run import Candidate, CandidateStatus, RunSpec, RunStatus
from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from rightsizer_operator.sizing import verdicts, workload
from rightsizer_operator.sizing.workload import Resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Both objects, parsed. ``spec`` is the InferenceDeployment's as it is now; the run keeps the one it was
    made for."""

    infdep: Object
    manifest: Object
    spec: InferenceDeploymentSpec
    inputs: RunSpec
    status: RunStatus

    @property
    def workload(self) -> Resolved:
        """In figures; what a trial read from the trace is in its report."""
        return workload.resolved(self.inputs.accepted.workload, verdicts.trace_facts(self.status.trials))

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        return (*self.inputs.candidates, *self.status.derived)

    def entry(self, candidate: str) -> CandidateStatus:
        """What the status says of a candidate; Pending where it says nothing yet."""
        known = {entry.id: entry for entry in self.status.candidates}
        return known.get(candidate) or CandidateStatus(id=candidate)

    def candidate(self, id_: str) -> Candidate | None:
        return next((candidate for candidate in self.candidates if candidate.id == id_), None)


def parsed(infdep: Object, run: Object) -> Run:
    """Raises Failure where this version of the CLI cannot read the objects."""
    try:
        return Run(
            infdep=infdep,
            manifest=run,
            spec=InferenceDeploymentSpec.model_validate(infdep.get("spec") or {}),
            inputs=RunSpec.model_validate(run.get("spec") or {}),
            status=RunStatus.model_validate(run.get("status") or {}),
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Failure(
            REFUSED,
            f"{pick(run, 'metadata', 'name')} cannot be read: {where}: {first['msg']}",
            f"Use a rightsizer of the operator's version (this is {__version__}).",
        ) from None
