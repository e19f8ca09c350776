"""``python -m e2e.images``: make what the demo needs and is not in the cache yet; with names, only those. Needs root.

Prints each made thing: an image with its reference and archive, an environment with its folder.
"""

import argparse
import subprocess
import sys

from e2e.images import build, environments, rootfs, store


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.images", description=__doc__)
    names = [*build.IMAGES, *(f"env/{name}" for name in environments.MOUNTS)]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names)}; none: all")
    given = parser.parse_args(arguments)
    unknown = set(given.names) - set(names)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    try:
        for name in given.names or names:
            print(_make(name))
    except (rootfs.ToolMissing, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _make(name: str) -> str:
    cache = store.cache_root()
    if name.startswith("env/"):
        return f"{name} {environments.ensure(name.removeprefix('env/'), cache)}"
    return f"{build.reference(name)} {build.ensure(name, cache)}"


if __name__ == "__main__":
    sys.exit(main())
