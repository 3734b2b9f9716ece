"""The server's application: routes, pages, and the guard before them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

from mobilevit_fast.serve import prometheus
from mobilevit_fast.serve.asking import Asker
from mobilevit_fast.serve.guard import Guard
from mobilevit_fast.serve.models import ModelSet
from mobilevit_fast.serve.problems import Problem, response_to
from mobilevit_fast.serve.routes_classify import classify_routes
from mobilevit_fast.serve.routes_infer import infer_routes
from mobilevit_fast.serve.settings import ServerSettings

PAGE = Path(__file__).parent / "page"

_GONE = 499


def create_app(models: ModelSet, settings: ServerSettings, version: str = "0") -> Guard:
    """An ASGI application that offers `models` and closes them when it shuts down."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(models.close)

    app = FastAPI(
        title="mobilevit_fast",
        version=version,
        description="MobileViT image classifiers. Errors are problem JSON (RFC 9457).",
        lifespan=lifespan,
        # FastAPI's own pages load their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    guard = Guard(app, settings)
    asker = Asker(models, settings)
    app.include_router(classify_routes(asker))
    app.include_router(infer_routes(asker, guard, version))

    @app.head("/metrics", include_in_schema=False)
    @app.get(
        "/metrics", tags=["Operation"], summary="Metrics for Prometheus", response_class=PlainTextResponse
    )
    async def metrics() -> Response:
        return Response(prometheus.render(models, guard), media_type=prometheus.MEDIA_TYPE)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def reference() -> FileResponse:
        return FileResponse(PAGE / "reference.html")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> FileResponse:
        return FileResponse(PAGE / "icon.svg")

    app.mount("/page", StaticFiles(directory=PAGE))
    for kind in (Problem, HTTPException, RequestValidationError, ClientDisconnect, Exception):
        app.add_exception_handler(kind, _answer_error)
    return guard


async def _answer_error(request: Request, error: Any) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=_GONE)
    if isinstance(error, HTTPException):
        error = Problem(error.status_code, str(error.detail), headers=dict(error.headers or {}))
    elif isinstance(error, RequestValidationError):
        error = Problem(422, "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors()))
    return response_to(error, request.scope)
