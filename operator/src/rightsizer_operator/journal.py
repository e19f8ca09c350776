"""JSON lines on standard output: one object per line, the ``extra`` fields beside the message. ``__main__`` sets it
up once.
"""

import datetime
import json
import logging
import sys

_STANDARD = frozenset(vars(logging.makeLogRecord({})))


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{key: value for key, value in vars(record).items() if key not in _STANDARD},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class OncePerMinute(logging.Filter):
    """Lets one line a minute of each logger through: kopf reports every attempt of every watch stream it reconnects."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("kopf"):
            return True
        due = record.created - self._last.get(record.name, float("-inf")) >= 60
        if due:
            self._last[record.name] = record.created
        return due


def set_up(level: str) -> None:
    """kopf and the HTTP libraries speak from WARNING on: what they say at INFO is no transition of ours."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    handler.addFilter(OncePerMinute())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in ("kopf", "aiohttp", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
