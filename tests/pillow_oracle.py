"""Preprocessing by Pillow and NumPy, step by step."""

from __future__ import annotations

import numpy as np
from PIL import Image

from mobilevit_fast.image import Preprocessing


def prepared_by_pillow(image: Image.Image | np.ndarray, rule: Preprocessing) -> np.ndarray:
    """float32 [3, H, W] of an RGB image."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    height, width = rule.resized_size(image.height, image.width)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling[rule.resample.upper()])
    if rule.crop_size is not None:
        height, width = rule.crop_size
        top, left = rule.crop_offset(image.height, height), rule.crop_offset(image.width, width)
        # Pillow fills with black where the box reaches over the edge.
        image = image.crop((left, top, left + width, top + height))
    planes = np.asarray(image).transpose(2, 0, 1).astype(np.float32)
    if rule.channel_order == "BGR":
        planes = planes[::-1]
    planes = planes * np.float32(rule.rescale)
    if rule.mean is not None:
        planes -= np.asarray(rule.mean, np.float32)[:, None, None]
        planes /= np.asarray(rule.std, np.float32)[:, None, None]
    return planes
