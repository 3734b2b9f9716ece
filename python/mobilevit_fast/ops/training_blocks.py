"""Whole blocks in training, as `torch.ops.mobilevit_fast.*`.

Of what lies between a block's input and its output they keep what the convolutions give, without that of the
expansion, which is the largest and cheap to compute again; and neither normalised maps nor activations: those
are computed again where the backward pass needs them. Their backward operations have no gradient: where
second derivatives are asked for, torch's own operators compute.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mobilevit_fast.ops import native_blocks, reference_blocks
from mobilevit_fast.ops.checks import (
    check_map,
    check_rank,
    check_residual,
    check_shape,
    check_stride,
    check_tensors,
)
from mobilevit_fast.ops.library import NAMESPACE, define, empty_map, runs_natively

_LAYERS = ("expand", "depthwise", "project")
_PARAMETERS = tuple(f"{layer}_{part}" for layer in _LAYERS for part in ("weight", "norm_weight", "norm_bias"))
_KEPT = (
    *("expand_mean", "expand_variance"),
    *("depthwise_raw", "depthwise_mean", "depthwise_variance"),
    *("project_raw", "project_mean", "project_variance"),
)


def _tensors(*names: str) -> str:
    return ", ".join(f"Tensor {name}" for name in names)


SCHEMAS = {
    # e = silu(norm(1x1(input))); d = silu(norm(depthwise 3x3(e))); norm(1x1(d)), plus input where `residual`,
    # each norm by the batch's own statistics. Shapes as in inverted_residual. Behind the output come, for
    # each convolution, what it gives (not for the first), and the mean and variance [C] of that, through
    # which no gradients flow.
    "trained_inverted_residual": (
        f"({_tensors('input', *_PARAMETERS)}, float epsilon, int stride=1, bool residual=False) -> "
        f"({', '.join(['Tensor'] * 9)})"
    ),
    # The gradients for its input and parameters.
    "trained_inverted_residual_backward": (
        f"({_tensors('upstream', 'input', *_PARAMETERS, *_KEPT)}, float epsilon, int stride=1, "
        f"bool residual=False) -> ({', '.join(['Tensor'] * 10)})"
    ),
}

BLOCK_NAMES = tuple(SCHEMAS)
"""Names of the operations here."""

_library = torch.library.Library(NAMESPACE, "FRAGMENT")


# ---- shapes


def _with_defaults(given: tuple, required: int) -> tuple:
    """The dispatcher leaves out trailing arguments that equal their defaults."""
    return given + (1, False)[len(given) - required :]


def empty_block(*given: Any) -> tuple[Tensor, ...]:
    name = "trained_inverted_residual"
    arguments = _with_defaults(given, 11)
    (input, *parameters), (_, stride, residual) = arguments[:10], arguments[10:]
    named = dict(zip(_PARAMETERS, parameters, strict=True))
    check_tensors(name, {"input": input, **named})
    check_map(name, "input", input, "NCHW")
    check_stride(name, stride)
    check_rank(name, "expand_weight", named["expand_weight"], "[E, C, 1, 1]")
    check_rank(name, "project_weight", named["project_weight"], "[K, E, 1, 1]")
    channels, hidden, out = input.shape[1], named["expand_weight"].shape[0], named["project_weight"].shape[0]
    shapes = ((hidden, channels, 1, 1), (hidden, 1, 3, 3), (out, hidden, 1, 1))
    for layer, shape in zip(_LAYERS, shapes, strict=True):
        check_shape(name, f"{layer}_weight", named[f"{layer}_weight"], shape)
        for part in ("norm_weight", "norm_bias"):
            check_shape(name, f"{layer}_{part}", named[f"{layer}_{part}"], (shape[0],))
    check_residual(name, residual, stride, channels, out)
    output = empty_map(input, out, stride)
    if output.numel() // max(out, 1) < 2:
        raise ValueError(
            f"{name}: a batch's own statistics need more than one value per channel, got an input of "
            f"{list(input.shape)} at stride {stride}"
        )
    moments = [[input.new_empty(width) for _ in range(2)] for width in (hidden, hidden, out)]
    raws = empty_map(input, hidden, stride), empty_map(input, out, stride)
    return output, *moments[0], raws[0], *moments[1], raws[1], *moments[2]


def empty_block_backward(*given: Any) -> tuple[Tensor, ...]:
    name = "trained_inverted_residual_backward"
    arguments = _with_defaults(given, 20)
    upstream, (input, *parameters), kept = arguments[0], arguments[1:11], arguments[11:19]
    output, *expected = empty_block(input, *parameters, *arguments[19:])
    check_tensors(name, {"input": input, "upstream": upstream, **dict(zip(_KEPT, kept, strict=True))})
    check_shape(name, "upstream", upstream, tuple(output.shape))
    for argument, tensor, like in zip(_KEPT, kept, expected, strict=True):
        check_shape(name, argument, tensor, tuple(like.shape))
    return empty_map(input, input.shape[1], 1), *(torch.empty_like(tensor) for tensor in parameters)


# ---- registration


def _compute(*arguments: Any) -> tuple[Tensor, ...]:
    outputs = empty_block(*arguments)
    if not runs_natively(outputs[0]):
        return reference_blocks.trained_inverted_residual(*arguments)
    native_blocks.trained_inverted_residual(arguments[0], arguments[1:10], *arguments[10:], outputs)
    return outputs


def _compute_backward(*arguments: Any) -> tuple[Tensor, ...]:
    gradients = empty_block_backward(*arguments)
    if not runs_natively(gradients[0]):
        return reference_blocks.trained_inverted_residual_backward(*arguments)
    native_blocks.trained_inverted_residual_backward(
        *arguments[:2], arguments[2:19], *arguments[19:], gradients
    )
    return gradients


def _save(ctx: Any, inputs: tuple, output: tuple) -> None:
    *tensors, ctx.epsilon, ctx.stride, ctx.residual = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, *output[1:])


def _backward(ctx: Any, upstream: Tensor | None, *_: Tensor | None) -> tuple:
    if upstream is None:
        return (None,) * 13
    compute = torch.ops.mobilevit_fast.trained_inverted_residual_backward
    if torch.is_grad_enabled():
        compute = reference_blocks.trained_inverted_residual_backward
    gradients = compute(upstream, *ctx.saved_tensors, ctx.epsilon, ctx.stride, ctx.residual)
    return *gradients, None, None, None


for _name, _empty, _run in (
    ("trained_inverted_residual", empty_block, _compute),
    ("trained_inverted_residual_backward", empty_block_backward, _compute_backward),
):
    define(_library, _name, SCHEMAS[_name], _empty, _run)
torch.library.register_autograd(
    f"{NAMESPACE}::trained_inverted_residual", _backward, setup_context=_save, lib=_library
)
