"""A preprocessing rule from and to the files of transformers and timm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mobilevit_fast.image.preprocessing import RESAMPLING, Preprocessing

TIMM_CROP_PCT = 0.9
"""Share of the resized image that the crop keeps, for timm's MobileViT v1 checkpoints."""


def from_huggingface(config: Mapping[str, Any]) -> Preprocessing:
    """The rule in a preprocessor_config.json, with the defaults of transformers where it is silent.

    transformers' MobileViT processors apply neither mean nor std, whatever the file holds; others do.

    Raises:
        ValueError: a setting that is malformed or that no `Preprocessing` can express.
    """
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "MobileViT")
    mobilevit = kind.startswith("MobileViT")
    resize: dict[str, Any] = {"shortest_edge": None}
    if config.get("do_resize", True):
        resize = _resize_rule(config.get("size", {"shortest_edge": 224}), kind)
    crop = None
    if config.get("do_center_crop", True):
        crop = _crop_size(config.get("crop_size", 256))
    normalize = not mobilevit and config.get("do_normalize", True)
    flip = mobilevit and config.get("do_flip_channel_order", True)
    return Preprocessing(
        **resize,
        crop_size=crop,
        resample=_resample_name(config.get("resample", RESAMPLING.index("bicubic"))),
        channel_order="BGR" if flip else "RGB",
        rescale=config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1.0,
        mean=_required(config, "image_mean", kind) if normalize else None,
        std=_required(config, "image_std", kind) if normalize else None,
    )


def to_huggingface(preprocessing: Preprocessing) -> dict[str, Any]:
    """The rule as the content of a preprocessor_config.json.

    transformers cuts an odd margin by "down" only, so `crop_rounding="even"` is not kept: such a crop can
    move by one pixel.

    Raises:
        ValueError: BGR order together with mean and std, which no processor of transformers applies.
    """
    size: dict[str, int] | None = None
    if preprocessing.shortest_edge is not None:
        size = {"shortest_edge": preprocessing.shortest_edge}
    elif preprocessing.exact_size is not None:
        size = dict(zip(("height", "width"), preprocessing.exact_size, strict=True))
    config: dict[str, Any] = {
        "do_resize": size is not None,
        "resample": RESAMPLING.index(preprocessing.resample),
        "do_center_crop": preprocessing.crop_size is not None,
        "do_rescale": True,
        "rescale_factor": preprocessing.rescale,
    }
    if size is not None:
        config["size"] = size
    if preprocessing.crop_size is not None:
        config["crop_size"] = dict(zip(("height", "width"), preprocessing.crop_size, strict=True))
    bgr = preprocessing.channel_order == "BGR"
    if preprocessing.mean is None or preprocessing.std is None:
        return config | {"image_processor_type": "MobileViTImageProcessor", "do_flip_channel_order": bgr}
    if bgr:
        raise ValueError("no processor of transformers applies BGR order with mean and std; use RGB order")
    return config | {
        "image_processor_type": "CLIPImageProcessor",
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
        "do_convert_rgb": True,
    }


def from_timm(pretrained_cfg: Mapping[str, Any]) -> Preprocessing:
    """The rule of timm's evaluation transform for a `pretrained_cfg`; where silent, timm's MobileViT values.

    Raises:
        ValueError: a setting that is malformed or that no `Preprocessing` can express.
    """
    channels, height, width = _input_size(pretrained_cfg.get("input_size") or (3, 256, 256))
    if channels != 3:
        raise ValueError(f"only images of three channels are supported, got {channels}")
    crop_pct = pretrained_cfg.get("crop_pct") or TIMM_CROP_PCT
    if not isinstance(crop_pct, int | float) or not 0 < crop_pct <= 1:
        raise ValueError(f"crop_pct must be over 0 and at most 1, got {crop_pct!r}")
    mode = pretrained_cfg.get("crop_mode") or "center"
    resized = math.floor(height / crop_pct), math.floor(width / crop_pct)
    if mode == "squash":
        resize: dict[str, Any] = {"shortest_edge": None, "exact_size": resized}
    elif mode == "center" and height == width:
        resize = {"shortest_edge": resized[0]}
    else:
        raise ValueError(
            f"crop_mode must be squash, or center at a square size, got {mode!r} at {height}x{width}"
        )
    mean, std = tuple(pretrained_cfg.get("mean") or (0, 0, 0)), tuple(pretrained_cfg.get("std") or (1, 1, 1))
    plain = mean == (0, 0, 0) and std == (1, 1, 1)
    return Preprocessing(
        **resize,
        crop_size=(height, width),
        crop_rounding="even",
        resample=pretrained_cfg.get("interpolation") or "bicubic",
        channel_order="RGB",
        mean=None if plain else mean,
        std=None if plain else std,
    )


def _resize_rule(size: Any, kind: str) -> dict[str, Any]:
    if isinstance(size, int) and kind.startswith("MobileViT"):
        return {"shortest_edge": size}
    if isinstance(size, Mapping):
        if set(size) == {"shortest_edge"}:
            return {"shortest_edge": size["shortest_edge"]}
        if set(size) == {"height", "width"}:
            return {"shortest_edge": None, "exact_size": (size["height"], size["width"])}
    raise ValueError(f"size must hold shortest_edge, or height and width, got {size!r} for {kind}")


def _crop_size(size: Any) -> tuple[int, int]:
    if isinstance(size, Mapping) and {"height", "width"} <= set(size):
        return size["height"], size["width"]
    return (size, size) if isinstance(size, int) else size


def _resample_name(number: Any) -> str:
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(RESAMPLING):
        raise ValueError(f"resample must be the number of a Pillow filter, 0 to 5, got {number!r}")
    return RESAMPLING[number]


def _required(config: Mapping[str, Any], key: str, kind: str) -> Any:
    if key not in config:
        raise ValueError(f"{kind} normalises, but {key} is missing")
    return config[key]


def _input_size(size: Any) -> tuple[int, int, int]:
    if not isinstance(size, list | tuple) or len(size) != 3 or not all(type(edge) is int for edge in size):
        raise ValueError(f"input_size must be (3, height, width), got {size!r}")
    return tuple(size)
