import pytest
import torch
from torch.nn import functional

from mobilevit_fast.model import blocks
from mobilevit_fast.model.layers import Attention, ConvNorm, FeedForward


def test_attention_mixes_pixels_of_equal_position_in_their_patch():
    torch.manual_seed(0)
    attention = Attention(12, num_heads=2, patch_size=2).double()
    tokens, residual = torch.randn(2, 1, 4, 6, 12, dtype=torch.float64)
    expected = torch.empty_like(tokens)
    for i in range(2):
        for j in range(2):
            sequence = attention.qkv(tokens[:, i::2, j::2]).reshape(1, 6, 3, 2, 6)
            query, key, value = sequence.permute(2, 0, 3, 1, 4)
            weights = (query @ key.transpose(-1, -2) / 6**0.5).softmax(-1)
            mixed = (weights @ value).transpose(1, 2).reshape(1, 2, 3, 12)
            expected[:, i::2, j::2] = residual[:, i::2, j::2] + attention.projection(mixed)
    torch.testing.assert_close(attention(tokens, residual), expected)


def test_feed_forward_adds_to_its_residual():
    torch.manual_seed(0)
    layer = FeedForward(6, 12)
    tokens, residual = torch.randn(2, 1, 4, 4, 6)
    expected = residual + layer.down(functional.silu(layer.up(tokens)))
    torch.testing.assert_close(layer(tokens, residual), expected)


@pytest.mark.parametrize(("size", "expected"), [((7, 5), (8, 6)), ((1, 1), (2, 2)), ((4, 6), (4, 6))])
def test_a_map_that_the_patch_does_not_divide_is_resized_and_back(size, expected):
    x = torch.full((1, 2, *size), 3.0)
    resized = blocks.resize_to_patch(x, (2, 2))
    assert resized.shape == (1, 2, *expected)
    assert (resized is x) == (size == expected)
    torch.testing.assert_close(blocks.resize(resized, size), x)


@pytest.mark.parametrize(("size", "stride", "expected"), [(8, 1, 8), (8, 2, 4), (7, 2, 4), (1, 2, 1)])
@pytest.mark.parametrize("groups", [1, 4])
def test_convolutions_pad_so_that_only_the_stride_shrinks_the_map(size, stride, expected, groups):
    layer = ConvNorm(4, 4, 3, stride=stride, groups=groups)
    x = torch.zeros(2, 4, size, size)
    assert layer.eval()(x).shape == (2, 4, expected, expected)
    assert layer.train()(x).shape == (2, 4, expected, expected)


@pytest.mark.parametrize(
    ("kernel", "stride", "groups"), [(1, 1, 1), (3, 1, 1), (3, 2, 8), (5, 1, 1), (3, 1, 2)]
)
def test_folding_changes_no_number(kernel, stride, groups):
    torch.manual_seed(0)
    layer = ConvNorm(8, 8, kernel, stride=stride, groups=groups)
    x = torch.randn(2, 8, 6, 5)
    for _ in range(3):
        layer.train()(x)
    with torch.no_grad():
        layer.norm.weight.uniform_(0.5, 2)
        layer.norm.bias.normal_()
    layer.eval()
    expected = functional.silu(layer.norm(layer.conv(x)))
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)
