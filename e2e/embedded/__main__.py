"""The verbs of the embedded cluster, for the Makefile and for people: `python -m e2e.embedded --help`."""

import argparse
import subprocess
import sys

from e2e.embedded import binaries, debian, golang, processes


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.embedded", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("bootstrap", help="install the Debian packages of the full node, and Go where missing")
    build = verbs.add_parser("binaries", help="build the programs of a set into the cache; print their paths")
    build.add_argument("set", choices=sorted(binaries.SETS), nargs="?", default="tests")
    verbs.add_parser("lock", help="make the Go locks again from the pinned versions")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except (OSError, RuntimeError, subprocess.CalledProcessError, processes.Died) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    if options.verb == "bootstrap":
        debian.ensure()
        print(f"ready: every Debian package is there, Go is {golang.find()}")
    elif options.verb == "binaries":
        for program, path in binaries.ensure(binaries.SETS[options.set]).items():
            print(f"{program} {path}")
    elif options.verb == "lock":
        binaries.lock()
    return 0


if __name__ == "__main__":
    sys.exit(main())
