"""torch.func's transforms and forward-mode derivatives, through every operation in its Python form."""

import pytest
import torch
from torch.autograd import forward_ad

from mobilevit_fast import ops

CHANNELS = 6


def values(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


PER_CHANNEL, PER_HIDDEN, PER_COLUMN = values(CHANNELS), values(8), values(4)
EXPAND, DEPTHWISE, PROJECT = values(8, CHANNELS, 1, 1), values(8, 1, 3, 3), values(CHANNELS, 8, 1, 1)
FILTERS, DENSE, MATRIX = values(CHANNELS, 1, 3, 3), values(5, CHANNELS, 3, 3), values(7, 4)
FOLDED = ((EXPAND, PER_HIDDEN), (DEPTHWISE, PER_HIDDEN), (PROJECT, PER_CHANNEL))
TRAINED = tuple((weight, bias, bias) for weight, bias in FOLDED)

OPERATIONS = {
    "dwconv3x3": lambda x: ops.dwconv3x3(x, FILTERS, PER_CHANNEL, silu=True),
    "conv3x3": lambda x: ops.conv3x3(x, DENSE, stride=2, silu=True),
    "inverted_residual": lambda x: ops.inverted_residual(x, *FOLDED, stride=2),
    "linear": lambda x: ops.linear(x, MATRIX, silu=True),
    "attention": lambda x: ops.attention(x.permute(0, 2, 3, 1), 2),
    "layer_norm": lambda x: ops.layer_norm(x, PER_COLUMN, PER_COLUMN),
    "batch_norm": lambda x: ops.batch_norm(x, PER_CHANNEL, PER_CHANNEL, silu=True)[0],
    "trained_inverted_residual": lambda x: ops.trained_inverted_residual(x, *TRAINED, residual=True)[0],
}
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)


def maps():
    return values(2, CHANNELS, 4, 4)


def gradient(function, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x), x)[0]


def assert_near(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@every_operation
def test_gradients_are_those_of_autograd(operation):
    def loss(x):
        return operation(x).sin().sum()

    expected = gradient(loss, maps())
    assert_near(torch.func.grad(loss)(maps()), expected)
    compiled = torch.compile(torch.func.grad(loss), backend="aot_eager", fullgraph=True)
    assert_near(compiled(maps()), expected)


@every_operation
def test_forward_mode_agrees_with_reverse_mode(operation):
    direction, weights = torch.rand_like(maps()), torch.rand_like(operation(maps()))
    expected = (gradient(lambda x: (operation(x) * weights).sum(), maps()) * direction).sum()
    _, tangent = torch.func.jvp(operation, (maps(),), (direction,))
    assert_near((tangent * weights).sum(), expected)
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(operation(forward_ad.make_dual(maps(), direction)))
        assert_near((dual.tangent * weights).sum(), expected)


@every_operation
@pytest.mark.filterwarnings("error:There is a performance drop")
def test_examples_are_mapped_over(operation):
    examples = torch.stack([maps(), maps().flip(2)])
    outputs = torch.vmap(operation)(examples)
    gradients = torch.vmap(torch.func.grad(lambda x: operation(x).sin().sum()))(examples)
    for at, example in enumerate(examples):
        assert_near(outputs[at], operation(example))
        assert_near(gradients[at], gradient(lambda x: operation(x).sin().sum(), example))


@every_operation
def test_second_derivatives_by_one_mode_over_the_other(operation):
    def loss(x):
        return operation(x.reshape(2, CHANNELS, 4, 4)).sin().sum()

    some = maps().flatten()
    hessian = torch.func.hessian(loss)(some)
    assert_near(hessian, hessian.T)
    assert_near(torch.func.jacrev(torch.func.jacrev(loss))(some), hessian)


def test_statistics_carry_no_derivatives():
    def of_statistics(x):
        _, mean, variance = ops.batch_norm(x, PER_CHANNEL, PER_CHANNEL)
        return mean.sum() + variance.sum()

    assert not torch.func.grad(of_statistics)(maps()).any()
