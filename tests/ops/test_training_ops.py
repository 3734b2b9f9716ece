"""Batch norm and the gradient of a linear's weight: on every table and as torch operations."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from mobilevit_fast import _C, ops
from mobilevit_fast.model import blocks

MAPS = [(2, 16, 6, 5), (3, 7, 5, 9), (1, 33, 40, 31), (2, 1, 1, 1)]
_fast = torch.ops.mobilevit_fast


def tensors(shape, dtype=torch.float32, seed=0):
    """A map away from zero, so that a variance could cancel; weight, bias and an upstream gradient."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*size):
        return torch.randn(size, generator=generator, dtype=torch.float64)

    x, upstream = 3 + 2 * draw(*shape), draw(*shape)
    return [value.to(dtype) for value in (x, 1 + 0.3 * draw(shape[1]), draw(shape[1]), upstream)]


def exact(x, weight, bias, upstream, silu):
    """Output, mean, variance and gradients by torch's batch norm in float64."""
    x, weight, bias = (tensor.double().requires_grad_() for tensor in (x, weight, bias))
    output = functional.batch_norm(x, None, None, weight, bias, training=True, eps=1e-5)
    output = functional.silu(output) if silu else output
    output.backward(upstream.double())
    variance, mean = torch.var_mean(x.detach(), (0, 2, 3), correction=0)
    return [output.detach(), mean, variance], [x.grad, weight.grad, bias.grad]


def assert_near(actual, expected, tolerance=2e-5):
    for found, wanted in zip(actual, expected, strict=True):
        error = (torch.as_tensor(found).double() - wanted).abs().max()
        assert error <= tolerance * wanted.abs().max().clamp(min=1)


@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("shape", MAPS, ids=str)
def test_batch_norm_and_its_gradients_equal_float64_ones(shape, silu):
    x, weight, bias, upstream = tensors(shape)
    outputs, gradients = exact(x, weight, bias, upstream, silu)
    given = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
    actual = ops.batch_norm(*given, silu=silu)
    assert actual[0].is_contiguous(memory_format=torch.channels_last)
    assert_near([tensor.detach() for tensor in actual], outputs)
    assert_near(torch.autograd.grad(actual[0], given, upstream), gradients)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("silu", [False, True])
def test_batch_norm_on_every_table(silu, threads, isa):
    x, weight, bias, upstream = tensors((2, 43, 20, 31))
    outputs, gradients = exact(x, weight, bias, upstream, silu)
    rows = [
        np.ascontiguousarray(value.permute(0, 2, 3, 1).reshape(-1, 43).numpy()) for value in (x, upstream)
    ]
    settings = {"silu": silu, "isa": isa, "threads": threads}
    y, mean, variance = _C.ops.batch_norm(rows[0], weight.numpy(), bias.numpy(), **settings)
    backward = _C.ops.batch_norm_backward(*rows, weight.numpy(), bias.numpy(), mean, variance, **settings)

    def to_map(matrix):
        return torch.from_numpy(matrix).reshape(2, 20, 31, 43).permute(0, 3, 1, 2)

    assert_near([to_map(y), mean, variance], outputs)
    assert_near([to_map(backward[0]), *backward[1:]], gradients)


@pytest.mark.parametrize("silu", [False, True])
def test_gradients_equal_finite_differences(silu):
    given = [tensor.requires_grad_() for tensor in tensors((2, 3, 2, 3), torch.float64)[:3]]

    def call(*values):
        return ops.batch_norm(*values, silu=silu)[0]

    assert torch.autograd.gradcheck(call, given)
    assert torch.autograd.gradgradcheck(call, given)


def test_torch_accepts_the_operations():
    x, weight, bias, upstream = tensors((2, 7, 3, 4))
    leaves = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
    # No gradient flows through the mean and the variance.
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(_fast.batch_norm.default, (*leaves, 1e-5, True), test_utils=checks)
    _, mean, variance = ops.batch_norm(x, weight, bias)
    torch.library.opcheck(
        _fast.batch_norm_backward.default, (upstream, x, weight, bias, mean, variance, 1e-5, True)
    )
    torch.library.opcheck(_fast.weight_gradient.default, (torch.randn(2, 5, 7), torch.randn(2, 5, 3)))


@pytest.mark.parametrize(("rows", "into", "out"), [(1, 1, 1), (900, 83, 5), (37, 16, 33), (300, 144, 96)])
def test_weight_gradients_on_every_table(rows, into, out, isa):
    generator = torch.Generator().manual_seed(1)
    x, upstream = (torch.randn(rows, width, generator=generator) for width in (into, out))
    expected = (upstream.double().T @ x.double()).numpy()
    for threads in (1, 3):
        actual = _C.ops.weight_gradient(x.numpy(), upstream.numpy(), isa=isa, threads=threads)
        assert np.abs(actual - expected).max() <= 2e-5 * np.abs(expected).max()


def test_no_rows_have_no_gradient(isa):
    gradient = _C.ops.weight_gradient(np.ones((0, 5), np.float32), np.ones((0, 3), np.float32), isa=isa)
    np.testing.assert_array_equal(gradient, np.zeros((3, 5), np.float32))


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_layer_in_training_equals_torch_s_modules(kernel):
    torch.manual_seed(1)
    x, upstream = torch.randn(4, 6, 8, 8), torch.randn(4, 10, 8, 8)
    pairs = []
    for _ in range(2):
        torch.manual_seed(0)
        conv = torch.nn.Conv2d(6, 10, kernel, padding=kernel // 2, bias=False)
        pairs.append((conv, torch.nn.BatchNorm2d(10)))
    ours, theirs = pairs
    for _ in range(3):
        y = blocks.conv_norm(x, ours, silu=True)
        expected = functional.silu(theirs[1](theirs[0](x)))
        torch.testing.assert_close(y, expected)
        for (conv, _), output in ((ours, y), (theirs, expected)):
            conv.weight.grad = None
            (output * upstream).sum().backward()
        torch.testing.assert_close(ours[0].weight.grad, theirs[0].weight.grad, rtol=1e-4, atol=1e-4)
    for name, value in theirs[1].state_dict().items():
        torch.testing.assert_close(ours[1].state_dict()[name], value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.batch_norm(torch.ones(1, 4, 1, 1), torch.ones(4), torch.ones(4)), "more than one value"),
        (lambda: ops.batch_norm(torch.ones(2, 4, 1, 1), torch.ones(3), torch.ones(4)), "weight"),
        (lambda: _fast.weight_gradient(torch.ones(2, 4), torch.ones(3, 4)), "upstream"),
        (lambda: _C.ops.weight_gradient(np.ones((2, 4), "f"), np.ones((3, 4), "f")), "upstream"),
        (
            lambda: _C.ops.batch_norm(np.ones((0, 4), "f"), np.ones(4, "f"), np.ones(4, "f")),
            "at least one row",
        ),
        (lambda: _C.ops.batch_norm(np.ones((4, 8), "f")[:, ::2], np.ones(4, "f"), np.ones(4, "f")), "x must"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
