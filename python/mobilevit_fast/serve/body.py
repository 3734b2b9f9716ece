"""Reading the body of a request within limits of size and time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from mobilevit_fast.serve.problems import Problem
from mobilevit_fast.serve.settings import ServerSettings

_MOST_PARTS = 64
"""Files of a multipart body."""

_DISCARDED = 4
"""Bodies of the allowed size that are read and thrown away before a client is told that its own is too large.

Most clients read an answer only after they have sent everything; cut off before, they see a broken
connection instead of the reason."""

_DISCARD_S = 3.0
"""Longest time that throwing away takes."""

Receive = Callable[[], Awaitable[Any]]


async def read_body(request: Request, settings: ServerSettings) -> bytes:
    """The whole body.

    Raises:
        Problem: 413 too large, 408 too slow, 400 empty, 411 a length that is no number.
        ClientDisconnect: the client left.
    """
    declared = request.headers.get("content-length", "0")
    too_large = Problem(413, f"a body may have {settings.max_body_bytes} bytes at most", close=True)
    if declared.isdecimal() and int(declared) > settings.max_body_bytes:
        if "expect" not in request.headers:
            await discard(request.receive, settings)
        raise too_large
    try:
        body = await asyncio.wait_for(
            _collect(request.receive, settings.max_body_bytes), settings.body_timeout_s
        )
    except asyncio.TimeoutError:
        detail = f"the body did not arrive within {settings.body_timeout_s:g} seconds"
        raise Problem(408, detail, close=True) from None
    if body is None:
        await discard(request.receive, settings)
        raise too_large
    if not body:
        raise Problem(400, "the request has no body; send an image")
    return body


async def _collect(receive: Receive, limit: int) -> bytes | None:
    """None where the body is longer than `limit`."""
    message = await _next(receive)
    if not message.get("more_body"):
        body = message.get("body", b"")
        return body if len(body) <= limit else None
    parts = bytearray(message.get("body", b""))
    while message.get("more_body"):
        message = await _next(receive)
        parts += message.get("body", b"")
        if len(parts) > limit:
            return None
    return bytes(parts)


async def _next(receive: Receive) -> Any:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message


async def discard(receive: Receive, settings: ServerSettings) -> None:
    """Reads what the client still sends, within reason, so that it comes to read the answer."""
    left = settings.max_body_bytes * _DISCARDED
    until = time.monotonic() + _DISCARD_S
    more = True
    while more and left > 0 and time.monotonic() < until:
        try:
            message = await asyncio.wait_for(_next(receive), until - time.monotonic())
        except (asyncio.TimeoutError, ClientDisconnect):
            return
        left -= len(message.get("body", b""))
        more = message.get("more_body", False)


def is_form(headers: Headers) -> bool:
    """Whether the body is a multipart form, by its media type, whatever the case of its letters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data"


async def files_of(headers: Headers, body: bytes) -> list[tuple[str, bytes]]:
    """(name, content) of the files in a multipart body.

    Raises Problem 400 for a body that is none, and where it holds no file or too many.
    """
    from starlette.formparsers import MultiPartException, MultiPartParser

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(
        headers, stream(), max_files=_MOST_PARTS, max_fields=_MOST_PARTS, max_part_size=1 << 16
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError, UnicodeError) as error:
        raise Problem(
            400, f"the multipart body cannot be read: {getattr(error, 'message', error)}"
        ) from error
    try:
        files = [
            (value.filename or name, await value.read())
            for name, value in form.multi_items()
            if not isinstance(value, str)
        ]
    finally:
        await form.close()
    if not files:
        raise Problem(400, "the multipart body holds no file; name one, as in: curl -F image=@cat.jpg")
    return files
