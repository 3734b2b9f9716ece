"""Images that cannot be read, found before hours of work depend on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mobilevit_fast.evaluation.dataset import Dataset
from mobilevit_fast.image import load_image
from mobilevit_fast.progress import Progress

_NAMED = 5


@dataclass(frozen=True)
class BadImage:
    """Number of an image in its data set, and what is wrong with it."""

    index: int
    reason: str


def find_bad_images(data: Dataset, *, workers: int = 2, progress: Progress | None = None) -> list[BadImage]:
    """Decode every image once; those that cannot be read, in order."""
    from concurrent.futures import ThreadPoolExecutor

    def reason(image: Any) -> str | None:
        try:
            load_image(image)
        except (ValueError, OSError) as error:
            return str(error)
        return None

    with ThreadPoolExecutor(workers, thread_name_prefix="mobilevit_fast-check") as pool:
        reasons: Iterable[Any] = pool.map(reason, data.images)
        if progress is not None:
            reasons = progress(reasons, len(data.images), "check images")
        return [BadImage(index, why) for index, why in enumerate(reasons) if why is not None]


def describe(bad: Sequence[BadImage], data: Dataset) -> str:
    """How many, and the first few by name, each with its reason."""
    named = "; ".join(f"number {image.index}: {image.reason}" for image in bad[:_NAMED])
    more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    return f"{len(bad)} of the {len(data.images)} images of {data.source} cannot be read: {named}{more}"


def without(data: Dataset, bad: Sequence[BadImage]) -> Dataset:
    """The other images. Raises ValueError where none is left."""
    return data.subset(np.setdiff1d(np.arange(len(data.images)), [image.index for image in bad]))
