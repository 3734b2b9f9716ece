"""Labelled images as torch data sets: changed at random to train on, as they are to measure on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from mobilevit_fast.evaluation import Dataset
from mobilevit_fast.image import Preprocessing, load_image, preprocess_one, to_planes
from mobilevit_fast.train.augment import Augmentation, augment, mix
from mobilevit_fast.train.batches import Draw


class TrainingImages(TorchDataset):
    """`{"pixel_values": float32 [3, S, S], "labels": ...}` of a `Draw`, by the checkpoint's own rule.

    Labels are the shares of the classes, float32 [classes], where images are mixed or labels smoothed; else
    class numbers.

    Args:
        data: images with labels below `classes`.
        preprocessing: its resampling, channel order, scale, mean and std apply.
        mixed_epochs: images are mixed in the epochs before this one; None for all.
        label_smoothing: share of the label that all classes divide evenly.
        seed: with an image's number and the epoch it decides what becomes of the image.
    """

    def __init__(
        self,
        data: Dataset,
        classes: int,
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        *,
        mixed_epochs: int | None = None,
        label_smoothing: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.data, self.classes, self.preprocessing = data, classes, preprocessing
        self.augmentation, self.label_smoothing, self.seed = augmentation, label_smoothing, seed
        self.mixed_epochs = mixed_epochs

    def __len__(self) -> int:
        return len(self.data.images)

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        random = np.random.default_rng((self.seed, draw.epoch, draw.index, 1))
        pixels = self._pixels(draw.index, draw.size, random)
        label = int(self.data.labels[draw.index])
        if not (self.augmentation.mixes or self.label_smoothing):
            return {"pixel_values": pixels, "labels": label}
        shares = np.zeros(self.classes, np.float32)
        share = 1.0
        if self.augmentation.mixes and (self.mixed_epochs is None or draw.epoch < self.mixed_epochs):
            other = int(random.integers(len(self)))
            share = mix(pixels, self._pixels(other, draw.size, random), self.augmentation, random)
            shares[self.data.labels[other]] += 1 - share
        shares[label] += share
        shares = shares * (1 - self.label_smoothing) + self.label_smoothing / self.classes
        return {"pixel_values": pixels, "labels": shares}

    def _pixels(self, index: int, size: int, random: np.random.Generator) -> np.ndarray:
        image = augment(
            load_image(self.data.images[index]), size, self.preprocessing.resample, self.augmentation, random
        )
        return to_planes(image, self.preprocessing)


class ValidationImages(TorchDataset):
    """Images prepared as at inference, with class numbers."""

    def __init__(self, data: Dataset, preprocessing: Preprocessing) -> None:
        self.data, self.preprocessing = data, preprocessing

    def __len__(self) -> int:
        return len(self.data.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pixels = preprocess_one(self.data.images[index], self.preprocessing)
        return {"pixel_values": pixels, "labels": int(self.data.labels[index])}


def collate(examples: list[dict[str, Any]]) -> dict[str, Tensor]:
    """A batch: images [N, 3, S, S] in channels_last memory, labels int64 [N] or float32 [N, classes]."""
    pixels = torch.from_numpy(np.stack([example["pixel_values"] for example in examples]))
    labels = torch.from_numpy(np.stack([example["labels"] for example in examples]))
    return {"pixel_values": pixels.contiguous(memory_format=torch.channels_last), "labels": labels}
