"""Who owns the fields that a rewrite would write, and whether it may take them over.

Called by ``phases`` before every write. Reads ``managedFields`` of the target; whoever applied image or args last owns
them. People and CI allow it in the resource, GitOps managers in the target itself; without that nothing is forced.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from rightsizer_operator.manifests import Object, labels, template

GITOPS = frozenset({"argocd-controller", "argocd-application-controller", "kustomize-controller", "helm-controller"})
GITOPS_PREFIX = "fleet"

WORDS = ("image", "command", "args", "env", "resources", "volumes", "replicas")
"""Words of the annotation ``rightsizer.dev/released-fields``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    allowed: bool
    force: bool
    """Other managers own fields and let us have them: the apply must force."""
    owners: tuple[str, ...]
    """Managers, other than us, of fields in the closed list."""
    message: str
    """Empty where allowed; else what to paste, and where."""


def check(target: Object, container: str, *, replicas: bool, take_ownership: bool) -> Ownership:
    """Ownership of the closed field list. ``replicas``: whether the rewrite also writes the replica count."""
    owned = _owned(target, container, replicas)
    owners = tuple(sorted(owned))
    gitops = {manager: fields for manager, fields in owned.items() if is_gitops(manager)}
    released = _released(target)
    wanted = tuple(word for word in WORDS if any(word in fields for fields in gitops.values()))
    missing = tuple(word for word in wanted if word not in released)
    texts = []
    if owned and not take_ownership:
        texts.append(_take_ownership_text(owned))
    if missing:
        names = [str(one.get("name")) for one in template.pod_spec(target).get("containers", ())]
        place = names.index(container) if container in names else 0
        name = str(target["metadata"].get("name", ""))
        texts.append(_release_text(tuple(sorted(gitops)), wanted, released, name, place))
    return Ownership(allowed=not texts, force=bool(owned) and not texts, owners=owners, message="\n".join(texts))


def is_gitops(manager: str) -> bool:
    """Whether a manager puts its source's values back by itself."""
    return manager in GITOPS or manager.startswith(GITOPS_PREFIX)


def owns_replicas(target: Object) -> bool:
    """Whether our own applied intent holds the replica count: leaving it out would then reset it to 1."""
    return any(
        entry.get("manager") == labels.FIELD_MANAGER
        and entry.get("operation") == "Apply"
        and _owns(entry.get("fieldsV1") or {}, ("f:spec", "f:replicas"))
        for entry in _entries(target)
    )


def _owned(target: Object, container: str, replicas: bool) -> dict[str, set[str]]:
    """Words of the closed list by manager, without ours."""
    found: dict[str, set[str]] = {}
    for entry in _entries(target):
        manager = str(entry.get("manager", ""))
        if manager == labels.FIELD_MANAGER or entry.get("subresource") == "status":
            continue
        words = _words(entry.get("fieldsV1") or {}, container, replicas)
        if words:
            found.setdefault(manager, set()).update(words)
    return found


def _words(fields: Object, container: str, replicas: bool) -> set[str]:
    spec = ("f:spec", "f:template", "f:spec")
    engine = (*spec, "f:containers", _key(name=container))
    paths: list[tuple[str, tuple[str, ...]]] = [
        ("image", (*engine, "f:image")),
        ("command", (*engine, "f:command")),
        ("args", (*engine, "f:args")),
        ("resources", (*engine, "f:resources", "f:limits")),
        ("resources", (*engine, "f:resources", "f:requests")),
        ("volumes", (*spec, "f:volumes", _key(name=template.MODEL_VOLUME))),
        ("volumes", (*spec, "f:volumes", _key(name=template.CONFIG_VOLUME))),
        # A variable's name stays everybody's; its value is what is fought over.
        *(("env", (*engine, "f:env", _key(name=name), "f:value")) for name in template.MANAGED_ENV),
    ]
    if replicas:
        paths.append(("replicas", ("f:spec", "f:replicas")))
    return {word for word, path in paths if _owns(fields, path)}


def _owns(fields: Object, path: Iterable[str]) -> bool:
    """Whether a field set holds the path or something below it; an empty node above it holds all of it."""
    node = fields
    for step in path:
        if not node:
            return node is not fields
        following = next((value for key, value in node.items() if _same(key, step)), None)
        if following is None:
            return False
        node = following
    return True


def _same(key: str, step: str) -> bool:
    if not key.startswith("k:") or not step.startswith("k:"):
        return key == step
    try:
        return bool(json.loads(key[2:]) == json.loads(step[2:]))
    except ValueError:
        return False


def _key(**fields: str) -> str:
    return "k:" + json.dumps(fields)


def _entries(target: Object) -> list[Object]:
    return list(target.get("metadata", {}).get("managedFields") or ())


def _released(target: Object) -> frozenset[str]:
    text = template.annotations_of(target).get(labels.RELEASED_FIELDS, "")
    return frozenset(word.strip() for word in text.split(",") if word.strip())


def _take_ownership_text(owned: dict[str, set[str]]) -> str:
    whose = "; ".join(
        f"{manager} owns {', '.join(word for word in WORDS if word in fields)}"
        for manager, fields in sorted(owned.items())
    )
    return (
        f"{whose}. To let Rightsizer write them, put this into the InferenceDeployment:\n"
        "spec:\n  targetRef:\n    takeOwnership: true"
    )


def _release_text(
    managers: tuple[str, ...], wanted: tuple[str, ...], released: frozenset[str], name: str, place: int
) -> str:
    words = [word for word in WORDS if word in wanted or word in released]
    text = (
        f"{', '.join(managers)} would put the old values back. "
        "Release the fields in Git, in the Deployment's manifest:\n"
        f"metadata:\n  annotations:\n    {labels.RELEASED_FIELDS}: {','.join(words)}"
    )
    if any(manager.startswith("argocd") for manager in managers):
        text += (
            "\nand in the Argo CD Application:\nspec:\n  ignoreDifferences:\n  - group: apps\n    kind: Deployment\n"
            f"    managedFieldsManagers: [{labels.FIELD_MANAGER}]\n"
            "  syncPolicy:\n    syncOptions: [RespectIgnoreDifferences=true]"
        )
    if "kustomize-controller" in managers:
        paths = ", ".join(_pointer(word, place) for word in words if word != "volumes")
        text += (
            f"\nand in the Flux Kustomization:\nspec:\n  ignore:\n  - target: {{kind: Deployment, name: {name}}}\n"
            f"    paths: [{paths}]"
        )
    return text


def _pointer(word: str, place: int) -> str:
    """JSON pointer of a word of the closed list; ``place`` is the container's index."""
    return "/spec/replicas" if word == "replicas" else f"/spec/template/spec/containers/{place}/{word}"
