"""``python -m e2e.demo [up|down]``: the main job end to end. FULL=1 tries more candidates, on the 94M model."""

import argparse
import os
import subprocess
import sys

from e2e.demo import progress, story
from e2e.stage import cluster


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.demo", description=__doc__)
    parser.add_argument("verb", choices=("up", "down"), nargs="?", default="up")
    verb = parser.parse_args(arguments).verb
    shown = progress.Progress(record=story.FOLDER / "times.json")
    try:
        where = cluster.chosen(os.environ, "demo", story.FOLDER)
        if verb == "down":
            story.take_down(where)
            return 0
        told = story.Story(progress=shown, cluster=where, full=os.environ.get("FULL", "") not in ("", "0"))
        result = story.tell(told)
    except cluster.Unusable as error:
        return progress.fail(f"{error}\nNothing was started or changed.")
    except KeyboardInterrupt:
        return progress.fail("interrupted; `make demo` goes on from here, `make demo-down` removes everything")
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        return progress.fail(f"{error}\n`make demo` goes on from here, `make demo-down` removes everything")
    for line in story.compared(result):
        shown.say(line)
    shown.say(story.conclusion(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
