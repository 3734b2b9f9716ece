"""What the operations count as in torch's FlopCounterMode: two for a multiply-accumulate, as torch's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

from mobilevit_fast.ops.library import NAMESPACE

Shape = torch.Size


def convolution(input: Shape, weight: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    return 2 * math.prod(out_shape) * math.prod(weight[1:])


def inverted_residual(input: Shape, expand_weight: Shape, *others: Any, out_shape: Shape, **_: Any) -> int:
    batch, channels, height, width = input
    hidden, pixels = expand_weight[0], batch * out_shape[2] * out_shape[3]
    return 2 * hidden * (batch * height * width * channels + pixels * (9 + out_shape[1]))


def linear(input: Shape, weight: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    return 2 * math.prod(out_shape) * weight[1]


def attention(
    qkv: Shape, heads: int, patch_height: int = 2, patch_width: int = 2, *, out_shape: Shape, **_: Any
) -> int:
    tokens = qkv[1] * qkv[2] // (patch_height * patch_width)
    return 4 * math.prod(out_shape) * tokens


FLOP_FORMULAS: Mapping[str, Callable[..., int]] = {
    "dwconv3x3": convolution,
    "conv3x3": convolution,
    "inverted_residual": inverted_residual,
    "linear": linear,
    "attention": attention,
}
"""Name of an operation -> its count, which takes shapes in the place of tensors."""

for _name, _formula in FLOP_FORMULAS.items():
    register_flop_formula(getattr(getattr(torch.ops, NAMESPACE), _name))(_formula)
