"""The Open Inference Protocol (KServe v2) over HTTP, with the repository extension for reloading."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mobilevit_fast.serve.asking import Asker
from mobilevit_fast.serve.body import read_body
from mobilevit_fast.serve.guard import Guard
from mobilevit_fast.serve.models import ServedModel
from mobilevit_fast.serve.problems import Problem, problem_from
from mobilevit_fast.serve.protocol_v2 import IMAGE, LOGITS, PIXELS, SCORES, format_answer, parse_request

_HEADER_LENGTH = "Inference-Header-Content-Length"
_INLINE_BYTES = 1 << 16
"""Longer bodies are read by a thread: a tensor in JSON would hold up all other requests."""

_JSON_BODY = {
    "requestBody": {
        "required": True,
        "description": (
            f"One input: `{PIXELS}` FP32 [N, 3, H, W], already preprocessed; or `{IMAGE}`, either BYTES [N], "
            "image files (base64 in JSON), or UINT8 [N, H, W, 3] in RGB order. Outputs: "
            f"`{LOGITS}` and `{SCORES}`, FP32 [N, classes]; with the parameter `classification` the best so "
            f"many as text. With the header {_HEADER_LENGTH} tensors may follow the JSON as bytes."
        ),
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "example": {
                    "inputs": [{"name": IMAGE, "datatype": "BYTES", "shape": [1], "data": ["<base64>"]}],
                    "outputs": [{"name": SCORES, "parameters": {"classification": 5}}],
                },
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


def infer_routes(asker: Asker, guard: Guard, version: str) -> APIRouter:
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])

    @router.get("", summary="Server metadata")
    async def server() -> dict[str, Any]:
        extensions = ["binary_tensor_data", "classification", "model_repository"]
        return {"name": "mobilevit_fast", "version": version, "extensions": extensions}

    @router.get("/health/live", summary="Whether the server runs")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get("/health/ready", summary="Whether the server takes requests; 503 on its way down")
    async def ready() -> JSONResponse:
        return JSONResponse({"ready": not guard.draining}, 503 if guard.draining else 200)

    @router.get("/models/{name}", summary="Model metadata")
    @router.get("/models/{name}/versions/{version}", include_in_schema=False)
    async def metadata(name: str, version: str | None = None) -> dict[str, Any]:
        return _metadata(asker.model(name, version))

    @router.get("/models/{name}/ready", summary="Whether the model is there")
    @router.get("/models/{name}/versions/{version}/ready", include_in_schema=False)
    async def model_ready(name: str, version: str | None = None) -> dict[str, Any]:
        return {"name": asker.model(name, version).spec.name, "ready": True}

    @router.post("/models/{name}/infer", summary="Classify a batch", openapi_extra=_JSON_BODY)
    @router.post("/models/{name}/versions/{version}/infer", include_in_schema=False)
    async def infer(request: Request, name: str, version: str | None = None) -> Response:
        model = asker.model(name, version)
        body = await read_body(request, asker.settings)
        began = time.perf_counter()
        arguments = (body, request.headers.get(_HEADER_LENGTH), asker.settings.max_images)
        parsed = (
            await asyncio.to_thread(parse_request, *arguments)
            if len(body) > _INLINE_BYTES
            else parse_request(*arguments)
        )
        answers = await asker.ask(
            request,
            model,
            parsed.images,
            began=began,
            priority=parsed.priority,
            timeout_ms=parsed.timeout_ms,
        )
        if len({len(answer.logits) for answer in answers}) > 1:
            raise Problem(503, "the model was replaced by another meanwhile; send the request again")
        content, length = format_answer(answers, parsed, name, asker.model(name).version)
        if length is None:
            return Response(content, media_type="application/json")
        return Response(content, headers={_HEADER_LENGTH: str(length)}, media_type="application/octet-stream")

    @router.post("/repository/index", summary="The models that are offered")
    async def index() -> list[dict[str, str]]:
        return [
            {"name": model.spec.name, "version": str(model.version), "state": "READY", "reason": ""}
            for model in asker.models.all()
        ]

    @router.post("/repository/models/{name}/load", summary="Reload a model from where it came from")
    async def load(name: str) -> dict[str, str]:
        asker.model(name)
        try:
            model = await asker.models.reload(name)
        except (OSError, ImportError) as error:
            raise Problem(422, f"{name!r} cannot be reloaded, the old one stays: {error}") from error
        except Exception as error:
            problem = problem_from(error)
            detail = f"{name!r} cannot be reloaded, the old one stays: {problem.detail}"
            raise Problem(problem.status, detail) from error
        return {"name": name, "version": str(model.version)}

    return router


def _metadata(model: ServedModel) -> dict[str, Any]:
    size = model.session.preprocessing.crop_size or (-1, -1)
    classes = [-1, len(model.session.labels)]
    return {
        "name": model.spec.name,
        "versions": [str(model.version)],
        "platform": "mobilevit_fast",
        "inputs": [
            {"name": IMAGE, "datatype": "BYTES", "shape": [-1]},
            {"name": PIXELS, "datatype": "FP32", "shape": [-1, 3, *size]},
        ],
        "outputs": [{"name": name, "datatype": "FP32", "shape": classes} for name in (LOGITS, SCORES)],
    }
