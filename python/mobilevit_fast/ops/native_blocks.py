"""Blocks in training on `_C`: what lies between two batch norms is one pass over memory in each direction.

A norm is an array [4, C]: weight, bias, mean and variance of a batch norm by the batch's own statistics.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mobilevit_fast import _C
from mobilevit_fast.ops.native import as_array, as_map, as_pixels, copy_arrays, intra_op_threads


class ConvNormTensors(NamedTuple):
    """A convolution's weight, its norm's weight and bias; and what the forward pass made of its input: its
    output `raw`, and the mean and variance of that.
    """

    conv: Tensor
    weight: Tensor
    bias: Tensor
    raw: Tensor
    mean: Tensor
    variance: Tensor

    def norm(self) -> np.ndarray:
        return as_array(torch.stack((self.weight, self.bias, self.mean, self.variance)))


def trained_inverted_residual(
    input: Tensor,
    parameters: tuple[Tensor, ...],
    epsilon: float,
    stride: int,
    residual: bool,
    outputs: tuple[Tensor, ...],
) -> None:
    output, *kept = outputs
    expand, depthwise, project = layers_of(parameters, (_empty_expanded(input, parameters), *kept))
    options = {"epsilon": epsilon, "threads": intra_op_threads()}

    def keep(layer: ConvNormTensors, answer: tuple[np.ndarray, ...]) -> None:
        copy_arrays(answer[1:], (layer.mean, layer.variance))

    x = as_pixels(input)
    keep(expand, _C.ops.norm_linear(x, _matrix(expand.conv), out=as_pixels(expand.raw), **options))
    options["silu"] = True
    keep(
        depthwise,
        _C.ops.norm_depthwise(
            *(as_map(expand.raw), _taps(depthwise.conv), expand.norm(), stride),
            out=as_map(depthwise.raw),
            **options,
        ),
    )
    keep(
        project,
        _C.ops.norm_linear(
            *(as_pixels(depthwise.raw), _matrix(project.conv), depthwise.norm()),
            out=as_pixels(project.raw),
            **options,
        ),
    )
    options["silu"] = False
    _C.ops.normalize(
        *(as_pixels(project.raw), project.norm(), x if residual else None),
        out=as_pixels(output),
        **options,
    )


def trained_inverted_residual_backward(
    upstream: Tensor,
    input: Tensor,
    tensors: tuple[Tensor, ...],
    epsilon: float,
    stride: int,
    residual: bool,
    gradients: tuple[Tensor, ...],
) -> None:
    expanded = _empty_expanded(input, tensors)
    expand, depthwise, project = layers_of(tensors[:9], (expanded, *tensors[9:]))
    options: dict[str, Any] = {"epsilon": epsilon, "threads": intra_op_threads()}
    behind = as_pixels(upstream)

    inner, project_conv, depthwise_norm, project_norm = _C.ops.norm_linear_backward(
        *(behind, as_pixels(project.raw), as_pixels(depthwise.raw), _matrix(project.conv)),
        *(project.norm(), None, depthwise.norm()),
        silu=True,
        **options,
    )
    _C.ops.linear(
        *(as_pixels(input), _matrix(expand.conv)), out=as_pixels(expanded), threads=options["threads"]
    )
    raw = as_map(expanded)
    inner, depthwise_conv, expand_norm = _C.ops.norm_depthwise_backward(
        *(inner.reshape(as_map(depthwise.raw).shape), as_map(depthwise.raw), raw, _taps(depthwise.conv)),
        *(depthwise.norm(), depthwise_norm, expand.norm(), stride),
        silu=True,
        **options,
    )
    raw = as_pixels(expanded)
    _, expand_conv, *_ = _C.ops.norm_linear_backward(
        *(inner.reshape(raw.shape), raw, as_pixels(input), _matrix(expand.conv)),
        *(expand.norm(), expand_norm, None, behind if residual else None),
        out=as_pixels(gradients[0]),
        **options,
    )
    copy_arrays(
        (
            *(expand_conv[:, :, None, None], *expand_norm),
            *(depthwise_conv.transpose(2, 0, 1)[:, None], *depthwise_norm),
            *(project_conv[:, :, None, None], *project_norm),
        ),
        gradients[1:],
    )


def _empty_expanded(input: Tensor, parameters: tuple[Tensor, ...]) -> Tensor:
    """For what the expansion gives, which is not kept."""
    images, _, height, width = input.shape
    return torch.empty((images, parameters[0].shape[0], height, width), memory_format=torch.channels_last)


def layers_of(parameters: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> list[ConvNormTensors]:
    """Three parameters and three outputs a layer."""
    return [
        ConvNormTensors(*parameters[at : at + 3], *outputs[at : at + 3])
        for at in range(0, len(parameters), 3)
    ]


def _matrix(weight: Tensor) -> np.ndarray:
    """[M, K, 1, 1] as [M, K]."""
    return as_array(weight[:, :, 0, 0])


def _taps(weight: Tensor) -> np.ndarray:
    """[C, 1, 3, 3] as [3, 3, C]."""
    return as_array(weight[:, 0].permute(1, 2, 0))
