"""``diff NAME``: the live target against the proposal, over the closed field list and nothing else, as a unified
diff."""

import argparse
import difflib
import os
import sys

from rightsizer_cli import closedlist
from rightsizer_cli.commands.status import run_of
from rightsizer_cli.failure import OK, REFUSED, Failure
from rightsizer_cli.inputs import Run, parsed
from rightsizer_cli.kubectl import INFERENCE_DEPLOYMENTS, Kubectl, Object, pick
from rightsizer_cli.plain import BOLD, GREEN, RED, as_yaml, painted, structured, visible
from rightsizer_operator.resource.run import RunProposal


def run(options: argparse.Namespace) -> int:
    access = Kubectl(namespace=options.namespace, context=options.context, kubeconfig=options.kubeconfig)
    infdep = access.read(INFERENCE_DEPLOYMENTS, options.name)
    manifest = run_of(access, infdep)
    found = parsed(infdep, manifest) if manifest else None
    if found is None or found.status.proposal is None:
        raise Failure(
            REFUSED,
            f"{options.name} has no proposal: {pick(infdep, 'status', 'activity') or 'nothing was found yet'}",
            f"See where it stands: kubectl rightsizer status {options.name}.",
        )
    target = access.read("deployments.apps", found.inputs.accepted.target_ref.name)
    before, after = sides(found, found.status.proposal, target)
    _show(options, found, found.status.proposal, before, after)
    return OK


def sides(run: Run, proposal: RunProposal, target: Object) -> tuple[Object, Object]:
    """The closed field list, live and as proposed. Replicas are left out where an autoscaler owns them."""
    baseline, resource = run.inputs.baseline, run.inputs.accepted.accelerator.resource
    shown = not baseline.replicas_managed_by
    names = closedlist.variables(proposal, baseline)
    before = closedlist.live(target, baseline.container, resource, names, shown)
    path = next((a.path for a in run.status.artefacts if a.name == proposal.serving.artefact), "")
    return before, closedlist.proposed(
        proposal, baseline, resource, path or f"artefacts/{proposal.serving.artefact}", before, shown
    )


def unified(before: Object, after: Object, target: str, proposal: str) -> list[str]:
    """Lines of a unified diff of the two documents; empty when they are equal."""
    old, new = as_yaml(before).splitlines(), as_yaml(after).splitlines()
    return list(difflib.unified_diff(old, new, f"{target} (live)", f"{target} (proposal {proposal})", n=3, lineterm=""))


def _show(options: argparse.Namespace, run: Run, proposal: RunProposal, before: Object, after: Object) -> None:
    if options.output != "table":
        changed = [key for key in after if before.get(key) != after[key]]
        document = {"proposal": proposal.hash, "changed": changed, "live": before, "proposed": after}
        print(structured(document, options.output))
        return
    target = f"deployment/{run.inputs.accepted.target_ref.name}"
    lines = unified(before, after, target, proposal.hash)
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    print("\n".join(_painted(visible(line), colours) for line in lines) or "The target already is as proposed.")
    owner = run.inputs.baseline.replicas_managed_by
    if owner:
        print(f"note: replicas are left to {visible(owner)}", file=sys.stderr)


def _painted(line: str, colours: bool) -> str:
    if line.startswith(("---", "+++", "@@")):
        return painted(line, BOLD, colours)
    return painted(line, GREEN if line.startswith("+") else RED if line.startswith("-") else "", colours)
