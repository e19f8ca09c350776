"""The command line as an argparse parser: names, options, help. It must import nothing of the commands (``--help``
stays instant)."""

import argparse
import re

from rightsizer_cli import __version__

_EXIT_CODES = """exit codes:
  0 done   1 a bug   2 wrong usage   3 not found   4 refused or not ready   5 cluster unreachable   6 no rights
"""
_EXAMPLES = """examples:
  kubectl rightsizer status --watch
  kubectl rightsizer explain support-chat
  kubectl rightsizer approve support-chat --hash 4f0c2a9b81d7
  kubectl rightsizer report support-chat -o html --file report.html
"""


def _connection() -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    group = parent.add_argument_group("cluster")
    group.add_argument("-n", "--namespace", type=_name, metavar="NAME", help="namespace (default: the context's)")
    group.add_argument("--context", metavar="NAME", help="context of the kubeconfig")
    group.add_argument("--kubeconfig", metavar="FILE", help="kubeconfig file")
    return parent


def _form(*forms: str) -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("-o", "--output", choices=forms, default=forms[0], help=f"output (default: {forms[0]})")
    return parent


def parser() -> argparse.ArgumentParser:
    """The whole command line; ``command`` in the result names the module of ``rightsizer_cli.commands``."""
    top = argparse.ArgumentParser(
        prog="kubectl rightsizer",
        description="Finds the cheapest way to serve a language model inside its targets, and proves it.",
        epilog=_EXAMPLES + "\n" + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"rightsizer {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    cluster, form = _connection(), _form("table", "json", "yaml")
    _status(commands, cluster, form)
    explain = _one(commands, "explain", "why this configuration, and why not each other candidate", cluster, form)
    explain.add_argument("--run", type=_name, metavar="RUN", help="an older OptimizationRun (default: the current one)")
    _one(commands, "diff", "what the proposal would change in the live Deployment", cluster, form)
    approve = _one(
        commands, "approve", "approve the proposal; the operator then rewrites the Deployment", cluster, form
    )
    approve.add_argument("--hash", metavar="H", help="approve only if the proposal still is this one")
    report = _one(
        commands, "report", "the whole result: table, result.json or a self-contained page", cluster,
        _form("table", "html", "json", "yaml"),
    )  # fmt: skip
    report.add_argument("--run", type=_name, metavar="RUN", help="an older OptimizationRun (default: the current one)")
    report.add_argument("--file", metavar="PATH", help="write to this file instead of the terminal")
    _offline(commands)
    doctor = commands.add_parser("doctor", parents=[cluster, form], help="what is missing for this cluster to be used")
    doctor.add_argument(
        "name", nargs="?", type=_name, metavar="NAME", help="check what this InferenceDeployment needs, too"
    )
    return top


def _offline(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The commands that need files only."""
    known = argparse.ArgumentParser(add_help=False)
    known.add_argument("--model-config", metavar="FILE", help="the model's config.json (default: published facts)")
    known.add_argument("--gpus", metavar="FILE", help="facts of more GPUs, laid out as the package's gpus.json")
    known.add_argument("--efficiencies", metavar="FILE", help="efficiencies instead of the package's")
    text = "rank every candidate offline, without a cluster or a GPU; every figure is estimated"
    plan = commands.add_parser(
        "plan", parents=[known, _form("table", "json", "yaml", "csv", "html")], help=text, description=_sentence(text)
    )
    plan.add_argument(
        "-f", "--file", action="append", required=True, metavar="FILE",
        help="manifests: the InferenceDeployment, and its target's Deployment where there is one; - is standard input",
    )  # fmt: skip
    plan.add_argument(
        "--print-architecture", action="store_true",
        help="print spec.model.architecture of the model, to be pasted into the InferenceDeployment, and nothing else",
    )  # fmt: skip
    plan.add_argument("--gpu", metavar="NAME", help="GPU product instead of spec.accelerator.type")
    text = "estimate recorded runs, row by row"
    estimate = commands.add_parser(
        "estimate", parents=[known, _form("csv", "json")], help=text, description=_sentence(text)
    )
    estimate.add_argument(
        "--rows", required=True, metavar="FILE", help="CSV of recorded runs (docs/estimator.md); - is standard input"
    )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _one(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str,
    *parents: argparse.ArgumentParser,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, parents=list(parents), help=text, description=_sentence(text))
    command.add_argument("name", type=_name, metavar="NAME", help="name of the InferenceDeployment")
    return command


def _status(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", *parents: argparse.ArgumentParser) -> None:
    command = commands.add_parser("status", parents=list(parents), help="what is going on, and what was found")
    command.add_argument(
        "name", nargs="?", type=_name, metavar="NAME", help="show one InferenceDeployment with its candidates"
    )
    command.add_argument("-A", "--all-namespaces", action="store_true", help="all namespaces")
    command.add_argument("-w", "--watch", action="store_true", help="keep the screen up to date until Ctrl-C")
    command.add_argument(
        "--interval", type=_seconds, default=3.0, metavar="S", help="seconds between looks with --watch (default: 3)"
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.5 <= value <= 3600:
        raise argparse.ArgumentTypeError("between 0.5 and 3600")
    return value


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of an object: lower-case letters, digits, - and .")
    return text
