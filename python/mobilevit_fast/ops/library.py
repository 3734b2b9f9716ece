"""The operations as torch custom operators, `torch.ops.mobilevit_fast.*`.

Layout. Each operation takes its tensors as torch's own operator for the job does, so that exporters map it
without a permutation of their own: convolutions take maps [N, C, H, W], linear and attention have the
channels last ([..., K] and [N, H, W, C]). In memory all maps are channels last: convolutions answer in
torch.channels_last, and `map.permute(0, 2, 3, 1)` between the two kinds is a view. Other strides are accepted
and copied first. Weights have the shapes of nn.Conv2d and nn.Linear. Schemas hold tensors, ints and bools
only.

Implementations. float32 on the CPU runs this package's kernels, and so do float16 and bfloat16 on a CUDA
device where they save passes over memory (`cuda_native`); every other dtype and device runs the formulas in
`reference`. One call takes one dtype and one device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mobilevit_fast.ops import cuda_native, gradients, native, reference
from mobilevit_fast.ops.checks import (
    check_map,
    check_patches,
    check_rank,
    check_residual,
    check_shape,
    check_stride,
    check_tensors,
)

NAMESPACE = "mobilevit_fast"

SCHEMAS = {
    # silu(conv2d(input, weight, bias, stride, padding=1, groups=C)), the activation where asked for.
    # input [N, C, H, W], weight [C, 1, 3, 3], bias [C] -> [N, C, ceil(H / stride), ceil(W / stride)]
    "dwconv3x3": "(Tensor input, Tensor weight, Tensor? bias=None, int stride=1, bool silu=False) -> Tensor",
    # silu(conv2d(input, weight, bias, stride, padding=1)), the activation where asked for.
    # input [N, C, H, W], weight [K, C, 3, 3], bias [K] -> [N, K, ceil(H / stride), ceil(W / stride)]
    "conv3x3": "(Tensor input, Tensor weight, Tensor? bias=None, int stride=1, bool silu=False) -> Tensor",
    # e = silu(1x1(input)); d = silu(depthwise 3x3(e)); 1x1(d), plus input where `residual`.
    # input [N, C, H, W], weights [E, C, 1, 1], [E, 1, 3, 3], [K, E, 1, 1], biases [E], [E], [K]
    # -> [N, K, ceil(H / stride), ceil(W / stride)]; `residual` needs stride 1 and K = C
    "inverted_residual": (
        "(Tensor input, Tensor expand_weight, Tensor expand_bias, Tensor depthwise_weight, "
        "Tensor depthwise_bias, Tensor project_weight, Tensor project_bias, int stride=1, "
        "bool residual=False) -> Tensor"
    ),
    # silu(input @ weight.T + bias) + residual, the activation where asked for.
    # input [..., K], weight [M, K], bias [M], residual [..., M] -> [..., M]
    "linear": (
        "(Tensor input, Tensor weight, Tensor? bias=None, Tensor? residual=None, bool silu=False) -> Tensor"
    ),
    # softmax(q k^T / sqrt(dim / heads)) v among the pixels of equal position in their patch, head by head.
    # qkv [N, H, W, 3 * dim], all heads' q, then k, then v -> [N, H, W, dim]; the patch divides H and W
    "attention": "(Tensor qkv, int heads, int patch_height=2, int patch_width=2) -> Tensor",
}

NAMES = tuple(SCHEMAS)
"""The operations of `torch.ops.mobilevit_fast` that networks of floating point numbers are made of; `int8`
adds those on bytes, `training` what training needs besides."""

_library = torch.library.Library(NAMESPACE, "DEF")


# ---- shapes: what an operation refuses, and the empty tensor that it fills


def empty_map(input: Tensor, channels: int, stride: int) -> Tensor:
    """What a 3x3 convolution with padding 1 makes of a map [N, C, H, W], of the same dtype."""
    batch, _, height, width = input.shape
    shape = (batch, channels, (height - 1) // stride + 1, (width - 1) // stride + 1)
    return torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=torch.channels_last)


def empty_dwconv3x3(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, silu: bool = False
) -> Tensor:
    name = "dwconv3x3"
    check_tensors(name, {"input": input, "weight": weight, "bias": bias})
    check_map(name, "input", input, "NCHW")
    check_stride(name, stride)
    channels = input.shape[1]
    check_shape(name, "weight", weight, (channels, 1, 3, 3))
    check_shape(name, "bias", bias, (channels,))
    return empty_map(input, channels, stride)


def empty_conv3x3(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, silu: bool = False
) -> Tensor:
    name = "conv3x3"
    check_tensors(name, {"input": input, "weight": weight, "bias": bias})
    check_map(name, "input", input, "NCHW")
    check_stride(name, stride)
    check_rank(name, "weight", weight, "[K, C, 3, 3]")
    check_shape(name, "weight", weight, (weight.shape[0], input.shape[1], 3, 3))
    check_shape(name, "bias", bias, (weight.shape[0],))
    return empty_map(input, weight.shape[0], stride)


def empty_inverted_residual(
    input: Tensor,
    expand_weight: Tensor,
    expand_bias: Tensor,
    depthwise_weight: Tensor,
    depthwise_bias: Tensor,
    project_weight: Tensor,
    project_bias: Tensor,
    stride: int = 1,
    residual: bool = False,
) -> Tensor:
    name = "inverted_residual"
    weights = {
        "expand_weight": expand_weight,
        "expand_bias": expand_bias,
        "depthwise_weight": depthwise_weight,
        "depthwise_bias": depthwise_bias,
        "project_weight": project_weight,
        "project_bias": project_bias,
    }
    check_tensors(name, {"input": input, **weights})
    check_map(name, "input", input, "NCHW")
    check_stride(name, stride)
    check_rank(name, "expand_weight", expand_weight, "[E, C, 1, 1]")
    check_rank(name, "project_weight", project_weight, "[K, E, 1, 1]")
    channels, hidden, out = input.shape[1], expand_weight.shape[0], project_weight.shape[0]
    shapes = ((hidden, channels, 1, 1), (hidden,), (hidden, 1, 3, 3), (hidden,), (out, hidden, 1, 1), (out,))
    for (argument, tensor), shape in zip(weights.items(), shapes, strict=True):
        check_shape(name, argument, tensor, shape)
    check_residual(name, residual, stride, channels, out)
    return empty_map(input, out, stride)


def empty_linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    silu: bool = False,
) -> Tensor:
    name = "linear"
    check_tensors(name, {"input": input, "weight": weight, "bias": bias, "residual": residual})
    check_rank(name, "weight", weight, "[M, K]")
    if input.ndim < 1:
        raise ValueError(f"{name}: input must be [..., K], got a scalar")
    out = weight.shape[0]
    check_shape(name, "weight", weight, (out, input.shape[-1]))
    check_shape(name, "bias", bias, (out,))
    check_shape(name, "residual", residual, (*input.shape[:-1], out))
    return input.new_empty((*input.shape[:-1], out))


def empty_attention(qkv: Tensor, heads: int, patch_height: int = 2, patch_width: int = 2) -> Tensor:
    name = "attention"
    check_tensors(name, {"qkv": qkv})
    return qkv.new_empty(check_patches(name, qkv, heads, patch_height, patch_width))


_EMPTY = {
    "dwconv3x3": empty_dwconv3x3,
    "conv3x3": empty_conv3x3,
    "inverted_residual": empty_inverted_residual,
    "linear": empty_linear,
    "attention": empty_attention,
}

_GRADIENTS = {
    "dwconv3x3": (gradients.save_convolution, gradients.dwconv3x3_backward),
    "conv3x3": (gradients.save_convolution, gradients.conv3x3_backward),
    "inverted_residual": (gradients.save_inverted_residual, gradients.inverted_residual_backward),
    "linear": (gradients.save_linear, gradients.linear_backward),
    "attention": (gradients.save_attention, gradients.attention_backward),
}


# ---- registration


def define(
    library: torch.library.Library,
    name: str,
    schema: str,
    empty: Callable[..., Tensor | tuple[Tensor, ...]],
    compute: Callable[..., Tensor | tuple[Tensor, ...]],
) -> None:
    """Defines an operation that `compute` computes from all of its arguments, on every device.

    `empty` checks the arguments and makes the outputs, for fake tensors too.
    """
    library.define(f"{name}{schema}", tags=(torch.Tag.pt2_compliant_tag,))
    arguments = getattr(torch.ops.mobilevit_fast, name).default._schema.arguments
    defaults = [argument.default_value for argument in arguments]

    def compute_with_defaults(*given: Any) -> Tensor | tuple[Tensor, ...]:
        # The dispatcher leaves out trailing arguments that equal their defaults.
        return compute(*given, *defaults[len(given) :])

    library.impl(name, compute_with_defaults, "CompositeExplicitAutograd")
    torch.library.register_fake(f"{NAMESPACE}::{name}", empty, lib=library)


def runs_natively(tensor: Tensor) -> bool:
    """Whether the CPU's kernels take the tensor."""
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu"


def _register(name: str, schema: str) -> None:
    empty, kernel, formula = _EMPTY[name], getattr(native, name), getattr(reference, name)

    def compute(*arguments: Any) -> Tensor:
        output = empty(*arguments)
        run = kernel if runs_natively(output) else cuda_native.kernel_for(name, arguments, output)
        if run is None:
            return formula(*arguments)
        if output.numel():
            run(*arguments, output)
        return output

    define(_library, name, schema, empty, compute)
    save, backward = _GRADIENTS[name]
    torch.library.register_autograd(f"{NAMESPACE}::{name}", backward, setup_context=save, lib=_library)


for _name, _schema in SCHEMAS.items():
    _register(_name, _schema)
