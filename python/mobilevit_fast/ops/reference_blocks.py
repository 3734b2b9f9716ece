"""The operations of `training_blocks` in torch's own operators: the formulas that the schemas promise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mobilevit_fast.ops import reference


def trained_inverted_residual(*arguments: Any) -> tuple[Tensor, ...]:
    (input, *parameters), (epsilon, stride, residual) = arguments[:10], arguments[10:]
    kept: list[Tensor] = []
    x = input
    for at, (layer_stride, groups) in enumerate(_geometry(parameters, stride)):
        conv, weight, bias = parameters[3 * at : 3 * at + 3]
        raw = functional.conv2d(x, conv, None, layer_stride, conv.shape[-1] // 2, groups=groups)
        x, mean, variance = reference.batch_norm(raw, weight, bias, epsilon, silu=at < 2)
        kept += [reference.channels_last(raw), mean, variance]
    output = x + input if residual else x.clone()
    return reference.channels_last(output), *kept[1:]


def trained_inverted_residual_backward(*arguments: Any) -> tuple[Tensor, ...]:
    upstream, (input, *parameters) = arguments[0], arguments[1:11]
    epsilon, stride, residual = arguments[19:]
    geometry = _geometry(parameters, stride)
    raws, inputs = [], [input]
    for at, (layer_stride, groups) in enumerate(geometry):
        # Computed again, so that second derivatives see how all depends on the input.
        conv, weight, bias = parameters[3 * at : 3 * at + 3]
        raws.append(
            functional.conv2d(inputs[at], conv, None, layer_stride, conv.shape[-1] // 2, groups=groups)
        )
        inputs.append(reference.batch_norm(raws[at], weight, bias, epsilon, silu=True)[0])
    gradients: list[Tensor] = []
    gradient = upstream
    for at in (2, 1, 0):
        conv, weight, bias = parameters[3 * at : 3 * at + 3]
        layer_stride, groups = geometry[at]
        gradient, *of_norm = reference.batch_norm_backward(
            *(gradient, raws[at], weight, bias, None, None, epsilon), silu=at < 2
        )
        padding = conv.shape[-1] // 2
        gradient, of_conv, _ = torch.ops.aten.convolution_backward(
            *(gradient, inputs[at], conv, None, [layer_stride] * 2, [padding] * 2, [1, 1]),
            *(False, [0, 0], groups, [True, True, False]),
        )
        gradients = [of_conv.contiguous(), *of_norm, *gradients]
    gradient = gradient + upstream if residual else gradient
    return reference.channels_last(gradient), *gradients


def _geometry(parameters: Any, stride: int) -> list[tuple[int, int]]:
    """Stride and groups of each convolution."""
    return [(1, 1), (stride, parameters[0].shape[0]), (1, 1)]
