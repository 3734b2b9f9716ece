"""A checkpoint's preprocessing on a CUDA device: photographs as bytes in, logits out."""

from __future__ import annotations

import sys
from functools import cached_property
from typing import Any

import numpy as np

from mobilevit_fast import _C
from mobilevit_fast.cuda import DeviceEngine
from mobilevit_fast.image import ImageSource, Preprocessing, load_image


class DeviceImages:
    """Resizes, crops, orders and scales images on an engine's device, bit for bit as `preprocess` does.

    Args:
        engine: what runs the prepared images.
        preprocessing: the rule of its checkpoint.
    """

    def __init__(self, engine: DeviceEngine, preprocessing: Preprocessing) -> None:
        self._engine = engine
        self._preprocessing = preprocessing

    @cached_property
    def _native(self) -> _C.CudaPreparer:
        return _C.CudaPreparer(self._preprocessing.to_dict(), device=self._engine.device)

    def load(self, source: ImageSource | Any) -> Any:
        """One image ready for `run`: uint8 [H, W, 3], on the host, or on the device if it was given there.

        Args:
            source: as `load_image` takes it, or a torch tensor uint8 [H, W, 3] on this device.

        Raises:
            ValueError, TypeError, FileNotFoundError: as `preprocess_one`; a tensor of another type, shape or
                device.
        """
        if _is_tensor(source):
            pixels = self._checked(source)
        elif _is_rgb(source):
            pixels = source
        else:
            pixels = np.asarray(load_image(source))
        self._native.size(*pixels.shape[:2])
        return pixels

    def run(self, images: list[Any]) -> Any:
        """Logits float32 [N, classes] of what `load` returned, of any sizes where the rule crops.

        Returns:
            an array; a tensor on the device where one of the images is one. That is computed in order of
            torch's current stream, and this call waits for the stream, but not for the answer.

        Raises:
            ValueError: no image, or sizes that differ after a rule that does not crop.
        """
        if not any(_is_tensor(image) for image in images):
            return self._native.run(self._engine.native, images)[0]
        return self._engine.run(self.prepare(images))[0]

    def prepare(self, images: list[Any]) -> Any:
        """What `Session.run` takes, of what `load` returned: a torch tensor float32 [N, 3, H, W] there."""
        import torch

        device = torch.device("cuda", self._engine.device)
        height, width = self._native.size(*images[0].shape[:2]) if images else (0, 0)
        planes = torch.empty((len(images), 3, height, width), device=device)
        self._native.prepare(images, planes, torch.cuda.current_stream(device).cuda_stream)
        return planes

    def _checked(self, tensor: Any) -> Any:
        given = f"{tensor.dtype} {list(tensor.shape)} on {tensor.device}"
        wanted = f"uint8 [H, W, 3] on cuda:{self._engine.device}"
        if str(tensor.dtype) != "torch.uint8":
            raise TypeError(f"an image tensor must be {wanted}, got {given}")
        if tensor.device.type != "cuda" or tensor.device.index != self._engine.device:
            raise ValueError(f"an image tensor must be {wanted}, got {given}")
        if tensor.ndim != 3 or tensor.shape[2] != 3 or tensor.numel() == 0:
            is_planar = tensor.ndim == 3 and tensor.shape[0] == 3
            hint = "; move the channels last: permute(1, 2, 0)" if is_planar else ""
            raise ValueError(f"an image tensor must be {wanted}, not empty, got {given}{hint}")
        return tensor


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _is_rgb(value: Any) -> bool:
    is_bytes = isinstance(value, np.ndarray) and value.dtype == np.uint8
    return is_bytes and value.ndim == 3 and value.shape[2] == 3 and value.size > 0
