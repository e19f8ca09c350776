"""``status [NAME] [--watch]``: what is going on and what was found. Two requests a look; no pydantic, no YAML
unless asked."""

import argparse
import os
import shutil
import sys
import time
from dataclasses import asdict
from time import sleep

from rightsizer_cli.failure import NOT_FOUND, OK, UNREACHABLE, USAGE, Failure
from rightsizer_cli.kubectl import INFERENCE_DEPLOYMENTS, OPTIMIZATION_RUNS, Kubectl, Object, pick
from rightsizer_cli.plain import structured, visible
from rightsizer_cli.screen import detail, listing
from rightsizer_cli.summary import Summary, summarised

_HOME_AND_CLEAR = "\x1b[H\x1b[2J"
_LINE_END = "\x1b[K\n"


def run(options: argparse.Namespace) -> int:
    if options.watch and options.output != "table":
        raise Failure(USAGE, "--watch shows a table", "Leave out -o, or use: kubectl get infdep -w -o json.")
    access = Kubectl(
        namespace=options.namespace, all_namespaces=options.all_namespaces,
        context=options.context, kubeconfig=options.kubeconfig,
    )  # fmt: skip
    if options.watch:
        return _watch(access, options)
    found = read(access, options.name)
    if options.output == "table":
        print("\n".join(_lines(found, options, shutil.get_terminal_size((0, 0)).columns if _on_screen() else 0)))
    else:
        print(structured({"items": [asdict(summary) for summary in found]}, options.output))
    return OK


def read(access: Kubectl, name: str | None) -> list[Summary]:
    """The named resource, or all in scope; a single one comes with its run."""
    found = [access.read(INFERENCE_DEPLOYMENTS, name)] if name else access.listed(INFERENCE_DEPLOYMENTS)
    if len(found) == 1:
        return [summarised(found[0], run_of(access, found[0]))]
    return [summarised(infdep, None) for infdep in found]


def run_of(access: Kubectl, infdep: Object, name: str | None = None) -> Object | None:
    """The OptimizationRun of that name, else the one that the status rests on, else the one whose proposal is applied.

    None where there is none (any more).
    """
    status = pick(infdep, "status", default={})
    name = name or pick(status, "runRef", "name") or pick(status, "appliedRunRef", "name")
    if not name:
        return None
    inside = Kubectl(
        namespace=pick(infdep, "metadata", "namespace"), context=access.context, kubeconfig=access.kubeconfig
    )
    try:
        return inside.read(OPTIMIZATION_RUNS, name)
    except Failure as problem:
        if problem.code == NOT_FOUND:
            return None
        raise


def _on_screen() -> bool:
    return sys.stdout.isatty()


def _lines(found: list[Summary], options: argparse.Namespace, columns: int) -> list[str]:
    if not found:
        return ["No InferenceDeployment found. Another namespace: -n NAME or -A."]
    colours = _on_screen() and not os.environ.get("NO_COLOR")
    if len(found) == 1 and not options.all_namespaces:
        return detail(found[0], colours, columns)
    return listing(found, options.all_namespaces, columns)


def _watch(access: Kubectl, options: argparse.Namespace) -> int:
    """On a terminal: one screen, redrawn. Elsewhere: a block whenever something changed. Ends with Ctrl-C."""
    before: list[str] = []
    try:
        while True:
            before = _look(access, options, before)
            sleep(options.interval)
    except KeyboardInterrupt:
        return OK


def _look(access: Kubectl, options: argparse.Namespace, before: list[str]) -> list[str]:
    size = shutil.get_terminal_size((160, 50))
    lines = _seen(access, options, size.columns if _on_screen() else 0, first=not before)
    if _on_screen():
        clock = time.strftime("%H:%M:%S")
        shown = [f"every {options.interval:g} s, {clock}, Ctrl-C ends", "", *lines][: size.lines - 1]
        sys.stdout.write(_HOME_AND_CLEAR + _LINE_END.join(shown) + _LINE_END)
    elif lines != before:
        print("\n".join(lines), end="\n\n")
    sys.stdout.flush()
    return lines


def _seen(access: Kubectl, options: argparse.Namespace, columns: int, *, first: bool) -> list[str]:
    """What is to be shown. Once something was shown, a cluster that does not answer is waited for."""
    try:
        return _lines(read(access, options.name), options, columns)
    except Failure as problem:
        if first or problem.code != UNREACHABLE:
            raise
        return [f"no answer, trying again: {visible(problem.message)}"]
