"""One story in three parts, each played once and looked at by many tests: a search, an approval that may not be carried
out, a rewrite.
"""

import time
from dataclasses import dataclass

from e2e.images import store
from e2e.scenarios import garbage, scene
from e2e.scenarios.scene import Scene, decided, spec_of
from e2e.stage import objects
from e2e.stage.kubectl import Object, condition, wait_for
from rightsizer_operator.resource.run import RunSpec, RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A finished search with garbage among its weights and an operator that was killed in its first trial."""

    before: Object
    """The target before the InferenceDeployment was applied."""
    after: Object
    """The target when the search had ended."""
    infdep: Object
    run: Object
    first_trial: Object
    """The Job that ran when the leader was killed."""
    killed: str
    """The operator's pod that led then."""

    @property
    def spec(self) -> RunSpec:
        return spec_of(self.run)

    @property
    def status(self) -> RunStatus:
        return scene.status_of(self.run)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An approval while somebody else owns the fields."""

    told: str
    """What the CLI said."""
    infdep: Object
    target: Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """From the moment the fields were given (monotonic seconds) until the rewrite had ended."""

    since: float
    until: float
    infdep: Object
    run: Object
    target: Object


def search(stage: Scene) -> Search:
    stage.serve()
    before = stage.target
    stage.kubectl.apply([scene.inference_deployment(stage.demand())])
    run = wait_for(lambda: stage.run, "the run is there", 60)
    place_garbage(stage, run)
    trial = wait_for(stage.running_trial, "the first trial runs", 120)
    killed = stage.leader()
    stage.say(f"killing {killed}, which leads, during {trial['metadata']['name']}")
    stage.kubectl.run("delete", "pod", killed, "-n", objects.SYSTEM_NAMESPACE, "--grace-period=0", "--force")
    look = stage.follow(decided, "the search ends", scene.SEARCH_LIMIT_S)
    return Search(
        before=before, after=stage.target, infdep=look["infdep"], run=look["optrun"], first_trial=trial, killed=killed
    )


def place_garbage(stage: Scene, run: Object) -> None:
    """INT4 weights that load and answer badly, FP8 weights that hang, INT8W8A16 weights that do not load."""
    names = {one.precision: one.serving.artefact for one in spec_of(run).candidates if one.serving is not None}
    weights = garbage.damaged_weights(scene.SIZE, store.cache_root())
    garbage.place_damaged(stage.place.models, names["INT4"], "int4-w4a16", weights)
    garbage.place_hanging(stage.place.models, names["FP8"], "fp8-dynamic")
    garbage.place_cut(stage.place.models, names["INT8W8A16"], "int8-w8a16")


def refusal(stage: Scene) -> Refusal:
    told = stage.cli("approve", objects.TARGET)

    def conflict() -> Object | None:
        found = stage.infdep
        return found if condition(found, "OwnershipConflict").get("status") == "True" else None

    return Refusal(told=told, infdep=wait_for(conflict, "the conflict is told", 90), target=stage.target)


def rewrite(stage: Scene) -> Rewrite:
    since = time.monotonic()
    stage.kubectl.patch("infdep", objects.TARGET, objects.NAMESPACE, {"spec": {"targetRef": {"takeOwnership": True}}})
    look = stage.follow(_settled, "the rewrite ends", scene.REWRITE_LIMIT_S)
    return Rewrite(since=since, until=time.monotonic(), infdep=look["infdep"], run=look["optrun"], target=stage.target)


def _settled(look: Object) -> bool:
    step = ((look["optrun"] or {}).get("status", {}).get("rollout") or {}).get("step")
    return step in ("Applied", "RolledBack") and condition(look["infdep"], "Applied").get("status") in ("True", "False")
