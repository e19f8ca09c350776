"""The node that all scenarios share: made once, with chart, volumes and a witness; removed at the end.

RIGHTSIZER_E2E_KEEP=1 leaves it for a look (``python -m e2e.embedded down --all`` removes it). Where a part of
the story does not come to its end, the objects and the operator's log are in build/scenarios/evidence/.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator

import pytest

from e2e.embedded import binaries
from e2e.embedded.node import Node
from e2e.images import store
from e2e.scenarios import garbage, scene, story
from e2e.scenarios.scene import FOLDER, SIZE, SLOTS, Scene
from e2e.scenarios.witness import Witness
from e2e.stage import objects, setting
from e2e.stage.cluster import Own
from e2e.stage.kubectl import Failed, Kubectl

KEEP = os.environ.get("RIGHTSIZER_E2E_KEEP", "") not in ("", "0")


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """One line of progress on the terminal: a scenario takes minutes."""
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    began = time.monotonic()

    def tell(text: str) -> None:
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            print(f"\n{time.monotonic() - began:7.0f} s  {text}", end="", flush=True)

    return tell


@pytest.fixture(scope="session")
def stage(say: Callable[[str], None]) -> Iterator[Scene]:
    """The node with the chart, watched."""
    own, place = Own(node=Node("scenarios")), setting.Place(folder=FOLDER)
    try:
        furnish(own, place, say)
        with Witness(own.node.admin).watching() as witness:
            yield Scene(kubectl=own.kubectl, place=place, witness=witness, say=say)
    finally:
        if not KEEP:
            own.down()
            shutil.rmtree(place.models, ignore_errors=True)


def furnish(own: Own, place: setting.Place, say: Callable[[str], None]) -> None:
    binaries.ensure(binaries.NODE)
    archives = setting.images()
    given = setting.host(place, SIZE)
    scene.write_questions(place.models)
    garbage.place_fault(place.models)
    garbage.damaged_weights(SIZE, store.cache_root())
    own.up(archives, SLOTS, say)
    setting.furnish(own.kubectl, given)
    setting.install(own.kubectl, place)
    say("chart installed")


@contextlib.contextmanager
def evidence(stage: Scene) -> Iterator[None]:
    """Kept when a part of the story does not come to its end."""
    try:
        yield
    except Exception:
        keep_evidence(stage.kubectl)
        raise


def keep_evidence(kubectl: Kubectl) -> None:
    """What a person would ask for after a failure."""
    folder = FOLDER / "evidence"
    folder.mkdir(parents=True, exist_ok=True)
    asked = {
        "objects.yaml": ("get", "infdep,optrun,jobs,pods,deployments", "-n", objects.NAMESPACE, "-o", "yaml"),
        "events.txt": ("get", "events", "-A", "--sort-by=.lastTimestamp"),
        "operator.log": (
            "logs", "-n", objects.SYSTEM_NAMESPACE, "-l", scene.OPERATOR, "--tail=2000", "--prefix",
        ),
    }  # fmt: skip
    for name, words in asked.items():
        with contextlib.suppress(Failed, OSError):
            (folder / name).write_text(kubectl.run(*words))


@pytest.fixture(scope="session")
def search(stage: Scene) -> story.Search:
    with evidence(stage):
        return story.search(stage)


@pytest.fixture(scope="session")
def refusal(stage: Scene, search: story.Search) -> story.Refusal:
    """The proposal approved while kubectl owns what it would change."""
    with evidence(stage):
        return story.refusal(stage)


@pytest.fixture(scope="session")
def rewrite(stage: Scene, refusal: story.Refusal) -> story.Rewrite:
    """The fields given to Rightsizer, the proposal applied."""
    with evidence(stage):
        return story.rewrite(stage)
