"""Turn API answers into ClusterErrors: pure, so that each shape of failure is a test with the body a real API server
sent.
"""

import json
import re
from typing import Any

from rightsizer_operator.cluster.port import (
    AlreadyExists,
    ApplyConflict,
    ClusterError,
    Conflict,
    NotFound,
    Refused,
    Unavailable,
)

MESSAGE_LIMIT = 700
_MANAGER = re.compile(r'conflict with "((?:[^"\\]|\\.)*)"')


def failure(code: int, body: bytes) -> ClusterError:
    """The error of an answer that is not 2xx; ``body`` is a Status object, or anything a proxy may send."""
    status = _status(body)
    message = str(status.get("message") or body[:200].decode(errors="replace") or f"HTTP {code}")[:MESSAGE_LIMIT]
    if code == 404:
        return NotFound(message, code)
    if code == 409:
        return _conflict(status, message)
    if code in (408, 429) or code >= 500:
        return Unavailable(message, code)
    # 401: a token that is just being rotated; the client reads it anew for the next call.
    return Unavailable(message, code) if code == 401 else Refused(message, code)


def _conflict(status: dict[str, Any], message: str) -> ClusterError:
    if status.get("reason") == "AlreadyExists":
        return AlreadyExists(message, 409)
    managers = conflicting_managers(status)
    return ApplyConflict(message, managers) if managers else Conflict(message, 409)


def conflicting_managers(status: dict[str, Any]) -> tuple[str, ...]:
    """Managers named in the FieldManagerConflict causes of a Status, each once, sorted."""
    causes = (status.get("details") or {}).get("causes") or []
    texts = [str(cause.get("message", "")) for cause in causes if cause.get("reason") == "FieldManagerConflict"]
    return tuple(sorted({found for text in texts for found in _MANAGER.findall(text)}))


def _status(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
