"""Images without or with labels, named on the command line, and what the quantiser has to say about them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from mobilevit_fast.evaluation import Dataset, load_dataset
from mobilevit_fast.evaluation.dataset import spread
from mobilevit_fast.image import find_images

Images = Dataset | list


def read_calibration(path: str, limit: int | None = None) -> Images:
    """A `Dataset` from a parquet file, paths from a folder of images; `limit` of them, spread evenly."""
    if not os.path.isdir(path):
        data = load_dataset(path)
        return data.head(limit) if limit else data
    images = find_images(path)
    return [images[index] for index in spread(len(images), limit or len(images))]


@contextmanager
def collecting_warnings() -> Iterator[list[str]]:
    """Gives a list that at the end holds the texts of the warnings that the quantiser gave."""
    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield told
    told += [str(warning.message) for warning in caught]
