"""Errors as clients see them: problem JSON (RFC 9457)."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from mobilevit_fast.serve.errors import ClosedError, DeadlineError, QueueFullError

MEDIA_TYPE = "application/problem+json"

REQUEST_ID = "mobilevit_fast.request_id"
"""Where the scope of a request keeps its id."""


class Problem(Exception):  # noqa: N818 - the name of the thing that it becomes
    """A request that cannot be answered as asked.

    Attributes:
        status: of HTTP.
        detail: what was wrong, for people.
        headers: to send along.
        close: whether the connection ends, as it must where the body was not read.
    """

    def __init__(
        self, status: int, detail: str, *, headers: dict[str, str] | None = None, close: bool = False
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}
        self.close = close


def problem_from(error: Exception) -> Problem:
    """What an error of the batcher, or about an image, means to a client; others are raised again."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, QueueFullError):
        return Problem(503, str(error), headers={"Retry-After": "1"})
    if isinstance(error, DeadlineError | TimeoutError):
        return Problem(504, str(error) or "the answer took longer than allowed")
    if isinstance(error, ClosedError):
        return Problem(503, "the server is shutting down", headers={"Retry-After": "5"}, close=True)
    if isinstance(error, ValueError | TypeError):
        return Problem(422, str(error))
    if isinstance(error, FloatingPointError):
        return Problem(500, str(error))
    if isinstance(error, MemoryError):
        return Problem(507, "the image needs more memory than there is")
    raise error


def response_to(error: Exception, scope: dict[str, Any]) -> Response:
    """The answer to a request that failed so; 500, without details, for what is no `Problem`.

    Under /v2 the JSON has the member `error` that the Open Inference Protocol names.
    """
    problem = error
    if not isinstance(problem, Problem):
        problem = Problem(500, "the server made a mistake; its log has the details")
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": scope["path"],
        "request_id": scope.get(REQUEST_ID),
    }
    if scope["path"].startswith("/v2"):
        content["error"] = problem.detail
    headers = dict(problem.headers)
    if problem.close:
        headers["Connection"] = "close"
    return Response(json.dumps(content), problem.status, headers, media_type=MEDIA_TYPE)
