"""``python -m e2e.demo [up|down]``: the main job end to end. FULL=1 tries more candidates, on the 94M model."""

import argparse
import os
import subprocess
import sys

from e2e.demo import progress, story
from e2e.stage import cluster
from e2e.stage.kubectl import Failed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.demo", description=__doc__)
    parser.add_argument("verb", choices=("up", "down"), nargs="?", default="up")
    where = cluster.chosen(os.environ, "demo", story.FOLDER)
    if parser.parse_args(arguments).verb == "down":
        story.take_down(where)
        return 0
    shown = progress.Progress(record=story.FOLDER / "times.json")
    told = story.Story(progress=shown, cluster=where, full=os.environ.get("FULL", "") not in ("", "0"))
    try:
        result = story.tell(told)
    except KeyboardInterrupt:
        return progress.fail("interrupted; `make demo` goes on from here, `make demo-down` removes everything")
    except (TimeoutError, Failed, RuntimeError, PermissionError, subprocess.CalledProcessError) as error:
        return progress.fail(f"{error}\n`make demo` goes on from here, `make demo-down` removes everything")
    for line in story.compared(result):
        shown.say(line)
    shown.say(story.conclusion(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
