"""What stands before every route: token, number of requests, log line, errors, headers."""

from __future__ import annotations

import hmac
import logging
import time
import uuid
from collections import Counter
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from mobilevit_fast.serve.body import Receive, discard
from mobilevit_fast.serve.logs import log
from mobilevit_fast.serve.problems import REQUEST_ID, Problem, response_to
from mobilevit_fast.serve.settings import ServerSettings

_OPEN = ("/v2/health/", "/page/")
_OPEN_EXACTLY = ("/", "/docs", "/openapi.json", "/favicon.ico")
"""What needs no token: whether the server is well, and the pages, which hold nothing of the user's."""

_GONE = 499
"""Status under which a request is counted whose client left; nobody receives it."""

SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; frame-ancestors 'none'; "
        b"base-uri 'none'; form-action 'none'",
    ),
]


class Guard:
    """ASGI middleware.

    Attributes:
        draining: the server is on its way down; connections are closed after their answers.
        active: requests that are worked on.
        statuses: requests by (method, route, status).
    """

    def __init__(self, app: Any, settings: ServerSettings) -> None:
        self._app = app
        self._settings = settings
        self.draining = False
        self.active = 0
        self.statuses: Counter[tuple[str, str, int]] = Counter()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(self, scope, send)
        self.active += 1
        try:
            self._admit(scope)
            await self._app(scope, receive, exchange.send)
        except ClientDisconnect:
            exchange.status = _GONE
        except Exception as error:
            await self._refuse(error, exchange, receive)
        finally:
            self.active -= 1
            self._record(exchange)

    async def _refuse(self, error: Exception, exchange: _Exchange, receive: Receive) -> None:
        if isinstance(error, Problem):
            await discard(receive, self._settings)
        else:
            log("error", level=logging.ERROR, error=error, path=exchange.scope["path"])
        if not exchange.started:
            await response_to(error, exchange.scope)(exchange.scope, receive, exchange.send)

    def _admit(self, scope: dict[str, Any]) -> None:
        path, token = scope["path"], self._settings.token
        is_open = path in _OPEN_EXACTLY or path.startswith(_OPEN)
        if token is not None and not is_open:
            given = Headers(scope=scope).get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
                raise Problem(
                    401, "a bearer token is needed", headers={"WWW-Authenticate": "Bearer"}, close=True
                )
        if self.active > self._settings.max_requests and scope["method"] == "POST":
            detail = f"{self._settings.max_requests} requests are worked on already; try again"
            raise Problem(503, detail, headers={"Retry-After": "1"}, close=True)

    def _record(self, exchange: _Exchange) -> None:
        scope = exchange.scope
        route = scope.get("route")
        # Only known routes: addresses that clients invent must not grow the table.
        path = getattr(route, "path", None) or "other"
        self.statuses[scope["method"] if path != "other" else "any", path, exchange.status] += 1
        if self._settings.log_requests:
            log(
                "request",
                id=exchange.id,
                method=scope["method"],
                path=scope["path"],
                status=exchange.status,
                ms=round((time.perf_counter() - exchange.began) * 1e3, 2),
                client=scope["client"][0] if scope.get("client") else None,
            )


class _Exchange:
    """One request and its answer."""

    def __init__(self, guard: Guard, scope: dict[str, Any], send: Any) -> None:
        self.scope = scope
        self.id = scope[REQUEST_ID] = uuid.uuid4().hex[:16]
        self.began = time.perf_counter()
        self.status = 500
        self.started = False
        self._guard = guard
        self._send = send

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            headers = [*message.get("headers", []), *SECURITY_HEADERS, (b"x-request-id", self.id.encode())]
            if self._guard.draining:
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        await self._send(message)
