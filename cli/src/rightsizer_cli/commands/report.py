"""``report NAME [-o table|html|json|yaml] [--file PATH]``: the whole result, for a terminal, a browser or a
pipeline."""

import argparse
from pathlib import Path

from rightsizer_cli import tables
from rightsizer_cli.assemble import assembled
from rightsizer_cli.commands.status import run_of
from rightsizer_cli.failure import NOT_FOUND, OK, REFUSED, USAGE, Failure
from rightsizer_cli.kubectl import INFERENCE_DEPLOYMENTS, Kubectl, pick
from rightsizer_cli.plain import structured, visible
from rightsizer_cli.result import Result


def run(options: argparse.Namespace) -> int:
    access = Kubectl(namespace=options.namespace, context=options.context, kubeconfig=options.kubeconfig)
    text = written(result_of(access, options.name, options.run), options.output)
    if not options.file:
        print(text)
        return OK
    try:
        Path(options.file).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise Failure(USAGE, f"cannot write {options.file}: {error.strerror}", "Name another --file.") from None
    print(f"written to {visible(options.file)}")
    return OK


def result_of(access: Kubectl, name: str, run: str | None) -> Result:
    """The result of that run, else of the one the resource's status rests on; raises Failure where there is none."""
    infdep = access.read(INFERENCE_DEPLOYMENTS, name)
    found = run_of(access, infdep, run)
    if found is None and run:
        raise Failure(NOT_FOUND, f"there is no run {run}", "List the runs with: kubectl get optrun.")
    if found is None:
        raise Failure(
            REFUSED,
            f"{name} has no run yet: {pick(infdep, 'status', 'activity') or 'nothing was looked at'}",
            f"See where it stands: kubectl rightsizer status {name}.",
        )
    return assembled(infdep, found)


def written(result: Result, form: str) -> str:
    """The result in one of the output forms."""
    if form == "html":
        from rightsizer_cli.page import document

        return document.page(result)
    return "\n".join(tables.report(result)) if form == "table" else structured(result.wire(), form)
