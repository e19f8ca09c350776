"""Start-up of ``rightsizer`` (also ``kubectl-rightsizer``): parse, run one command, turn errors into a sentence and
an exit code."""

import errno
import importlib
import os
import sys
from collections.abc import Sequence

from rightsizer_cli import failure
from rightsizer_cli.arguments import parser
from rightsizer_cli.plain import visible

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code. Every command module has ``run(options) -> int``; only the one that is asked for is imported."""
    options = parser().parse_args(arguments)
    try:
        code: int = importlib.import_module(f"rightsizer_cli.commands.{options.command}").run(options)
        sys.stdout.flush()
    except failure.Failure as problem:
        return _explain(problem)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader (head, less) went away: nothing is wrong
        _drop_output()
        return failure.OK
    except Exception as bug:  # the last edge before the user: a traceback helps only those who ask for it
        if isinstance(bug, OSError) and bug.errno in _FULL:
            _drop_output()
            return _explain(
                failure.Failure(failure.USAGE, f"cannot write the output: {bug.strerror}", "Write it elsewhere.")
            )
        if os.environ.get("RIGHTSIZER_DEBUG"):
            raise
        said = f"this is a bug: {type(bug).__name__}: {bug}"
        return _explain(
            failure.Failure(failure.BUG, said, "Run again with RIGHTSIZER_DEBUG=1 and report the traceback.")
        )
    return code


def _drop_output() -> None:
    """What is still buffered goes nowhere; the interpreter would fail on it again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(problem: failure.Failure) -> int:
    print(f"error: {visible(problem.message)}", file=sys.stderr)
    if problem.remedy:
        print(f"remedy: {visible(problem.remedy)}", file=sys.stderr)
    return problem.code


if __name__ == "__main__":
    sys.exit(main())
