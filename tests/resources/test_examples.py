"""Every InferenceDeployment in examples/ is accepted by the types and by the API server, with no unknown field."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from rightsizer_operator.resource.spec import InferenceDeploymentSpec
from tests.resources import samples

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def intents() -> list[samples.Object]:
    documents = [found for file in sorted(EXAMPLES.glob("*.yaml")) for found in yaml.safe_load_all(file.read_text())]
    return [found for found in documents if found and found.get("kind") == "InferenceDeployment"]


def test_there_is_an_example_of_a_70b_model() -> None:
    assert any("70B" in intent["spec"]["model"]["name"] for intent in intents())


@pytest.mark.parametrize("intent", intents(), ids=lambda intent: intent["metadata"]["name"])
def test_an_example_is_accepted_with_every_field_known(
    refusal: Callable[[samples.Object], str], intent: samples.Object
) -> None:
    assert refusal(intent) == ""
    understood = InferenceDeploymentSpec.model_validate(intent["spec"]).wire()
    assert lost(intent["spec"], understood) == []


def lost(sent: object, kept: object, path: str = "spec") -> list[str]:
    """Paths of what was sent and not kept as sent."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        return [found for name in sent for found in lost(sent[name], kept.get(name), f"{path}.{name}")]
    return [] if sent == kept else [path]
