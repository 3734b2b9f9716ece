"""Whole blocks in training: on every table and as torch operations, against float64 and torch's modules."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from mobilevit_fast import _C, ops
from mobilevit_fast.model import blocks
from mobilevit_fast.ops import native_blocks

_fast = torch.ops.mobilevit_fast

# images, channels in, expanded, out, height, width, stride, residual
BLOCKS = [
    (2, 16, 32, 16, 12, 10, 1, True),
    (3, 7, 19, 5, 9, 13, 2, False),
    (1, 5, 43, 5, 5, 7, 1, True),
    (9, 3, 4, 5, 2, 1, 2, False),
    (2, 20, 33, 9, 33, 66, 2, False),
    (1, 16, 48, 16, 70, 40, 1, True),
]
on_every_block = pytest.mark.parametrize("case", BLOCKS, ids=str)


def block_tensors(case, dtype=torch.float32, seed=0):
    """An input away from zero, then weight, norm weight and norm bias of each convolution."""
    images, channels, hidden, out, height, width, _, _ = case
    generator = torch.Generator().manual_seed(seed)

    def draw(*size):
        return torch.randn(size, generator=generator, dtype=torch.float64)

    tensors = [1 + draw(images, channels, height, width)]
    for shape in ((hidden, channels, 1, 1), (hidden, 1, 3, 3), (out, hidden, 1, 1)):
        fan = shape[1] * shape[2] * shape[3]
        tensors += [draw(*shape) / fan**0.5, 1 + 0.3 * draw(shape[0]), draw(shape[0])]
    return [tensor.to(dtype) for tensor in tensors]


def by_torch(tensors, stride, residual):
    """The block in torch's own operators."""
    x, *parameters = tensors
    y = x
    for at in range(3):
        conv, weight, bias = parameters[3 * at : 3 * at + 3]
        step, groups = (stride, conv.shape[0]) if at == 1 else (1, 1)
        y = nn.functional.conv2d(y, conv, None, step, conv.shape[-1] // 2, groups=groups)
        y = nn.functional.batch_norm(y, None, None, weight, bias, training=True)
        y = nn.functional.silu(y) if at < 2 else y
    return x + y if residual else y


def exact(case):
    """Output, upstream gradient and gradients in float64."""
    leaves = [tensor.requires_grad_() for tensor in block_tensors(case, torch.float64)]
    output = by_torch(leaves, *case[-2:])
    upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return output.detach(), upstream, torch.autograd.grad(output, leaves, upstream)


def assert_near(actual, expected, tolerance=5e-5):
    for found, wanted in zip(actual, expected, strict=True):
        error = (found.double() - wanted).abs().max()
        assert error <= tolerance * wanted.abs().max().clamp(min=1)


@on_every_block
def test_a_block_and_its_gradients_equal_float64_ones(case, isa, monkeypatch):
    for name in ("norm_linear", "norm_depthwise", "normalize"):
        for ending in ("", "_backward"):
            function = getattr(_C.ops, name + ending, None)
            if function is not None:
                monkeypatch.setattr(native_blocks._C.ops, name + ending, with_table(function, isa))
    stride, residual = case[-2:]
    expected, upstream, gradients = exact(case)
    for threads in (1, 3):
        monkeypatch.setattr(native_blocks, "intra_op_threads", lambda count=threads: count)
        leaves = [tensor.requires_grad_() for tensor in block_tensors(case)]
        output, _ = ops.trained_inverted_residual(
            leaves[0], *(leaves[at : at + 3] for at in (1, 4, 7)), stride=stride, residual=residual
        )
        assert output.is_contiguous(memory_format=torch.channels_last)
        assert_near([output.detach()], [expected])
        assert_near(torch.autograd.grad(output, leaves, upstream.float()), gradients)


def with_table(function, isa):
    return lambda *arguments, **options: function(*arguments, isa=isa, **options)


def test_gradients_equal_finite_differences():
    leaves = [t.requires_grad_() for t in block_tensors((2, 2, 3, 2, 3, 2, 1, True), torch.float64)]

    def call(x, *parameters):
        parts = (parameters[at : at + 3] for at in (0, 3, 6))
        return ops.trained_inverted_residual(x, *parts, residual=True)[0]

    assert torch.autograd.gradcheck(call, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, leaves, fast_mode=True, atol=1e-4)


def test_torch_accepts_the_operations():
    case = BLOCKS[1]
    tensors = block_tensors(case)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    torch.library.opcheck(
        _fast.trained_inverted_residual.default, (*leaves, 1e-5, *case[-2:]), test_utils=checks
    )
    output, *kept = _fast.trained_inverted_residual(*tensors, 1e-5, *case[-2:])
    torch.library.opcheck(
        _fast.trained_inverted_residual_backward.default,
        (torch.randn_like(output), *tensors, *kept, 1e-5, *case[-2:]),
    )


def test_threads_and_parts_do_not_show():
    case = (3, 16, 40, 24, 37, 30, 2, False)
    tensors = [tensor.numpy() for tensor in block_tensors(case)]
    x = np.ascontiguousarray(tensors[0].transpose(0, 2, 3, 1))
    answers = []
    for threads in (1, 2, 5):
        y, mean, variance = _C.ops.norm_linear(x.reshape(-1, 16), tensors[1][:, :, 0, 0], threads=threads)
        norm = np.stack((tensors[2], tensors[3], mean, variance))
        taps = np.ascontiguousarray(tensors[4][:, 0].transpose(1, 2, 0))
        z, *moments = _C.ops.norm_depthwise(
            y.reshape(*x.shape[:3], 40), taps, norm, 2, silu=True, threads=threads
        )
        backward = _C.ops.norm_depthwise_backward(
            z, z, y.reshape(*x.shape[:3], 40), taps, None, None, norm, 2, silu=True, threads=threads
        )
        linear = _C.ops.norm_linear_backward(
            *(backward[0].reshape(y.shape), y, x.reshape(-1, 16), tensors[1][:, :, 0, 0]),
            *(norm, backward[2]),
            threads=threads,
        )
        answers.append([y, mean, variance, z, *moments, *backward, *linear[:2]])
    for other in answers[1:]:
        for one, same in zip(answers[0], other, strict=True):
            np.testing.assert_array_equal(one, same)


def test_a_block_s_layers_equal_torch_s_modules():
    def layer(into, out, kernel, groups=1):
        conv = nn.Conv2d(into, out, kernel, padding=kernel // 2, groups=groups, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(out))

    torch.manual_seed(0)
    ours = nn.ModuleList([layer(8, 24, 1), layer(24, 24, 3, 24), layer(24, 8, 1)])
    theirs = copy.deepcopy(ours)
    x, upstream = torch.randn(4, 8, 10, 12), torch.randn(4, 8, 10, 12)
    for _ in range(3):
        layers = [tuple(part) for part in ours]
        assert blocks.can_train_inverted_residual(x, layers)
        y = blocks.trained_inverted_residual(x, layers, residual=True)
        silu = nn.functional.silu
        expected = x + theirs[2](silu(theirs[1](silu(theirs[0](x)))))
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)
        for model, output in ((ours, y), (theirs, expected)):
            model.zero_grad()
            (output * upstream).sum().backward()
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-3)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: torch.ones(1, 16, 1, 1)}, "more than one value"),
        ({1: torch.ones(32, 15, 1, 1)}, "expand_weight"),
        ({4: torch.ones(31, 1, 3, 3)}, "depthwise_weight"),
        ({8: torch.ones(3)}, "project_norm_weight"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    tensors = block_tensors(BLOCKS[0])
    for at, tensor in change.items():
        tensors[at] = tensor
    with pytest.raises(ValueError, match=message):
        _fast.trained_inverted_residual(*tensors, 1e-5, 1, True)
