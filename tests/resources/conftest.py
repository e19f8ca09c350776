"""What the API server and the types accept, refuse and store. What the operator does then is tested elsewhere."""

from collections.abc import Callable

import pytest

from e2e.embedded.client import Client, Refused
from tests.resources import samples

Verdict = Callable[[samples.Object], str]


@pytest.fixture
def refusal(api: Client, namespace: str) -> Verdict:
    """Asks the API server, dry, to create an object: its refusal, or an empty string when it would store it."""

    def ask(manifest: samples.Object) -> str:
        try:
            api.create(samples.changed(manifest, "metadata.namespace", namespace), dry_run=True)
        except Refused as refused:
            return refused.message
        return ""

    return ask
