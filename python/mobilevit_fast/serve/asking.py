"""From a route to the batcher and back: time limits, clients that leave, errors as problems."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np
from starlette.requests import ClientDisconnect, Request

from mobilevit_fast.image import ImageSource
from mobilevit_fast.serve.models import ModelSet, ServedModel
from mobilevit_fast.serve.problems import Problem, problem_from
from mobilevit_fast.serve.request import Answer
from mobilevit_fast.serve.settings import ServerSettings

_GRACE_S = 2.0
"""How much longer than its deadline an answer is awaited: the batcher notices between two batches."""


class Asker:
    """Asks the models on behalf of requests."""

    def __init__(self, models: ModelSet, settings: ServerSettings) -> None:
        self.models = models
        self.settings = settings

    def model(self, name: str | None, version: str | None = None) -> ServedModel:
        """Raises Problem 404 for a model, or a version of it, that is not offered."""
        try:
            model = self.models.get(name)
        except KeyError:
            raise Problem(
                404, f"there is no model {name!r}; there are {', '.join(self.models.names)}"
            ) from None
        if version is not None and version != str(model.version):
            raise Problem(404, f"model {name!r} is at version {model.version}, not {version!r}")
        return model

    async def ask_all(
        self,
        request: Request,
        model: ServedModel,
        images: Sequence[ImageSource],
        *,
        began: float,
        priority: int = 0,
        timeout_ms: float | None = None,
    ) -> list[Answer | Exception]:
        """An answer or an error for each image. The images of a client that leaves are given up.

        Args:
            began: when the request was complete, by `time.perf_counter`: all that is asked for one request
                shares one limit.
            timeout_ms: a shorter limit than the server's.

        Raises:
            ClientDisconnect: the client left.
        """
        longest = self.settings.request_timeout_s * 1e3
        limit = longest if timeout_ms is None else min(timeout_ms, longest)
        left = limit - (time.perf_counter() - began) * 1e3
        if left <= 0:
            return [_late() for _ in images]
        tasks = [
            asyncio.ensure_future(self.models.ask(model, image, priority=priority, timeout_ms=left))
            for image in images
        ]
        leaving = asyncio.ensure_future(_leaves(request))
        answering = asyncio.ensure_future(asyncio.wait(tasks, timeout=left / 1e3 + _GRACE_S))
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise ClientDisconnect
            return [_outcome(task, model) for task in tasks]
        finally:
            for task in (*tasks, answering, leaving):
                task.cancel()

    async def ask(
        self,
        request: Request,
        model: ServedModel,
        images: Sequence[ImageSource],
        *,
        began: float,
        priority: int = 0,
        timeout_ms: float | None = None,
    ) -> list[Answer]:
        """As `ask_all`; raises the first error as a Problem."""
        outcomes = await self.ask_all(
            request, model, images, began=began, priority=priority, timeout_ms=timeout_ms
        )
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise problem_from(outcome) from outcome
        return outcomes


def _outcome(task: asyncio.Task[Answer], model: ServedModel) -> Answer | Exception:
    if not task.done():
        return _late()
    error = task.exception()
    if error is not None:
        return error
    answer = task.result()
    if np.isfinite(answer.logits).all():
        return answer
    # JSON has no such numbers, and no label is more probable than another.
    return FloatingPointError(
        f"model {model.spec.name!r} gave no finite answer: it has weights that are not finite, or this input "
        f"leads to values too large for its precision, {model.session.precision}"
    )


def _late() -> TimeoutError:
    return TimeoutError("the answer took longer than allowed")


async def _leaves(request: Request) -> None:
    """Returns when the client closes its connection; its body has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        continue
