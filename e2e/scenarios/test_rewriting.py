"""From an approval to a rewritten target: refused while another manager owns it, then in two writes, under the users'
eyes.
"""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from e2e.scenarios.scene import FOLDER, Scene, intent_of, status_of
from e2e.scenarios.story import Refusal, Rewrite, Search
from e2e.stage import objects
from e2e.stage.kubectl import condition
from rightsizer_cli.result import Result
from rightsizer_operator.manifests import baseline, labels, template

pytestmark = pytest.mark.timeout(2700)

CONTAINER = r"spec/template/spec/containers/\[engine\]/"
CLOSED_LIST = re.compile(
    "|".join(
        (
            "spec/replicas",
            CONTAINER + "(image|command|args)",
            CONTAINER + rf"env/\[({'|'.join(template.MANAGED_ENV)})\]/.*",
            CONTAINER + rf"resources/(requests|limits)/(cpu|memory|{objects.SLOT})",
            CONTAINER + r"volumeMounts/\[/rightsizer/(model|config)\]/.*",
            r"spec/template/spec/volumes/\[rightsizer-(models|engine-config)\]/.*",
            "spec/template/metadata/annotations/rightsizer.dev/.*",
            "metadata/annotations/rightsizer.dev/.*",
        )
    )
)
KEPT_BY_KUBERNETES = re.compile(
    r"status/.*|metadata/(generation|resourceVersion|managedFields.*)|metadata/annotations/deployment.kubernetes.io/.*"
)
LONGEST_SILENCE_S = 60
"""Between two answers of the service: a machine may be busy, but not for ever."""


def test_an_approval_without_ownership_is_a_conflict_with_the_text_to_paste(search: Search, refusal: Refusal) -> None:
    assert search.infdep["status"]["proposal"]["hash"] in refusal.told
    conflict = condition(refusal.infdep, "OwnershipConflict")
    assert conflict["reason"] == "OwnershipConflict"
    assert "kubectl-client-side-apply owns" in conflict["message"]
    assert "spec:\n  targetRef:\n    takeOwnership: true" in conflict["message"]
    assert condition(refusal.infdep, "Applied")["status"] == "False"


def test_a_conflict_leaves_the_target_as_it_is(search: Search, refusal: Refusal) -> None:
    assert intent_of(refusal.target) == intent_of(search.before)
    managers = {entry["manager"] for entry in refusal.target["metadata"].get("managedFields", ())}
    assert labels.FIELD_MANAGER not in managers


def test_the_proposal_is_applied_and_verified(rewrite: Rewrite) -> None:
    assert condition(rewrite.infdep, "Applied")["status"] == "True", condition(rewrite.infdep, "Applied")
    assert condition(rewrite.infdep, "SLOMet")["status"] == "True"
    assert condition(rewrite.infdep, "OwnershipConflict")["status"] == "False"
    rollout = status_of(rewrite.run).rollout
    assert rollout is not None
    assert (rollout.step, rollout.verified) == ("Applied", "Pass")
    assert rewrite.infdep["status"]["appliedRunRef"]["name"] == rewrite.run["metadata"]["name"]
    assert rewrite.infdep["status"]["current"]["evidence"] == "Observed"


def test_the_template_is_written_first_and_verified_before_the_replicas(stage: Scene, rewrite: Rewrite) -> None:
    """Each state of the target, told apart by template and size, in the order in which it was seen."""
    states = [(one.template, one.replicas) for one in stage.witness.states(rewrite.since)]
    seen = list(dict.fromkeys(states))
    status = status_of(rewrite.run)
    assert status.proposal is not None
    old, size, new = seen[0], status.proposal.replicas, seen[-1][0]
    assert new != old[0]
    assert seen == list(dict.fromkeys([old, (new, old[1]), (new, size)]))
    verified = [one.subject for one in status.trials if one.purpose == "Verify" and one.outcome == "Succeeded"]
    parts = ["template", "replicas"] if size != old[1] else ["template"]
    assert list(dict.fromkeys(verified)) == [f"{status.proposal.hash}-{part}" for part in parts]


def test_only_fields_of_the_closed_list_changed(search: Search, rewrite: Rewrite) -> None:
    before, after = dict(leaves(search.before)), dict(leaves(rewrite.target))
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    own = {path for path in changed if not KEPT_BY_KUBERNETES.fullmatch(path)}
    assert {path for path in own if not CLOSED_LIST.fullmatch(path)} == set()
    assert any(path.endswith("/args") for path in own)


def test_what_is_deployed_is_what_was_measured(rewrite: Rewrite) -> None:
    proposal = status_of(rewrite.run).proposal
    assert proposal is not None
    assert baseline.serving_of(rewrite.target, "engine", objects.SLOT) == proposal.serving
    assert rewrite.target["spec"]["replicas"] == proposal.replicas


def test_the_target_remembers_its_baseline(search: Search, rewrite: Rewrite) -> None:
    recorded = baseline.recorded(rewrite.target)
    assert recorded == search.spec.baseline
    assert (
        rewrite.target["metadata"]["annotations"][labels.APPLIED_PROPOSAL]
        == search.infdep["status"]["proposal"]["hash"]
    )


def test_users_find_the_model_under_its_old_name_throughout(stage: Scene, rewrite: Rewrite) -> None:
    args = rewrite.target["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[args.index("--served-model-name") + 1] == objects.TARGET
    answers = [one for one in stage.witness.answers if rewrite.since <= one.at <= rewrite.until]
    good = [one.at for one in answers if not one.problem]
    assert len(good) > 0.9 * len(answers), answers
    assert max(later - earlier for earlier, later in pairwise(good)) < LONGEST_SILENCE_S
    assert answers[-1].problem == ""


def test_there_was_always_a_ready_pod(stage: Scene, rewrite: Rewrite) -> None:
    assert [one for one in stage.witness.states(rewrite.since) if one.ready == 0] == []


def test_the_report_is_one_page_that_needs_nothing_else(stage: Scene, rewrite: Rewrite) -> None:
    stage.cli("report", objects.TARGET, "-o", "html", "--file", str(FOLDER / "report.html"))
    text = (FOLDER / "report.html").read_text()
    page = Page()
    page.feed(text)
    page.close()
    assert {"html", "body", "table", "svg"} <= set(page.tags)
    assert [link for link in page.links if not link.startswith(("#", "data:"))] == []
    assert "@import" not in text
    assert rewrite.infdep["status"]["proposal"]["hash"] in text


def test_the_result_is_a_document_of_its_schema(stage: Scene, search: Search, rewrite: Rewrite) -> None:
    stage.cli("report", objects.TARGET, "-o", "json", "--file", str(FOLDER / "result.json"))
    text = (FOLDER / "result.json").read_text()
    result = Result.model_validate_json(text)
    assert result.decision.state == "Applied"
    assert result.before is not None
    assert result.before.replicas == search.before["spec"]["replicas"]
    assert json.loads(text)["decision"]["hash"] == rewrite.infdep["status"]["proposal"]["hash"]


def test_every_command_of_the_cli_speaks_of_the_result(stage: Scene, rewrite: Rewrite) -> None:
    assert "Applied" in stage.cli("status", objects.TARGET)
    explained = stage.cli("explain", objects.TARGET)
    for word in ("FailedQuality", "EngineHung", "EngineFailed"):
        assert word in explained
    stage.cli("doctor", objects.TARGET)


class Page(HTMLParser):
    """Tags of a page, and everything it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "action")
        ]


def leaves(thing: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Path and value of each leaf; items of a list by their name or mount path, lists of plain values whole."""
    if isinstance(thing, dict) and thing:
        for key, value in thing.items():
            yield from leaves(value, f"{path}/{key}" if path else str(key))
    elif isinstance(thing, list) and thing and isinstance(thing[0], dict):
        for number, value in enumerate(thing):
            key = value.get("mountPath") or value.get("name") or number
            yield from leaves(value, f"{path}/[{key}]")
    else:
        yield path, json.dumps(thing)
