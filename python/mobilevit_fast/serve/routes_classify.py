"""Photographs in, labels out; what the model looked at; what the models are and do."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from dataclasses import asdict
from typing import Any

import numpy as np
from fastapi import APIRouter, Query
from starlette.requests import Request

from mobilevit_fast.serve.asking import Asker
from mobilevit_fast.serve.body import files_of, is_form, read_body
from mobilevit_fast.serve.models import ServedModel
from mobilevit_fast.serve.problems import Problem, problem_from
from mobilevit_fast.serve.request import Answer
from mobilevit_fast.serve.saliency import covered, importance, prepare

_AT_ONCE = 16
"""Covered copies of an image that wait in the queue together: others' images must find room."""

_FILE = {"schema": {"type": "string", "format": "binary"}}
_IMAGE_BODY = {
    "requestBody": {
        "required": True,
        "description": "An image file as it is, or several as files of a multipart form.",
        "content": {
            "image/*": _FILE,
            "application/octet-stream": _FILE,
            "multipart/form-data": {"schema": {"type": "object", "additionalProperties": _FILE["schema"]}},
        },
    }
}


def classify_routes(asker: Asker) -> APIRouter:
    router = APIRouter(tags=["Photographs"])

    @router.post("/classify", summary="The most probable labels", openapi_extra=_IMAGE_BODY)
    async def classify(
        request: Request,
        model: str | None = Query(None, description="One of /models; by default the first."),
        top_k: int = Query(5, ge=1, le=1000, description="Labels an image."),
        priority: int = Query(0, ge=-100, le=100, description="Higher ones run first."),
        timeout_ms: float | None = Query(None, gt=0, description="Give up after that time."),
    ) -> dict[str, Any]:
        chosen = asker.model(model)
        body = await read_body(request, asker.settings)
        options = {"began": time.perf_counter(), "priority": priority, "timeout_ms": timeout_ms}
        if not is_form(request.headers):
            [answer] = await asker.ask(request, chosen, [body], **options)
            return _origin(chosen) | _described(answer, top_k)
        files = await files_of(request.headers, body)
        outcomes = await asker.ask_all(request, chosen, [content for _, content in files], **options)
        images = [
            {"name": name} | _described_outcome(outcome, top_k)
            for (name, _), outcome in zip(files, outcomes, strict=True)
        ]
        return _origin(chosen) | {"images": images}

    @router.post("/saliency", summary="What the model looked at", openapi_extra=_IMAGE_BODY)
    async def saliency(
        request: Request,
        model: str | None = Query(None, description="One of /models; by default the first."),
        index: int | None = Query(None, ge=0, description="Class to explain; by default the most probable."),
        grid: int = Query(10, ge=2, le=24, description="Places across and down that are covered in turn."),
    ) -> dict[str, Any]:
        """A part of the image matters as much as covering it makes the model less sure of the class."""
        chosen = asker.model(model)
        body = await read_body(request, asker.settings)
        began = time.perf_counter()
        try:
            prepared = await asyncio.to_thread(
                prepare, body, chosen.session.preprocessing, asker.settings.max_pixels
            )
        except (ValueError, TypeError) as error:
            raise problem_from(error) from error
        [whole] = await asker.ask(request, chosen, [prepared.pixels], began=began)
        shown = int(np.argmax(whole.logits)) if index is None else index
        if shown >= len(whole.labels):
            raise Problem(422, f"the model has {len(whole.labels)} classes; there is no number {shown}")
        copies, odds = covered(prepared.pixels, grid), []
        while batch := list(itertools.islice(copies, _AT_ONCE)):
            answers = await asker.ask(request, chosen, batch, began=began, priority=-1)
            odds += [_log_odds(answer, shown) for answer in answers]
        map_ = importance(_log_odds(whole, shown), np.array(odds).reshape(grid, grid))
        return _origin(chosen) | {
            "label": whole.labels[shown],
            "index": shown,
            "score": float(whole.scores[shown]),
            "grid": [[round(value, 4) for value in row] for row in map_.tolist()],
            "box": prepared.box,
            "total_ms": round((time.perf_counter() - began) * 1e3, 2),
        }

    @router.get("/models", summary="The models, their settings and how fast they are just now")
    async def models() -> list[dict[str, Any]]:
        return [_status(model) for model in asker.models.all()]

    return router


def _origin(model: ServedModel) -> dict[str, Any]:
    return {"model": model.spec.name, "precision": model.session.precision}


def _described(answer: Answer, top_k: int) -> dict[str, Any]:
    return {
        "predictions": [asdict(prediction) for prediction in answer.predictions(top_k)],
        "batch_size": answer.batch_size,
        "decode_ms": round(answer.decode_ms, 3),
        "run_ms": round(answer.run_ms, 3),
        "total_ms": round(answer.total_ms, 3),
    }


def _described_outcome(outcome: Answer | Exception, top_k: int) -> dict[str, Any]:
    if isinstance(outcome, Answer):
        return _described(outcome, top_k)
    problem = problem_from(outcome)
    return {"error": {"status": problem.status, "detail": problem.detail}}


def _log_odds(answer: Answer, index: int) -> float:
    others = np.delete(answer.logits.astype(np.float64), index)
    if not others.size:
        return float(answer.logits[index])
    most = others.max()
    return float(answer.logits[index] - most - math.log(np.exp(others - most).sum()))


def _status(model: ServedModel) -> dict[str, Any]:
    session, now = model.session, model.batcher.metrics
    return {
        "name": model.spec.name,
        "group": model.spec.group,
        "version": model.version,
        "precision": session.precision,
        "isa": session.isa,
        "threads": session.threads,
        "input_size": session.input_size,
        "classes": len(session.labels),
        "preprocessing": session.preprocessing.describe(),
        "pending": now.pending,
        "answered": now.outcomes["answered"],
        "images_per_second": round(now.images_per_second, 1),
        "mean_batch": round(now.images / now.batches, 2) if now.batches else None,
        "p50_ms": now.p50_ms,
        "p99_ms": now.p99_ms,
        "image_ms": now.curve[0][1] if now.curve else None,
        "best_image_ms": min((ms / size for size, ms in now.curve), default=None),
        "chosen_batch": now.chosen_batch,
    }
