"""``explain NAME``: why this configuration, and why not each other candidate or fewer accelerators."""

import argparse

from rightsizer_cli.commands.report import result_of
from rightsizer_cli.failure import OK
from rightsizer_cli.kubectl import Kubectl
from rightsizer_cli.plain import structured
from rightsizer_cli.tables import explanation

_PARTS = ("subject", "decision", "candidates", "quality", "estimates", "minimality", "learned", "repeat", "notes")


def run(options: argparse.Namespace) -> int:
    access = Kubectl(namespace=options.namespace, context=options.context, kubeconfig=options.kubeconfig)
    result = result_of(access, options.name, options.run)
    if options.output == "table":
        print("\n".join(explanation(result)))
    else:
        document = result.wire()
        print(structured({part: document[part] for part in _PARTS if part in document}, options.output))
    return OK
