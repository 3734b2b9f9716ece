"""Operations that training is made of besides those of `library`, as `torch.ops.mobilevit_fast.*`.

They follow `library` in layout and implementations. None but the norms has a gradient: where second
derivatives are asked for, backward passes use torch's own operators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mobilevit_fast.ops import native, reference
from mobilevit_fast.ops.checks import check_map, check_patches, check_shape, check_stride, check_tensors
from mobilevit_fast.ops.library import NAMESPACE, define, empty_map, runs_natively

SCHEMAS = {
    # The gradient for attention's qkv, from that for its output [N, H, W, dim].
    "attention_backward": (
        "(Tensor qkv, Tensor upstream, int heads, int patch_height=2, int patch_width=2) -> Tensor"
    ),
    # The gradient [M, K] of a linear's weight, from its input [..., K] and that for its output [..., M].
    "weight_gradient": "(Tensor input, Tensor upstream) -> Tensor",
    # The gradient [K, C, 3, 3] of a 3x3 convolution's weight, from its input [N, C, H, W] and that for its
    # output [N, K, ceil(H / stride), ceil(W / stride)].
    "conv3x3_weight_gradient": "(Tensor input, Tensor upstream, int stride=1) -> Tensor",
    # Layer norm over the last dimension of [..., C].
    "layer_norm": "(Tensor input, Tensor weight, Tensor bias, float epsilon) -> Tensor",
    # The gradients for layer_norm's input, weight and bias, from that for its output.
    "layer_norm_backward": (
        "(Tensor upstream, Tensor input, Tensor weight, float epsilon) -> (Tensor, Tensor, Tensor)"
    ),
    # Batch norm of a map [N, C, H, W] by its own mean and variance, then SiLU where asked for; and the mean
    # [C] and variance [C] (divided by the number of values, not one less), through which no gradient flows.
    "batch_norm": (
        "(Tensor input, Tensor weight, Tensor bias, float epsilon, bool silu=False) "
        "-> (Tensor, Tensor, Tensor)"
    ),
    # The gradients for batch_norm's input, weight and bias, from that for its output.
    "batch_norm_backward": (
        "(Tensor upstream, Tensor input, Tensor weight, Tensor bias, Tensor mean, Tensor variance, "
        "float epsilon, bool silu=False) -> (Tensor, Tensor, Tensor)"
    ),
}

TRAINING_NAMES = tuple(SCHEMAS)
"""Names of the operations here."""

_library = torch.library.Library(NAMESPACE, "FRAGMENT")


def empty_attention_backward(
    qkv: Tensor, upstream: Tensor, heads: int, patch_height: int = 2, patch_width: int = 2
) -> Tensor:
    name = "attention_backward"
    check_tensors(name, {"qkv": qkv, "upstream": upstream})
    check_shape(name, "upstream", upstream, check_patches(name, qkv, heads, patch_height, patch_width))
    return qkv.new_empty(qkv.shape)


def empty_weight_gradient(input: Tensor, upstream: Tensor) -> Tensor:
    name = "weight_gradient"
    check_tensors(name, {"input": input, "upstream": upstream})
    if input.ndim < 1 or upstream.ndim < 1:
        raise ValueError(f"{name}: input must be [..., K] and upstream [..., M], got a scalar")
    check_shape(name, "upstream", upstream, (*input.shape[:-1], upstream.shape[-1]))
    return input.new_empty((upstream.shape[-1], input.shape[-1]))


def empty_conv3x3_weight_gradient(input: Tensor, upstream: Tensor, stride: int = 1) -> Tensor:
    name = "conv3x3_weight_gradient"
    check_tensors(name, {"input": input, "upstream": upstream})
    check_map(name, "input", input, "NCHW")
    check_map(name, "upstream", upstream, "NCHW")
    check_stride(name, stride)
    batch, channels, height, width = input.shape
    out = upstream.shape[1]
    size = ((height - 1) // stride + 1, (width - 1) // stride + 1)
    check_shape(name, "upstream", upstream, (batch, out, *size))
    return input.new_empty((out, channels, 3, 3))


def _check_layer_norm(name: str, input: Tensor, channels: dict[str, Tensor]) -> None:
    check_tensors(name, {"input": input, **channels})
    if input.ndim < 1 or input.shape[-1] < 1:
        raise ValueError(f"{name}: input must be [..., C] with C >= 1, got {list(input.shape)}")
    for argument, tensor in channels.items():
        check_shape(name, argument, tensor, (input.shape[-1],))


def empty_layer_norm(input: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    _check_layer_norm("layer_norm", input, {"weight": weight, "bias": bias})
    return input.new_empty(input.shape)


def empty_layer_norm_backward(
    upstream: Tensor, input: Tensor, weight: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    name = "layer_norm_backward"
    check_tensors(name, {"upstream": upstream, "input": input})
    check_shape(name, "upstream", upstream, tuple(input.shape))
    _check_layer_norm(name, input, {"weight": weight})
    return input.new_empty(input.shape), *(input.new_empty(input.shape[-1]) for _ in range(2))


def _check_batch_norm(name: str, input: Tensor, channels: dict[str, Tensor]) -> None:
    check_tensors(name, {"input": input, **channels})
    check_map(name, "input", input, "NCHW")
    for argument, tensor in channels.items():
        check_shape(name, argument, tensor, (input.shape[1],))
    if input.shape[0] * input.shape[2] * input.shape[3] < 2:
        raise ValueError(
            f"{name}: a batch's own statistics need more than one value per channel, got an input of "
            f"{list(input.shape)}"
        )


def empty_batch_norm(
    input: Tensor, weight: Tensor, bias: Tensor, epsilon: float, silu: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    _check_batch_norm("batch_norm", input, {"weight": weight, "bias": bias})
    channels = input.shape[1]
    return empty_map(input, channels, 1), input.new_empty(channels), input.new_empty(channels)


def empty_batch_norm_backward(
    upstream: Tensor,
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: float,
    silu: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    name = "batch_norm_backward"
    check_tensors(name, {"upstream": upstream, "input": input})
    check_shape(name, "upstream", upstream, tuple(input.shape))
    _check_batch_norm(name, input, {"weight": weight, "bias": bias, "mean": mean, "variance": variance})
    channels = input.shape[1]
    return empty_map(input, channels, 1), input.new_empty(channels), input.new_empty(channels)


_EMPTY: dict[str, Callable[..., Any]] = {
    "attention_backward": empty_attention_backward,
    "weight_gradient": empty_weight_gradient,
    "conv3x3_weight_gradient": empty_conv3x3_weight_gradient,
    "layer_norm": empty_layer_norm,
    "layer_norm_backward": empty_layer_norm_backward,
    "batch_norm": empty_batch_norm,
    "batch_norm_backward": empty_batch_norm_backward,
}


def _save_batch_norm(ctx: Any, inputs: tuple, output: tuple) -> None:
    input, weight, bias, ctx.epsilon, ctx.silu = inputs
    _, mean, variance = output
    ctx.save_for_backward(input, weight, bias, mean, variance)


def _batch_norm_backward(ctx: Any, upstream: Tensor, *_: Tensor | None) -> tuple:
    compute = torch.ops.mobilevit_fast.batch_norm_backward
    if torch.is_grad_enabled():
        compute = reference.batch_norm_backward
    return *compute(upstream, *ctx.saved_tensors, ctx.epsilon, ctx.silu), None, None


def _save_layer_norm(ctx: Any, inputs: tuple, output: Tensor) -> None:
    input, weight, bias, ctx.epsilon = inputs
    ctx.save_for_backward(input, weight, bias)


def _layer_norm_backward(ctx: Any, upstream: Tensor) -> tuple:
    input, weight, _ = ctx.saved_tensors
    compute = torch.ops.mobilevit_fast.layer_norm_backward
    if torch.is_grad_enabled():
        compute = reference.layer_norm_backward
    return *compute(upstream, input, weight, ctx.epsilon), None


def _register(name: str, schema: str) -> None:
    empty, kernel, formula = _EMPTY[name], getattr(native, name), getattr(reference, name)

    def compute(*arguments: Any) -> Any:
        outputs = empty(*arguments)
        first = outputs if isinstance(outputs, Tensor) else outputs[0]
        if not runs_natively(first):
            return formula(*arguments)
        if first.numel():
            kernel(*arguments, outputs)
        return outputs

    define(_library, name, schema, empty, compute)


for _name, _schema in SCHEMAS.items():
    _register(_name, _schema)
torch.library.register_autograd(
    f"{NAMESPACE}::batch_norm", _batch_norm_backward, setup_context=_save_batch_norm, lib=_library
)
torch.library.register_autograd(
    f"{NAMESPACE}::layer_norm", _layer_norm_backward, setup_context=_save_layer_norm, lib=_library
)
