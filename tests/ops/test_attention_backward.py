"""The backward pass of attention: on every table against autograd in float64, and as a torch operation."""

import numpy as np
import pytest
import torch

from mobilevit_fast import _C
from mobilevit_fast.ops import reference

SHAPES = [
    ((2, 16, 16, 3 * 4 * 36), 4, (2, 2)),
    ((1, 6, 34, 3 * 2 * 17), 2, (3, 2)),
    ((1, 2, 66, 3 * 16), 1, (2, 2)),
    ((3, 2, 2, 9), 3, (2, 2)),
    ((1, 5, 7, 3 * 8), 2, (1, 1)),
]


def draw(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    qkv = 2 * torch.randn(shape, generator=generator)
    return qkv, torch.randn((*shape[:3], shape[3] // 3), generator=generator)


def exact(qkv, upstream, heads, patch):
    leaf = qkv.double().requires_grad_()
    torch.autograd.backward(reference.attention(leaf, heads, *patch), upstream.double())
    return leaf.grad.numpy()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("shape", "heads", "patch"), SHAPES)
def test_tables_equal_autograd_in_float64(shape, heads, patch, threads, isa):
    qkv, upstream = draw(shape)
    actual = _C.ops.attention_backward(qkv.numpy(), upstream.numpy(), heads, patch, isa=isa, threads=threads)
    expected = exact(qkv, upstream, heads, patch)
    assert np.abs(actual - expected).max() <= 1e-5 * np.abs(expected).max()


def test_strides_do_not_matter(isa):
    qkv, upstream = (tensor.numpy() for tensor in draw((2, 4, 6, 3 * 16)))
    wide = np.full((2, 8, 12, 2 * 3 * 16), np.nan, np.float32)
    view = wide[:, ::2, ::2, : 3 * 16]
    view[...] = qkv
    expected = _C.ops.attention_backward(qkv, upstream, 2, isa=isa)
    np.testing.assert_array_equal(_C.ops.attention_backward(view, upstream, 2, isa=isa), expected)


def test_torch_accepts_the_operation():
    qkv, upstream = draw((1, 4, 6, 3 * 16))
    torch.library.opcheck(torch.ops.mobilevit_fast.attention_backward.default, (qkv, upstream, 2))


def test_second_derivatives():
    qkv = torch.randn(1, 2, 4, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: torch.ops.mobilevit_fast.attention(x, 2), qkv)
    single = qkv.detach().float().requires_grad_()
    (first,) = torch.autograd.grad(
        torch.ops.mobilevit_fast.attention(single, 2).square().sum(), single, create_graph=True
    )
    (second,) = torch.autograd.grad(first.square().sum(), single)
    assert second.abs().max() > 0


def test_compiled_backward_passes_are_whole():
    qkv, upstream = draw((1, 4, 6, 3 * 16))
    plain, compiled = (qkv.clone().requires_grad_() for _ in range(2))
    torch.ops.mobilevit_fast.attention(plain, 2).backward(upstream)
    call = torch.compile(
        lambda x: torch.ops.mobilevit_fast.attention(x, 2), fullgraph=True, backend="aot_eager"
    )
    call(compiled).backward(upstream)
    torch.testing.assert_close(compiled.grad, plain.grad)


@pytest.mark.parametrize(
    ("qkv", "upstream", "heads", "message"),
    [
        ((1, 4, 4, 24), (1, 4, 4, 7), 2, "upstream"),
        ((1, 4, 4, 24), (1, 4, 4, 8), 5, "heads"),
        ((1, 4, 5, 24), (1, 4, 5, 8), 2, "patch"),
    ],
)
def test_what_does_not_fit_is_refused(qkv, upstream, heads, message):
    given = torch.zeros(qkv), torch.zeros(upstream), heads
    with pytest.raises(ValueError, match=message):
        torch.ops.mobilevit_fast.attention_backward(*given)
    with pytest.raises(ValueError, match=message):
        _C.ops.attention_backward(given[0].numpy(), given[1].numpy(), heads)


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="float32"):
        _C.ops.attention_backward(np.zeros((1, 2, 2, 12)), np.zeros((1, 2, 2, 4), np.float32), 2)
