"""Small images in memory: parquet files are read once, whole batches are augmented at their own size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from mobilevit_fast.evaluation import load_dataset
from mobilevit_fast.image import load_image


@dataclass(frozen=True)
class ImageSet:
    """`images` uint8 [N, H, W, 3] in RGB, `labels` int64 [N] indexing `names`."""

    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]


def read_parquet(path: Path) -> ImageSet:
    """Decode a parquet file of the datasets library: columns `image` (encoded bytes) and `label`.

    Raises FileNotFoundError where there is no such file and ValueError where it does not name its classes.
    """
    data = load_dataset(path)
    if data.names is None:
        raise ValueError(f"{path} holds no class names; its column 'label' must be a ClassLabel")
    return ImageSet(
        np.stack([np.asarray(load_image(image)) for image in data.images]), data.labels, data.names
    )


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Square uint8 images [N, S, S, 3] to [N, size, size, 3] by Pillow's bilinear filter, as at inference."""
    if images.shape[1] == size:
        return images
    resized = (Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR) for image in images)
    return np.stack([np.asarray(image) for image in resized])


def to_input(images: Tensor, size: int) -> Tensor:
    """uint8 NHWC images to model input: float32 NCHW in 0..1, channels_last in memory, [N, 3, size, size]."""
    pixels = images.permute(0, 3, 1, 2).float().div_(255)
    if images.shape[1] != size:
        pixels = functional.interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False)
    return pixels.contiguous(memory_format=torch.channels_last)


def augment(images: Tensor, *, padding: int, cutout: int, generator: torch.Generator) -> Tensor:
    """Shift (reflecting at the edges) and mirror uint8 images [N, S, S, 3]; paint a grey square on each."""
    count, size = images.shape[0], images.shape[1]

    def draw(high: int) -> Tensor:
        return torch.randint(high, (count, 1), generator=generator)

    steps = torch.arange(size)
    rows = _reflect(steps + draw(2 * padding + 1) - padding, size)
    columns = _reflect(steps + draw(2 * padding + 1) - padding, size)
    columns = torch.where(draw(2) == 1, columns.flip(1), columns)
    shifted = images[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]

    in_rows = (steps - draw(size)).abs() * 2 < cutout
    in_columns = (steps - draw(size)).abs() * 2 < cutout
    hole = in_rows[:, :, None, None] & in_columns[:, None, :, None]
    return shifted.masked_fill(hole, 128)


def blend(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mix each of the uint8 images [N, H, W, 3] with another of them, by a share of its own drawn evenly."""
    share = torch.rand((len(images), 1, 1, 1), generator=generator)
    others = images[torch.randperm(len(images), generator=generator)]
    return torch.lerp(others.float(), images.float(), share).round_().to(torch.uint8)


def _reflect(index: Tensor, size: int) -> Tensor:
    index = index.abs()
    return torch.minimum(index, 2 * (size - 1) - index)
