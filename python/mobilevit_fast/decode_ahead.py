"""Batches of images, each decoded and prepared by a few threads while the one before it is in use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mobilevit_fast.image import ImageSource, Preprocessing, preprocess_one

DECODING_THREADS = 4
"""At most; decoding a photograph costs about as much as classifying it."""


@dataclass(frozen=True)
class DecodedBatch:
    """`pixels` float32 [good images, 3, H, W]; `errors` has one entry an image, None where it is good."""

    pixels: np.ndarray
    errors: list[Exception | None]


def decode_ahead(
    images: Sequence[ImageSource], preprocessing: Preprocessing, batch_size: int, workers: int
) -> Iterator[DecodedBatch]:
    """Yields the images in order, `batch_size` at a time, at most one batch ahead of the caller.

    A bad image takes its place in `errors` (ValueError, TypeError or OSError) and leaves the others alone.
    Where the preprocessing does not crop, images differ in size, and each is a batch of its own.
    """
    load = partial(preprocess_one, preprocessing=preprocessing)
    size = batch_size if preprocessing.crop_size is not None else 1
    for loaded in load_ahead(images, load, size, workers):
        yield _collect(loaded)


def load_ahead(
    images: Sequence[Any], load: Callable[[Any], Any], batch_size: int, workers: int
) -> Iterator[list[Any]]:
    """Yields what `load` makes of the images in order, `batch_size` at a time, at most one batch ahead.

    A bad image's error (ValueError, TypeError or OSError) takes its place.
    """
    load = partial(_load, load)
    if len(images) == 1:
        yield [load(images[0])]
        return
    chunks = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    # Not at the top: a single photograph should not wait for this import.
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(workers, thread_name_prefix="mobilevit_fast-decode")
    ahead: deque[list[Any]] = deque()
    try:
        for chunk in chunks:
            ahead.append([pool.submit(load, image) for image in chunk])
            if len(ahead) > 1:
                yield [future.result() for future in ahead.popleft()]
        while ahead:
            yield [future.result() for future in ahead.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)


def _load(load: Callable[[Any], Any], image: Any) -> Any:
    try:
        return load(image)
    except (ValueError, TypeError, OSError) as error:
        return error


def _collect(results: list[np.ndarray | Exception]) -> DecodedBatch:
    errors = [result if isinstance(result, Exception) else None for result in results]
    good = [result for result in results if not isinstance(result, Exception)]
    return DecodedBatch(np.stack(good) if good else np.empty((0, 3, 0, 0), np.float32), errors)
