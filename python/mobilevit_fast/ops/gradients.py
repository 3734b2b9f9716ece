"""Gradients of the operations.

Every pair saves the operation's inputs only: what the forward pass had in between (pre-activations, the
expanded map, attention's scores) is computed again. Only gradients that somebody asked for are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mobilevit_fast.ops import reference

_aten = torch.ops.aten


def _needed(ctx: Any, count: int) -> tuple[bool, ...]:
    """Which of the first `count` arguments need a gradient; the dispatcher leaves out trailing defaults."""
    return (*ctx.needs_input_grad, *[False] * count)[:count]


def save_convolution(ctx: Any, inputs: tuple, output: Tensor) -> None:
    input, weight, bias, ctx.stride, ctx.silu = inputs
    ctx.save_for_backward(input, weight, bias)


def conv3x3_backward(ctx: Any, grad: Tensor) -> tuple:
    # Read once: recomputed tensors can be had no second time.
    input, weight, bias = ctx.saved_tensors
    needs_input, needs_weight, needs_bias = _needed(ctx, 3)
    if ctx.silu or torch.is_grad_enabled() or (needs_input and ctx.stride != 1):
        return _convolution_block_backward(ctx, grad, (input, weight, bias), groups=1)
    # At stride 1 what the kernel does to the gradient is the same with the kernel turned by 180 degrees.
    turned = weight.flip(2, 3).transpose(0, 1)
    return (
        torch.ops.mobilevit_fast.conv3x3(grad, turned) if needs_input else None,
        torch.ops.mobilevit_fast.conv3x3_weight_gradient(input, grad, ctx.stride) if needs_weight else None,
        grad.sum((0, 2, 3)) if needs_bias else None,
        None,
        None,
    )


def dwconv3x3_backward(ctx: Any, grad: Tensor) -> tuple:
    saved = ctx.saved_tensors
    return _convolution_block_backward(ctx, grad, saved, groups=saved[1].shape[0])


def _convolution_block_backward(ctx: Any, grad: Tensor, saved: Sequence[Any], groups: int) -> tuple:
    input, weight, bias = saved
    if ctx.silu:
        before = functional.conv2d(input, weight, bias, ctx.stride, padding=1, groups=groups)
        grad = _silu_backward(grad, before)
    needed = _needed(ctx, 3)
    return *_convolution_backward(grad, input, weight, ctx.stride, groups, needed), None, None


def save_inverted_residual(ctx: Any, inputs: tuple, output: Tensor) -> None:
    *tensors, ctx.stride, ctx.residual = inputs
    ctx.save_for_backward(*tensors)


def inverted_residual_backward(ctx: Any, grad: Tensor) -> tuple:
    input, expand, expand_bias, depthwise, depthwise_bias, project, _ = ctx.saved_tensors
    needs = _needed(ctx, 7)
    hidden = expand.shape[0]

    before_expanded = functional.conv2d(input, expand, expand_bias)
    expanded = functional.silu(before_expanded)
    before_filtered = functional.conv2d(
        expanded, depthwise, depthwise_bias, ctx.stride, padding=1, groups=hidden
    )
    filtered = functional.silu(before_filtered)

    expand_grads: tuple = (None, None, None)
    depthwise_grads: tuple = (None, None, None)
    project_grads = _convolution_backward(grad, filtered, project, 1, 1, (any(needs[:5]), *needs[5:]))
    if any(needs[:5]):
        inner = _silu_backward(project_grads[0], before_filtered)
        wanted = (any(needs[:3]), *needs[3:5])
        depthwise_grads = _convolution_backward(inner, expanded, depthwise, ctx.stride, hidden, wanted)
    if any(needs[:3]):
        inner = _silu_backward(depthwise_grads[0], before_expanded)
        expand_grads = _convolution_backward(inner, input, expand, 1, 1, needs[:3])
    grad_input = expand_grads[0]
    if ctx.residual and grad_input is not None:
        grad_input = grad_input + grad
    return (grad_input, *expand_grads[1:], *depthwise_grads[1:], *project_grads[1:], None, None)


def _convolution_backward(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    stride: int,
    groups: int,
    needed: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:
    """Gradients of input, weight and bias of a "same" convolution, each where `needed` says so."""
    if not any(needed):
        return None, None, None
    padding = weight.shape[-1] // 2
    return _aten.convolution_backward(
        *(grad, input, weight, [weight.shape[0]]),
        *([stride, stride], [padding, padding], [1, 1], False, [0, 0], groups),
        list(needed),
    )


def save_linear(ctx: Any, inputs: tuple, output: Tensor) -> None:
    input, weight, bias, _, ctx.silu = inputs
    ctx.save_for_backward(input, weight, bias)


def linear_backward(ctx: Any, grad: Tensor) -> tuple:
    input, weight, bias = ctx.saved_tensors
    needs_input, needs_weight, needs_bias, needs_residual = _needed(ctx, 4)
    multiply, weight_gradient = _products()
    grad_residual = grad if needs_residual else None
    if ctx.silu:
        grad = _silu_backward(grad, multiply(input, weight, bias))
    return (
        multiply(grad, weight.T) if needs_input else None,
        weight_gradient(input, grad) if needs_weight else None,
        grad.reshape(-1, grad.shape[-1]).sum(0) if needs_bias else None,
        grad_residual,
        None,
    )


def _silu_backward(grad: Tensor, before: Tensor) -> Tensor:
    """torch's gradient, or its formula where that is differentiated, for which torch has none."""
    if not torch.is_grad_enabled():
        return _aten.silu_backward(grad, before)
    gate = before.sigmoid()
    return grad * gate * (1 + before * (1 - gate))


def _products() -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """Linear and the gradient of its weight: the kernels, or the formulas where those are differentiated."""
    if torch.is_grad_enabled():
        return functional.linear, reference.weight_gradient
    return torch.ops.mobilevit_fast.linear, torch.ops.mobilevit_fast.weight_gradient


def save_attention(ctx: Any, inputs: tuple, output: Tensor) -> None:
    qkv, ctx.heads, ctx.patch_height, ctx.patch_width = inputs
    ctx.save_for_backward(qkv)


def attention_backward(ctx: Any, grad: Tensor) -> tuple:
    (qkv,) = ctx.saved_tensors
    # The operation has no gradient; whoever wants second derivatives gets the formula.
    compute = (
        reference.attention_backward
        if torch.is_grad_enabled()
        else torch.ops.mobilevit_fast.attention_backward
    )
    return compute(qkv, grad, ctx.heads, ctx.patch_height, ctx.patch_width), None, None, None
