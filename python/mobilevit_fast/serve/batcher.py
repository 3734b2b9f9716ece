"""Batcher: single images from many callers, run together."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import operator
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np

from mobilevit_fast.arguments import check_count
from mobilevit_fast.decode_ahead import DECODING_THREADS
from mobilevit_fast.image import MAX_PIXELS, ImageSource, image_list, preprocess_one
from mobilevit_fast.predictions import Prediction
from mobilevit_fast.serve.errors import ClosedError, DeadlineError, QueueFullError
from mobilevit_fast.serve.latency_curve import LatencyCurve
from mobilevit_fast.serve.metrics import Metrics, Snapshot
from mobilevit_fast.serve.policy import BatchPolicy
from mobilevit_fast.serve.queues import RequestQueue
from mobilevit_fast.serve.request import Answer, Request, Stage
from mobilevit_fast.session import Session

_MEASURING_MS = 500
"""Longest time that making a batcher spends on the latency curve."""


_MOST_IMAGES = 4096
"""Of a batch: beyond a few dozen an image costs the same, and each size has a place in the latency curve."""


class Batcher:
    """Collects images from threads and asyncio tasks and runs them together.

        with Batcher(Session("mobilevit_xxs.cifar10"), max_batch=16) as batcher:
            batcher.submit("cat.jpg").result().predictions(top_k=1)  # from any thread
            await batcher.ask("cat.jpg")                             # from any event loop
            batcher.classify(paths)                                  # as Session.classify, of any length

    A few threads decode, one runs the engine; what arrives while a batch runs makes up the next. How long
    the engine takes for each batch size is measured first and kept up to date. With `target_p99_ms` the
    batches are the largest that are of use within it; a single image waits for others only where that
    saves time an image.

    Args:
        session: the model. It stays usable, and stays open when the batcher is closed.
        max_batch: most images that run together, 4096 at most.
        max_delay_ms: longest that a decoded image waits for others, which are being decoded, while the engine
            is free.
        queue: most images that are accepted and not answered; further ones are refused at once.
        target_p99_ms: latency, from acceptance to answer, that 99 of 100 images should keep as long as they
            come no faster than the engine runs. None for the greatest throughput.
        decoders: threads that decode; by default as many as the session uses, at most 4.
        max_pixels: images with more are refused before they are decoded.

    Raises:
        ValueError, TypeError: an argument that is out of range.
    """

    def __init__(
        self,
        session: Session,
        max_batch: int = 32,
        max_delay_ms: float = 2.0,
        queue: int = 256,
        *,
        target_p99_ms: float | None = None,
        decoders: int | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if not callable(getattr(session, "run", None)):
            raise TypeError(f"a Batcher takes a Session, got {type(session).__name__}")
        for name, value in (("max_batch", max_batch), ("queue", queue), ("max_pixels", max_pixels)):
            check_count(name, value)
        if max_batch > _MOST_IMAGES:
            raise ValueError(
                f"max_batch must be at most {_MOST_IMAGES}, got {max_batch}; larger batches gain nothing"
            )
        _check_milliseconds("max_delay_ms", max_delay_ms)
        if target_p99_ms is not None:
            _check_milliseconds("target_p99_ms", target_p99_ms)
        decoders = min(DECODING_THREADS, session.threads) if decoders is None else decoders
        check_count("decoders", decoders)
        self._session = session
        self._max_pixels = max_pixels
        self._metrics = Metrics()
        self._curve = LatencyCurve(max_batch)
        self._policy = BatchPolicy(self._curve, max_batch, max_delay_ms, target_p99_ms)
        self._queue = RequestQueue(queue, ahead=2 * max_batch + decoders)
        self._order = itertools.count()
        self._measure(target_p99_ms)
        names = [*("decode" for _ in range(decoders)), "engine"]
        # Daemons, so that a program whose batcher was forgotten can end; `close` is called at the end.
        self._threads = [
            threading.Thread(
                target=self._run_engine if name == "engine" else self._decode_images,
                name=f"mobilevit_fast-{name}",
                daemon=True,
            )
            for name in names
        ]
        for thread in self._threads:
            thread.start()
        atexit.register(self.close, drain=False)

    @property
    def session(self) -> Session:
        return self._session

    @property
    def pending(self) -> int:
        """Images that are accepted and not answered."""
        return self._queue.pending

    def submit(
        self,
        image: ImageSource,
        *,
        priority: int = 0,
        timeout_ms: float | None = None,
        block: bool = False,
    ) -> Future[Answer]:
        """Accepts one image, from any thread, and returns at once.

        Args:
            image: as `load_image` takes it; or, already preprocessed, a float32 array [3, H, W].
            priority: higher ones run first; equal ones in the order of arrival.
            timeout_ms: give up unless the image runs within that time.
            block: wait for room where the queue is full, instead of raising.

        Returns:
            a future that can be cancelled until the image runs. It fails with DeadlineError, or with
            ValueError, TypeError or OSError for an image that cannot be read.

        Raises:
            QueueFullError: `queue` images wait already.
            ClosedError: the batcher was closed.
            ValueError: `timeout_ms` is not a positive number, or an array without pixels.
            TypeError: `priority` is not a whole number.
        """
        priority = _to_priority(priority)
        if timeout_ms is not None:
            _check_milliseconds("timeout_ms", timeout_ms)
        now = time.perf_counter()
        is_tensor = isinstance(image, np.ndarray) and image.dtype == np.float32
        if is_tensor and (image.ndim != 3 or image.shape[0] != 3 or image.size == 0):
            raise ValueError(f"a preprocessed image must be float32 [3, H, W], got {list(image.shape)}")
        request = Request(
            image=None if is_tensor else image,
            pixels=image if is_tensor else None,
            rank=(-priority, next(self._order)),
            arrived=now,
            decoded=now if is_tensor else 0.0,
            deadline=float("inf") if timeout_ms is None else now + timeout_ms / 1e3,
            stage=Stage.READY if is_tensor else Stage.WAITING,
        )
        request.future.add_done_callback(partial(self._forget_cancelled, request))
        try:
            self._queue.put(request, block=block)
        except QueueFullError:
            self._metrics.count("rejected")
            raise
        return request.future

    async def ask(self, image: ImageSource, *, priority: int = 0, timeout_ms: float | None = None) -> Answer:
        """`submit` for asyncio: the answer, when it is there. Cancelling the task cancels the image."""
        return await asyncio.wrap_future(self.submit(image, priority=priority, timeout_ms=timeout_ms))

    def classify(self, images: ImageSource | Sequence[ImageSource], top_k: int = 5) -> list[list[Prediction]]:
        """As `Session.classify`, through the queue, waiting for room where there is none."""
        check_count("top_k", top_k)
        futures: list[Future[Answer]] = []
        try:
            for image in image_list(images):
                futures.append(self.submit(image, block=True))
            return [future.result().predictions(top_k) for future in futures]
        finally:
            # After an error nobody will read the other answers.
            for future in futures:
                future.cancel()

    @property
    def metrics(self) -> Snapshot:
        """Counts, distributions and percentiles up to now."""
        return self._metrics.snapshot(
            pending=self._queue.pending, curve=self._curve.points(), chosen_batch=self._policy.size()
        )

    def close(self, *, drain: bool = True) -> None:
        """Takes no more images and returns when all threads have ended.

        Those accepted are answered; without `drain`, only those that run already, and the others fail with
        ClosedError. May be called again.
        """
        self._queue.close()
        if not drain:
            for request in self._queue.drain():
                self._fail(request, ClosedError("the batcher was closed before this image ran"))
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        atexit.unregister(self.close)

    def __enter__(self) -> Batcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        self.close(drain=kind is None)

    def _measure(self, target_ms: float | None) -> None:
        height, width = self._session.input_size
        images = np.zeros((1, 3, height, width), np.float32)

        def run(size: int) -> None:
            # Grown as far as the budget reaches: the largest batch may need more memory than there is.
            nonlocal images
            if size > len(images):
                images = np.zeros((size, *images.shape[1:]), np.float32)
            self._session.run(images[:size])

        most = float("inf") if target_ms is None else target_ms
        self._curve.measure(run, budget_ms=_MEASURING_MS, most_ms=most)

    def _decode_images(self) -> None:
        while (request := self._queue.take_waiting()) is not None:
            if request.future.cancelled():
                self._queue.drop_decoding(request)
                self._settle_cancelled(request)
                continue
            began = time.perf_counter()
            try:
                pixels = preprocess_one(
                    request.image, self._session.preprocessing, max_pixels=self._max_pixels
                )
            except Exception as error:
                # Whatever a decoder raises belongs to this image alone; the thread serves the others.
                self._queue.drop_decoding(request)
                self._fail(request, error, "failed")
                continue
            request.pixels, request.image = pixels, None
            request.decoded = time.perf_counter()
            request.decode_ms = (request.decoded - began) * 1e3
            self._metrics.decoded(request.decode_ms)
            self._policy.note_decoding(request.decode_ms)
            self._queue.put_ready(request)

    def _run_engine(self) -> None:
        while (work := self._queue.take_work(self._policy)) is not None:
            for request in work.expired:
                error = DeadlineError("the time allowed had passed before the image could run")
                self._fail(request, error, "expired")
            # From here on an image can no longer be cancelled.
            batch = [request for request in work.batch if request.future.set_running_or_notify_cancel()]
            if len(batch) < len(work.batch):
                cancelled = [request for request in work.batch if request not in batch]
                self._queue.finish(cancelled)
            if batch:
                self._run_batch(batch)

    def _run_batch(self, batch: list[Request]) -> None:
        began = time.perf_counter()
        try:
            logits = self._session.run(_stacked([request.pixels for request in batch]))
        except Exception as error:
            self._run_one_by_one(batch, error)
            return
        ended = time.perf_counter()
        run_ms = (ended - began) * 1e3
        if batch[0].pixels.shape[1:] == self._session.input_size:
            self._curve.observe(len(batch), run_ms)
        self._queue.finish(batch)
        totals = [(ended - request.arrived) * 1e3 for request in batch]
        self._metrics.ran(run_ms, totals)
        for request, row, total in zip(batch, logits, totals, strict=True):
            request.pixels = None
            request.future.set_result(
                Answer(row, self._session.labels, len(batch), request.decode_ms, run_ms, total)
            )

    def _run_one_by_one(self, batch: list[Request], error: Exception) -> None:
        """What an engine refuses, such as an image too large for the memory, must not take others along."""
        if len(batch) > 1:
            for request in batch:
                self._run_batch([request])
            return
        self._queue.finish(batch)
        self._metrics.count("failed")
        batch[0].pixels = None
        batch[0].future.set_exception(error)

    def _fail(self, request: Request, error: Exception, outcome: str | None = None) -> None:
        """Hands over the error, unless the image was cancelled before; it is counted by then."""
        request.pixels = request.image = None
        if request.future.set_running_or_notify_cancel():
            if outcome is not None:
                self._metrics.count(outcome)
            request.future.set_exception(error)

    def _forget_cancelled(self, request: Request, future: Future[Answer]) -> None:
        if future.cancelled():
            self._metrics.count("cancelled")
            request.image = None
            if self._queue.discard(request):
                self._settle_cancelled(request)

    def _settle_cancelled(self, request: Request) -> None:
        """Tells those who wait for several futures at once that this one is over."""
        request.future.set_running_or_notify_cancel()


def _stacked(images: list[np.ndarray]) -> np.ndarray:
    """float32 [N, 3, H, W]; one image alone is not copied."""
    return images[0][None] if len(images) == 1 else np.stack(images)


def _to_priority(value: int) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"priority must be a whole number, got {value!r}") from None


def _check_milliseconds(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of milliseconds, got {value!r}")
    if not 0 <= value < float("inf") or (value == 0 and name != "max_delay_ms"):
        raise ValueError(f"{name} must be a positive number of milliseconds, got {value!r}")
