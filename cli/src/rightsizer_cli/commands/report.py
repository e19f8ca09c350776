"""``report NAME [-o table|html|json|yaml] [--file PATH]``: the whole result, for a terminal, a browser or a
pipeline."""

import argparse
from pathlib import Path

from rightsizer_cli import tables
from rightsizer_cli.assemble import assembled
from rightsizer_cli.commands.status import run_of
from rightsizer_cli.failure import OK, REFUSED, USAGE, Failure
from rightsizer_cli.kubectl import INFERENCE_DEPLOYMENTS, Kubectl, pick
from rightsizer_cli.plain import structured, visible
from rightsizer_cli.result import Result


def run(options: argparse.Namespace) -> int:
    access = Kubectl(namespace=options.namespace, context=options.context, kubeconfig=options.kubeconfig)
    text = written(result_of(access, options.name), options.output)
    if not options.file:
        print(text)
        return OK
    try:
        Path(options.file).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise Failure(USAGE, f"cannot write {options.file}: {error.strerror}", "Name another --file.") from None
    print(f"written to {visible(options.file)}")
    return OK


def result_of(access: Kubectl, name: str) -> Result:
    """The result of the run that the resource's status rests on; raises Failure where there is none yet."""
    infdep = access.read(INFERENCE_DEPLOYMENTS, name)
    found = run_of(access, infdep)
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
