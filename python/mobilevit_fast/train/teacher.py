"""A checkpoint as the teacher of a student that may see images and name classes in another way."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mobilevit_fast.evaluation import Dataset
from mobilevit_fast.image import Preprocessing
from mobilevit_fast.model import MobileViT, from_pretrained
from mobilevit_fast.train.distillation import forward_stages


class Teacher(nn.Module):
    """Answers a student's images with logits in the order of the student's classes.

    Args:
        source: as `from_pretrained` takes it.
        labels, preprocessing: the student's.

    Raises:
        FileNotFoundError, ValueError, ImportError: as `from_pretrained` does; other classes.
    """

    scale: Tensor
    shift: Tensor
    order: Tensor

    def __init__(
        self, source: str | os.PathLike, labels: Sequence[str], preprocessing: Preprocessing
    ) -> None:
        super().__init__()
        self.model: MobileViT = from_pretrained(source)
        wanted = Dataset([b""] * len(labels), np.arange(len(labels)), tuple(labels), "the data")
        try:
            order = wanted.labels_for(self.model.labels)
        except ValueError as error:
            raise ValueError(f"{os.fspath(source)!r} cannot teach: {error}") from None
        theirs = self.model.preprocessing
        self.flips = theirs.channel_order != preprocessing.channel_order
        # From the student's numbers back to 0..255, from there to the teacher's.
        ours_scale, ours_shift = _affine(preprocessing, flip=self.flips)
        scale, shift = _affine(theirs, flip=False)
        self.register_buffer("scale", scale / ours_scale)
        self.register_buffer("shift", shift - ours_shift * scale / ours_scale)
        self.register_buffer("order", torch.from_numpy(np.asarray(order)))

    @property
    def stage_channels(self) -> tuple[int, ...]:
        return self.model.config.stage_channels

    def forward_stages(self, pixel_values: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits and the five stages' maps for the student's images [N, 3, H, W]."""
        images = pixel_values.flip(1) if self.flips else pixel_values
        logits, maps = forward_stages(self.model, images * self.scale + self.shift)
        return logits[:, self.order], maps


def _affine(rule: Preprocessing, *, flip: bool) -> tuple[Tensor, Tensor]:
    """Scale and shift [3, 1, 1] from a channel's 0..255 to what the network takes."""
    mean = torch.tensor(rule.mean or (0.0, 0.0, 0.0))
    std = torch.tensor(rule.std or (1.0, 1.0, 1.0))
    scale, shift = rule.rescale / std, -mean / std
    if flip:
        scale, shift = scale.flip(0), shift.flip(0)
    return scale[:, None, None], shift[:, None, None]
