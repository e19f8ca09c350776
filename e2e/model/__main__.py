"""``python -m e2e.model {volume FOLDER, train FOLDER, damage SOURCE FOLDER}``; needs root."""

import argparse
import sys
from pathlib import Path

from e2e.images import rootfs, store
from e2e.model import volume


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m e2e.model", description="The demo's small trained model.")
    verbs = parser.add_subparsers(dest="verb")
    parser.set_defaults(folder=Path("build/model"))
    laid = verbs.add_parser("volume", help="lay out a model volume: weights, questions, calibration")
    laid.add_argument("folder", type=Path)
    laid.add_argument("--size", choices=("26M", "94M"), default="26M")
    trained = verbs.add_parser("train", help="train the base model again, four minutes (the default verb)")
    trained.add_argument("folder", type=Path, nargs="?", default=Path("build/model"))
    damaged = verbs.add_parser("damage", help="round the weights to 3 bits: a model that must fail the quality gate")
    damaged.add_argument("source", type=Path)
    damaged.add_argument("folder", type=Path)
    return parser


def main(arguments: list[str] | None = None) -> int:
    given, cache = parser().parse_args(arguments), store.cache_root()
    try:
        if given.verb == "volume":
            volume.lay_out(given.folder, given.size, cache)
        elif given.verb == "damage":
            volume.damaged(given.source, given.folder, cache)
        else:
            volume.train(given.folder, cache)
    except (volume.Damaged, rootfs.ToolMissing) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
