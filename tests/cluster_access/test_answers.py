import json

import pytest

from rightsizer_operator.cluster.answers import failure
from rightsizer_operator.cluster.port import (
    AlreadyExists,
    ApplyConflict,
    ClusterError,
    Conflict,
    NotFound,
    Refused,
    Unavailable,
)


def status(code: int, reason: str, message: str = "text", causes: list[dict[str, str]] | None = None) -> bytes:
    body = {"kind": "Status", "code": code, "reason": reason, "message": message, "details": {"causes": causes}}
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (400, "BadRequest", Refused),
        (403, "Forbidden", Refused),
        (422, "Invalid", Refused),
        (401, "Unauthorized", Unavailable),
        (429, "TooManyRequests", Unavailable),
        (500, "InternalError", Unavailable),
        (503, "ServiceUnavailable", Unavailable),
    ],
)
def test_an_answer_becomes_the_error_that_says_what_to_do(code: int, reason: str, expected: type[ClusterError]) -> None:
    found = failure(code, status(code, reason))
    assert (type(found), found.message, found.code) == (expected, "text", code)


def test_conflicting_managers_are_named_once_each() -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl-client-side-apply" using apps/v1'},
        {"reason": "FieldManagerConflict", "message": 'conflict with "argocd-controller"', "field": ".spec.replicas"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "argocd-controller"', "field": ".spec.template"},
    ]
    found = failure(409, status(409, "Conflict", "Apply failed with 3 conflicts", causes))
    assert isinstance(found, ApplyConflict)
    assert found.managers == ("argocd-controller", "kubectl-client-side-apply")


def test_a_conflict_with_an_updating_manager_is_read_as_well() -> None:
    message = 'conflict with "kubectl-edit" with subresource "scale" using apps/v1 at 2026-01-01T00:00:00Z'
    found = failure(409, status(409, "Conflict", causes=[{"reason": "FieldManagerConflict", "message": message}]))
    assert isinstance(found, ApplyConflict) and found.managers == ("kubectl-edit",)


@pytest.mark.parametrize("body", [b"", b"<html>bad gateway</html>", b"[]", b'{"details": null}', b"\xff\xfe"])
def test_what_a_proxy_may_send_is_understood_by_its_code(body: bytes) -> None:
    assert isinstance(failure(502, body), Unavailable)


def test_a_long_message_is_cut() -> None:
    assert len(failure(422, status(422, "Invalid", "x" * 5000)).message) <= 700
