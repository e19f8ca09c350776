"""The verbs of the embedded cluster, for the Makefile and for people: `python -m e2e.embedded --help`."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import yaml

from e2e.embedded import binaries, controlplane, debian, golang, keeper, processes
from e2e.embedded.node import Node, every

_ON_A_CLUSTER = {
    "up": "start a node that runs pods, or go on with a half-started one (root)",
    "down": "end it and remove everything it made",
    "status": "what of it runs",
    "load-image": "import OCI or Docker archives into it",
    "kubectl": "run kubectl against it, with every right",
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.embedded", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("bootstrap", help="install the Debian packages of the full node, and Go where missing")
    build = verbs.add_parser("binaries", help="build the programs of a set into the cache; print their paths")
    build.add_argument("set", choices=sorted(binaries.SETS), nargs="?", default="tests")
    verbs.add_parser("lock", help="make the Go locks again from the pinned versions")
    for verb, text in _ON_A_CLUSTER.items():
        one = verbs.add_parser(verb, help=text)
        one.add_argument("--name", default="demo", help="which cluster of this checkout (default: demo)")
        one.add_argument("--folder", type=Path, help="its folder, instead of build/clusters/NAME")
        _arguments_of(verb, one)
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except (OSError, RuntimeError, subprocess.CalledProcessError, processes.Died) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _arguments_of(verb: str, parser: argparse.ArgumentParser) -> None:
    if verb == "up":
        text = "extended resource of the node, as rightsizer.dev/engine-slot=5; may be repeated"
        parser.add_argument(
            "--resource", action="append", default=[], type=resource_count, metavar="NAME=COUNT", help=text
        )
    elif verb in ("down", "status"):
        parser.add_argument("--all", action="store_true", help="every cluster of this checkout")
    elif verb == "load-image":
        parser.add_argument("archive", type=Path, nargs="+")
    elif verb == "kubectl":
        parser.add_argument("words", nargs=argparse.REMAINDER, help="what kubectl is to do")


def resource_count(text: str) -> tuple[str, int]:
    """("rightsizer.dev/engine-slot", 5) from rightsizer.dev/engine-slot=5."""
    name, _, count = text.partition("=")
    if "/" not in name or not count.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not DOMAIN/NAME=COUNT, as rightsizer.dev/engine-slot=5")
    return name, int(count)


def _run(options: argparse.Namespace) -> int:
    if options.verb in _ON_A_CLUSTER:
        return _on_a_cluster(options)
    if options.verb == "bootstrap":
        debian.ensure()
        print(f"ready: every Debian package is there, Go is {golang.find()}")
    elif options.verb == "binaries":
        for program, path in binaries.ensure(binaries.SETS[options.set]).items():
            print(f"{program} {path}")
    elif options.verb == "lock":
        binaries.lock()
    return 0


def _on_a_cluster(options: argparse.Namespace) -> int:
    node = Node(options.name, options.folder)
    if options.verb == "up":
        node.up(dict(options.resource))
        print(f"export KUBECONFIG={node.kubeconfig}")
    elif options.verb == "down":
        for one in every() if options.all else [node]:
            one.down()
            print(f"removed {one.folder}")
        if options.all:
            keeper.sweep(controlplane.FOLDER)
    elif options.verb == "status":
        for one in every() if options.all else [node]:
            print(yaml.safe_dump(one.status(), sort_keys=False), end="")
    elif options.verb == "load-image":
        for archive in options.archive:
            print(node.load_image(archive), end="")
    elif options.verb == "kubectl":
        words = options.words[1:] if options.words[:1] == ["--"] else options.words
        kubectl = str(node.folder / "bin" / "kubectl")
        os.execv(kubectl, [kubectl, f"--kubeconfig={node.kubeconfig}", *words])
    return 0


if __name__ == "__main__":
    sys.exit(main())
