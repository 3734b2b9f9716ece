"""torch's operators in TensorFlow: what is left of a model once this package's operations are lowered.

Maps are [N, C, H, W] between operators, as torch has them; a convolution turns them for itself, and
TensorFlow's optimiser drops the transpositions that cancel.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
import torch

_aten = torch.ops.aten

_TO_NHWC, _TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


def _conv2d(x, weight, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    rows, columns = _pair(padding)
    x = tf.pad(tf.transpose(x, _TO_NHWC), [[0, 0], [rows, rows], [columns, columns], [0, 0]])
    if groups == 1:
        y = tf.nn.conv2d(x, tf.transpose(weight, (2, 3, 1, 0)), _pair(stride), "VALID")
    else:
        # Depthwise, with one channel for each group: the network has no other.
        filters = tf.transpose(weight, (2, 3, 0, 1))
        y = tf.nn.depthwise_conv2d(x, filters, [1, *_pair(stride), 1], "VALID")
    return tf.transpose(y if bias is None else tf.nn.bias_add(y, bias), _TO_NCHW)


def _linear(x, weight, bias=None):
    y = tf.linalg.matmul(x, weight, transpose_b=True)
    return y if bias is None else y + bias


def _layer_norm(x, shape, weight=None, bias=None, epsilon=1e-5, *_):
    axes = list(range(-len(shape), 0))
    mean, variance = tf.nn.moments(x, axes, keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, bias, weight, epsilon)


def _resize(x, size, align_corners, scales):
    return tf.transpose(tf.image.resize(tf.transpose(x, _TO_NHWC), _shape(size), "bilinear"), _TO_NCHW)


def _transpose(x, first, second):
    order = list(range(x.shape.rank))
    order[first], order[second] = order[second], order[first]
    return tf.transpose(x, order)


def _slice(x, axis=0, start=None, end=None, step=1):
    return x[(slice(None),) * axis + (slice(start, end, step),)]


def _to(x, dtype, *_):
    return tf.cast(x, getattr(tf, str(dtype).removeprefix("torch.")))


OPERATIONS: Mapping[Any, Callable] = {
    _aten.conv2d.default: _conv2d,
    _aten.linear.default: _linear,
    _aten.layer_norm.default: _layer_norm,
    _aten.silu.default: tf.nn.silu,
    _aten.softmax.int: lambda x, axis, *_: tf.nn.softmax(x, axis),
    _aten.matmul.default: tf.linalg.matmul,
    _aten.add.Tensor: operator.add,
    _aten.mul.Tensor: operator.mul,
    _aten.mean.dim: lambda x, axes, keepdims=False: tf.reduce_mean(x, axes, keepdims),
    _aten.cat.default: lambda parts, axis=0: tf.concat(parts, axis),
    _aten.chunk.default: lambda x, count, axis=0: tf.split(x, count, axis),
    _aten.slice.Tensor: _slice,
    _aten.reshape.default: lambda x, shape: tf.reshape(x, _shape(shape)),
    _aten.permute.default: tf.transpose,
    _aten.transpose.int: _transpose,
    _aten.upsample_bilinear2d.vec: _resize,
    _aten.to.dtype: _to,
    _aten.sym_size.int: lambda x, axis: tf.shape(x)[axis],
    operator.getitem: operator.getitem,
    operator.add: operator.add,
    operator.sub: operator.sub,
    operator.mul: operator.mul,
    operator.floordiv: operator.floordiv,
}
"""Operator of an exported program -> what computes it on tensors of TensorFlow."""


def _pair(values: Sequence[int]) -> list[int]:
    return [*values] * (2 // len(values))


def _shape(sizes: Sequence[Any]) -> Any:
    """Of numbers, some of which may be known at run time only."""
    if all(type(size) is int for size in sizes):
        return list(sizes)
    return tf.stack([tf.cast(size, tf.int32) for size in sizes])
