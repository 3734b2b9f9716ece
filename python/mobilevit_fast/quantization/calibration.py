"""Runs the float network on calibration images and gives every activation its grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from mobilevit_fast.image import Preprocessing
from mobilevit_fast.progress import Progress
from mobilevit_fast.quantization.network import QuantizedMobileViT
from mobilevit_fast.quantization.observer import Distribution, Observer, grid_over
from mobilevit_fast.quantization.point import Kind, Point
from mobilevit_fast.quantization.sources import is_within

_BATCH = 2
"""Images that run at once: the maps of more go back to the system after each use, which costs much time."""

_BINS = 8192


def calibrate(
    network: QuantizedMobileViT, images: Tensor, observer: Observer, progress: Progress | None = None
) -> None:
    """Set the grid of every point; the network has to compute in float.

    Args:
        images: float32 [N, 3, H, W].
    """
    ranges: dict[Point, tuple[float, float]] = {}

    def widen(point: Point, values: Tensor) -> None:
        low, high = values.aminmax()
        before = ranges.get(point, (0.0, 0.0))
        ranges[point] = min(before[0], float(low)), max(before[1], float(high))

    counts: dict[Point, Tensor] = {}

    def count(point: Point, values: Tensor) -> None:
        low, high = ranges[point]
        if high > low:
            counts[point] = counts.get(point, 0) + torch.histc(values, _BINS, low, high).double()

    for look, title in ((widen, "ranges"), (count, "histograms")):
        with watching(network, look):
            run(network, images, progress, title)
    for point, (low, high) in ranges.items():
        histogram = counts.get(point, torch.zeros(_BINS)).numpy()
        point.grid = observer.choose(Distribution(histogram, low, high), point.kind)
    network.image.grid = grid_over(_image_range(network.preprocessing, ranges[network.image]), Kind.PLAIN)


def run(
    network: QuantizedMobileViT, images: Tensor, progress: Progress | None = None, title: str = ""
) -> Tensor:
    """Logits [N, classes], computed in small batches without gradients."""
    batches = images.split(_BATCH)
    steps = batches if progress is None else progress(batches, len(batches), title)
    with torch.inference_mode():
        return torch.cat([network(batch) for batch in steps])


@contextmanager
def watching(network: QuantizedMobileViT, look: Callable[[Point, Tensor], None]) -> Iterator[None]:
    """Has `look` called with each point and the real values that it makes."""
    for point in network.points.values():
        point.watch = lambda values, point=point: look(point, values)
    try:
        yield
    finally:
        for point in network.points.values():
            point.watch = None


def _image_range(preprocessing: Preprocessing, seen: tuple[float, float]) -> tuple[float, float]:
    """Bytes times a factor fall on a grid of 256 steps exactly, so the rule says more than any images."""
    given = preprocessing.value_range
    return given if is_within(seen, given) else seen
