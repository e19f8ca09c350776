"""Identities by content: the fingerprint of a run's inputs and the hash of a proposal. ``phases`` calls it.

What only decides about writing (updatePolicy, paused), the budget and the prices are no inputs: changing them starts
no new search.
"""

import hashlib
import json

from rightsizer_operator.resource.run import Baseline, Serving
from rightsizer_operator.resource.spec import InferenceDeploymentSpec

GENERATOR_VERSION = 1
"""Version of the candidate generator and of this hash: a change disowns older runs instead of resuming them."""

_NO_INPUTS: dict[str, object] = {
    "updatePolicy": True,
    "paused": True,
    "cost": True,
    "search": {"budget": True},
    "targetRef": {"takeOwnership": True},
}

_ORDER_ONLY: dict[str, object] = {"model": {"architecture": True}}
"""Of a measured search these only steer estimates: what was measured or applied stays when they are added."""


def digest(value: object) -> str:
    """SHA-256 over the canonical JSON of ``value``, in hexadecimal."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def inputs_fingerprint(spec: InferenceDeploymentSpec, baseline: Baseline, accelerator_type: str) -> str:
    """Hash of everything a search depends on, 16 hexadecimal digits."""
    dropped = _NO_INPUTS if spec.search.strategy == "Rapid" else {**_NO_INPUTS, **_ORDER_ONLY}
    inputs = _without(spec.wire(), dropped)
    target = [baseline.target_uid, baseline.hash, baseline.template_hash]
    return digest([GENERATOR_VERSION, inputs, target, accelerator_type])[:16]


def proposal_hash(run_fingerprint: str, candidate: str, serving: Serving, replicas: int) -> str:
    """Identity of a proposal, 12 hexadecimal digits: what would be deployed, and the inputs that it was found for."""
    return digest([run_fingerprint, candidate, serving.wire(), replicas])[:12]


def seed(*parts: object) -> int:
    """A seed that a restart derives again; below 2^31."""
    return int(digest([str(part) for part in parts])[:8], 16) & 0x7FFFFFFF


def _without(tree: dict[str, object], dropped: dict[str, object]) -> dict[str, object]:
    kept: dict[str, object] = {}
    for key, value in tree.items():
        rule = dropped.get(key)
        if rule is True:
            continue
        kept[key] = _without(value, rule) if isinstance(rule, dict) and isinstance(value, dict) else value
    return kept
