"""The operations as Python functions: `torch.ops.mobilevit_fast.*` with defaults, docstrings and autocast.

Under torch.autocast every tensor but those of float64 is cast first: to autocast's dtype, as torch does for
convolutions and linears; on a CPU those of `attention` and `trained_inverted_residual` to float32, the dtype
of their kernels, which are faster than torch's operators in any other.

Under torch.func's transforms (grad, jacrev, jvp, vmap, ...) and in forward mode the formulas in torch's own
operators compute: for operators of a library, torch has neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from mobilevit_fast.ops import library, reference, reference_blocks

_ops = getattr(torch.ops, library.NAMESPACE)


def dwconv3x3(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, silu: bool = False
) -> Tensor:
    """Depthwise 3x3 convolution with padding 1, then SiLU where asked for.

    Args:
        input: [N, C, H, W], best in channels_last memory.
        weight: [C, 1, 3, 3].
        bias: [C] or None.
        stride: 1 or 2.

    Returns:
        [N, C, ceil(H / stride), ceil(W / stride)] in channels_last memory.

    Raises:
        TypeError: tensors that are not floating point or of different dtypes.
        ValueError: shapes that do not fit, or another stride.
    """
    input, weight, bias = _cast(input, weight, bias)
    return _operation("dwconv3x3")(input, weight, bias, stride, silu)


def conv3x3(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, silu: bool = False
) -> Tensor:
    """Dense 3x3 convolution with padding 1, then SiLU where asked for; like `dwconv3x3`, weight [K, C, 3,
    3].
    """
    input, weight, bias = _cast(input, weight, bias)
    return _operation("conv3x3")(input, weight, bias, stride, silu)


def inverted_residual(
    input: Tensor,
    expand: tuple[Tensor, Tensor],
    depthwise: tuple[Tensor, Tensor],
    project: tuple[Tensor, Tensor],
    *,
    stride: int = 1,
    residual: bool = False,
) -> Tensor:
    """1x1 expansion and SiLU, depthwise 3x3 and SiLU, 1x1 projection, plus the input where `residual`.

    Args:
        input: [N, C, H, W], best in channels_last memory.
        expand: weight [E, C, 1, 1] and bias [E], BatchNorm folded in.
        depthwise: weight [E, 1, 3, 3] and bias [E].
        project: weight [K, E, 1, 1] and bias [K].
        stride: 1 or 2.
        residual: needs stride 1 and K = C.

    Returns:
        [N, K, ceil(H / stride), ceil(W / stride)] in channels_last memory.

    Raises:
        TypeError: tensors that are not floating point or of different dtypes.
        ValueError: shapes that do not fit, another stride, a residual that cannot be.
    """
    tensors = _cast(input, *expand, *depthwise, *project)
    return _operation("inverted_residual")(*tensors, stride, residual)


def linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    residual: Tensor | None = None,
    silu: bool = False,
) -> Tensor:
    """input @ weight.T + bias, then SiLU where asked for, then plus `residual`.

    Args:
        input: [..., K].
        weight: [M, K].
        bias: [M] or None.
        residual: [..., M] or None.

    Returns:
        [..., M], dense.

    Raises:
        TypeError: tensors that are not floating point or of different dtypes.
        ValueError: shapes that do not fit.
    """
    return _operation("linear")(*_cast(input, weight, bias, residual), silu)


def attention(qkv: Tensor, heads: int, *, patch_size: tuple[int, int] = (2, 2)) -> Tensor:
    """Multi-head self-attention among the pixels of equal position in their patch.

    Args:
        qkv: map [N, H, W, 3 * dim]: queries of all heads, then keys, then values.
        heads: divides dim.
        patch_size: height and width, which divide H and W.

    Returns:
        [N, H, W, dim], dense.

    Raises:
        TypeError: qkv is not floating point.
        ValueError: a shape that heads or patch do not divide.
    """
    (qkv,) = _cast_for_float_kernels(qkv)
    return _operation("attention")(qkv, heads, *patch_size)


def layer_norm(input: Tensor, weight: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """Layer norm of [..., C] over its last dimension, times weight [C], plus bias [C].

    Raises:
        TypeError: tensors that are not floating point or of different dtypes.
        ValueError: shapes that do not fit.
    """
    return _operation("layer_norm")(input, weight, bias, epsilon)


def batch_norm(
    input: Tensor, weight: Tensor, bias: Tensor, *, epsilon: float = 1e-5, silu: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch norm by the batch's own statistics, then SiLU where asked for.

    Args:
        input: [N, C, H, W], best in channels_last memory.
        weight, bias: [C].
        epsilon: is added to the variance.

    Returns:
        [N, C, H, W] in channels_last memory; and the mean [C] and variance [C] (divided by the number of
        values), through which no gradient flows.

    Raises:
        TypeError: tensors that are not floating point or of different dtypes.
        ValueError: shapes that do not fit, or a single value per channel.
    """
    input, weight, bias = _cast(input, weight, bias)
    return _operation("batch_norm")(input, weight, bias, epsilon, silu)


def trained_inverted_residual(
    input: Tensor,
    expand: tuple[Tensor, Tensor, Tensor],
    depthwise: tuple[Tensor, Tensor, Tensor],
    project: tuple[Tensor, Tensor, Tensor],
    *,
    epsilon: float = 1e-5,
    stride: int = 1,
    residual: bool = False,
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """`inverted_residual` with a batch norm by the batch's own statistics behind each convolution.

    Args:
        input: [N, C, H, W], best in channels_last memory.
        expand, depthwise, project: a convolution's weight, its norm's weight and bias.
        epsilon: is added to the variances.
        stride: 1 or 2.
        residual: needs stride 1 and as many channels out as in.

    Returns:
        [N, K, ceil(H / stride), ceil(W / stride)] in channels_last memory; and for each norm the mean [C] and
        variance [C] (divided by the number of values), through which no gradient flows.

    Raises:
        TypeError: tensors that are not floating point or of different dtypes.
        ValueError: shapes that do not fit, another stride, a residual that cannot be, or a single value per
            channel.
    """
    tensors = _cast_for_float_kernels(input, *expand, *depthwise, *project)
    output, *kept = _operation("trained_inverted_residual")(*tensors, epsilon, stride, residual)
    return output, [(kept[at], kept[at + 1]) for at in (0, 3, 6)]


def _operation(name: str) -> Callable[..., Any]:
    """The operator of that name, or its formula where torch has to look into it."""
    if not torch._C._are_functorch_transforms_active() and forward_ad._current_level < 0:
        return getattr(_ops, name)
    return _FORMULAS[name]


def _attention_formula(*arguments: Any) -> Tensor:
    # torch's fused attention has no forward-mode and no second derivatives.
    with sdpa_kernel(SDPBackend.MATH):
        return reference.attention(*arguments)


_FORMULAS = {
    **{name: getattr(reference, name) for name in (*library.NAMES, "layer_norm", "batch_norm")},
    "attention": _attention_formula,
    "trained_inverted_residual": reference_blocks.trained_inverted_residual,
}


def _cast_for_float_kernels(*tensors: Tensor) -> Sequence[Tensor]:
    if tensors[0].device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        return [_to(torch.float32, tensor) for tensor in tensors]
    return _cast(*tensors)


def _cast(*tensors: Tensor | None) -> Sequence[Tensor | None]:
    device = tensors[0].device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return [None if tensor is None else _to(dtype, tensor) for tensor in tensors]


def _to(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    # torch.autocast leaves float64 alone, too: who computes in it wants it.
    return tensor if tensor.dtype == torch.float64 else tensor.to(dtype)
