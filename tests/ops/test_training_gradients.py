"""Gradients of layer norm and of a dense 3x3 convolution: on every table and as torch operations."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from mobilevit_fast import _C, ops

_fast = torch.ops.mobilevit_fast

# images, channels in and out, height, width, stride
CONVOLUTIONS = [
    (2, 16, 32, 12, 10, 1),
    (3, 7, 5, 9, 13, 2),
    (1, 33, 43, 8, 8, 1),
    (2, 3, 16, 40, 31, 2),
    (2, 5, 3, 1, 1, 1),
    (1, 4, 6, 2, 1, 2),
    (1, 40, 24, 33, 47, 1),
]


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_near(actual, expected, tolerance=2e-5):
    error = (torch.as_tensor(actual).double() - expected).abs().max()
    assert error <= tolerance * expected.abs().max().clamp(min=1)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_weight_gradients_of_convolutions_on_every_table(case, threads, isa):
    images, into, out, height, width, stride = case
    x, weight = draw(images, into, height, width), draw(out, into, 3, 3, seed=1).requires_grad_()
    y = functional.conv2d(x, weight, None, stride, 1)
    upstream = draw(*y.shape, seed=2)
    (expected,) = torch.autograd.grad(y, weight, upstream)
    maps = [
        np.ascontiguousarray(value.permute(0, 2, 3, 1).numpy().astype(np.float32)) for value in (x, upstream)
    ]
    actual = _C.ops.conv3x3_weight_gradient(*maps, stride, isa=isa, threads=threads)
    assert_near(actual.transpose(0, 3, 1, 2), expected)


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_gradients_of_convolutions_equal_float64_ones(case):
    images, into, out, height, width, stride = case
    exact = [draw(images, into, height, width), draw(out, into, 3, 3, seed=1), draw(out, seed=3)]
    single = [value.float().requires_grad_() for value in exact]
    exact = [value.requires_grad_() for value in exact]
    expected = functional.conv2d(*exact, stride, 1)
    upstream = draw(*expected.shape, seed=2)
    y = ops.conv3x3(*single, stride=stride)
    actual = torch.autograd.grad(y, single, upstream.float())
    for one, other in zip(actual, torch.autograd.grad(expected, exact, upstream), strict=True):
        assert_near(one, other)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("rows", "channels"), [(1, 1), (9, 5), (700, 33), (1100, 144)])
def test_gradients_of_layer_norm_on_every_table(rows, channels, threads, isa):
    x, gamma, beta = 3 + 2 * draw(rows, channels), 1 + 0.3 * draw(channels, seed=1), draw(channels, seed=2)
    upstream = draw(rows, channels, seed=3)
    leaves = [value.requires_grad_() for value in (x, gamma, beta)]
    expected = torch.autograd.grad(functional.layer_norm(x, (channels,), gamma, beta), leaves, upstream)
    single = [value.detach().float().numpy() for value in (x, upstream, gamma)]
    actual = _C.ops.layer_norm_backward(*single, isa=isa, threads=threads)
    for one, other in zip(actual, expected, strict=True):
        assert_near(one, other)


def test_layer_norm_equals_torch_s_and_finite_differences():
    leaves = [value.requires_grad_() for value in (draw(2, 3, 5), draw(5, seed=1), draw(5, seed=2))]
    assert_near(
        ops.layer_norm(*leaves).detach(), functional.layer_norm(leaves[0], (5,), *leaves[1:]).detach()
    )
    assert torch.autograd.gradcheck(ops.layer_norm, leaves)
    assert torch.autograd.gradgradcheck(ops.layer_norm, leaves)
    single = [value.detach().float().requires_grad_() for value in leaves]
    actual = torch.autograd.grad(ops.layer_norm(*single).sum(), single)
    expected = torch.autograd.grad(ops.layer_norm(*leaves).sum(), leaves)
    for one, other in zip(actual, expected, strict=True):
        assert_near(one, other)


def test_torch_accepts_the_operations():
    x, weight, bias = (value.float().requires_grad_() for value in (draw(2, 3, 5), draw(5), draw(5)))
    torch.library.opcheck(_fast.layer_norm.default, (x, weight, bias, 1e-5))
    plain = (torch.randn(2, 3, 5), x.detach(), weight.detach(), 1e-5)
    torch.library.opcheck(_fast.layer_norm_backward.default, plain)
    torch.library.opcheck(
        _fast.conv3x3_weight_gradient.default, (torch.randn(2, 3, 5, 4), torch.randn(2, 6, 3, 2), 2)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.layer_norm(torch.ones(2, 4), torch.ones(3), torch.ones(4)), "weight"),
        (lambda: _fast.conv3x3_weight_gradient(torch.ones(1, 2, 4, 4), torch.ones(1, 2, 3, 4)), "upstream"),
        (lambda: _fast.conv3x3_weight_gradient(torch.ones(1, 2, 4, 4), torch.ones(1, 2, 4, 4), 3), "stride"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
