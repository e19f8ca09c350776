"""``approve NAME [--hash H]``: write the proposal's hash into ``spec.updatePolicy.approvedProposal``, under the CLI's
own field manager.

It refuses what the operator would ignore. A proposal that changes between reading and writing is harmless: the
operator applies only the proposal whose hash was approved.
"""

import argparse
import sys

from rightsizer_cli.failure import OK, REFUSED, Failure
from rightsizer_cli.kubectl import INFERENCE_DEPLOYMENTS, Kubectl, Object, pick
from rightsizer_cli.plain import structured, visible

_GITOPS = ("argocd", "kustomize-controller", "helm-controller", "fleet", "rancher")


def run(options: argparse.Namespace) -> int:
    access = Kubectl(namespace=options.namespace, context=options.context, kubeconfig=options.kubeconfig)
    found = access.listed(
        INFERENCE_DEPLOYMENTS, "--show-managed-fields", f"--field-selector=metadata.name={options.name}"
    )
    infdep = found[0] if found else access.read(INFERENCE_DEPLOYMENTS, options.name)
    proposal = approvable(infdep, options.hash)
    already = pick(infdep, "spec", "updatePolicy", "approvedProposal") == proposal["hash"]
    if not already:
        access.merge(
            INFERENCE_DEPLOYMENTS, options.name, {"spec": {"updatePolicy": {"approvedProposal": proposal["hash"]}}}
        )
    _tell(infdep, proposal, already, options.output)
    return OK


def approvable(infdep: Object, wanted: str | None) -> Object:
    """The proposal that may be approved; raises Failure with the remedy where the operator would not act on an
    approval."""
    name = pick(infdep, "metadata", "name")
    proposal: Object = pick(infdep, "status", "proposal", default={})
    mode = pick(infdep, "spec", "updatePolicy", "mode", default="Manual")
    if mode != "Manual":
        raise Failure(REFUSED, *_wrong_mode(mode))
    if not proposal:
        raise Failure(
            REFUSED, f"{name} has no proposal: {pick(infdep, 'status', 'activity') or 'nothing was found yet'}",
            f"See where it stands: kubectl rightsizer status {name}.",
        )  # fmt: skip
    if wanted and wanted != proposal["hash"]:
        raise Failure(
            REFUSED, f"the proposal is {proposal['hash']} now, not {wanted}",
            f"Look at the new one (kubectl rightsizer diff {name}) and approve that.",
        )  # fmt: skip
    return proposal


def _wrong_mode(mode: str) -> tuple[str, str]:
    if mode == "Auto":
        return "spec.updatePolicy.mode is Auto: proposals are applied without approval", "Nothing has to be done."
    return (
        f"spec.updatePolicy.mode is {mode}: an approval would be ignored",
        "Set spec.updatePolicy.mode to Manual, then approve.",
    )


def gitops_owner(infdep: Object) -> str:
    """The GitOps manager that owns the update policy and would undo an approval made here; empty when there is none."""
    for entry in pick(infdep, "metadata", "managedFields", default=[]):
        manager = str(pick(entry, "manager"))
        owns = "f:updatePolicy" in pick(entry, "fieldsV1", "f:spec", default={})
        if owns and manager.startswith(_GITOPS):
            return manager
    return ""


def _tell(infdep: Object, proposal: Object, already: bool, form: str) -> None:
    name = pick(infdep, "metadata", "name")
    if form != "table":
        print(structured({"name": name, "approvedProposal": proposal["hash"], "changed": not already}, form))
    else:
        print(
            f"{visible(name)}: proposal {visible(proposal['hash'])} {'was approved already' if already else 'approved'}"
        )
        gains = [
            ("GPUs", "gpus"),
            ("cost per M tokens", "costPerMillionTokens"),
            ("quality drop", "qualityDropPoints"),
            ("size:", "sizing"),
        ]
        print("  " + "; ".join(f"{word} {visible(proposal[key])}" for word, key in gains if pick(proposal, key)))
        print(f"  follow it: kubectl rightsizer status {visible(name)} --watch")
    owner = gitops_owner(infdep)
    if owner:
        print(
            f"note: {visible(owner)} owns spec.updatePolicy and may set it back; "
            f'write approvedProposal: "{visible(proposal["hash"])}" in Git too',
            file=sys.stderr,
        )
