"""Artefacts are content-addressed: the same weights, recipe, tool and calibration give the same name, in every run.

Called by ``phases`` when it plans compress Jobs; the artefact itself is made by one and lives at ``artefacts/<name>``
on the model volume.
"""

import hashlib
import json
import re

RECIPES = {
    "INT8": "int8-w8a8",
    "INT8W8A16": "int8-w8a16",
    "INT4": "int4-w4a16",
    "FP8": "fp8-dynamic",
}
"""Recipe by precision. AsIs and BF16 are served from the weights as they are."""

FOLDER = "artefacts"


def recipe_for(precision: str) -> str | None:
    """Recipe that makes the weights of that precision; None where the weights are served as they are."""
    return RECIPES.get(precision)


def artefact_name(model_name: str, revision: str | None, path: str, recipe: str, tool: str, calibration: str) -> str:
    """``<model>-<recipe>-<hash10>``: a DNS label. ``tool`` is name and version, ``calibration`` names or digests the
    data."""
    identity = json.dumps([model_name, revision, path, recipe, tool, calibration])
    digest = hashlib.sha256(identity.encode()).hexdigest()[:10]
    model = re.sub(r"[^a-z0-9]+", "-", model_name.rpartition("/")[2].lower()).strip("-")[:32].strip("-")
    return f"{model or 'model'}-{re.sub(r'[^a-z0-9]+', '-', recipe.lower())[:18].strip('-')}-{digest}"
