"""What can go wrong for a person at the command line, each with its exit code; ``__main__`` prints message and remedy,
never a traceback.

Codes are API (docs/cli.md): 0 done, 1 a bug, 2 usage, 3 not found, 4 refused or not ready, 5 cluster unreachable, 6
no rights.
"""

OK = 0
BUG = 1
USAGE = 2
NOT_FOUND = 3
REFUSED = 4
UNREACHABLE = 5
FORBIDDEN = 6


class Failure(Exception):
    """Message and remedy for a person. ``code`` is the exit code."""

    def __init__(self, code: int, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy
