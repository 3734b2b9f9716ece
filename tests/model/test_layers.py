import pytest
import torch

from mobilevit_fast.model.layers import Attention, ConvNorm, fold, unfold


def test_unfold_gives_each_sequence_one_pixel_of_every_patch():
    rows, columns = 6, 4
    x = torch.arange(rows * columns, dtype=torch.float32).reshape(1, 1, rows, columns)
    tokens, grid = unfold(x, 2)
    assert grid == (3, 2)
    assert tokens.shape == (4, 6, 1)
    # Sequence 1 is the upper right pixel of each patch.
    assert tokens[1, :, 0].tolist() == [1, 3, 9, 11, 17, 19]


@pytest.mark.parametrize("patch_size", [1, 2, 4])
def test_fold_undoes_unfold(patch_size):
    x = torch.randn(2, 3, 8, 12)
    tokens, grid = unfold(x, patch_size)
    torch.testing.assert_close(fold(tokens, grid, patch_size, (8, 12)), x, rtol=0, atol=0)


def test_a_map_that_the_patch_does_not_divide_is_resized_and_back():
    x = torch.full((1, 2, 7, 5), 3.0)
    tokens, grid = unfold(x, 2)
    assert grid == (4, 3)
    folded = fold(tokens, grid, 2, (7, 5))
    assert folded.shape == x.shape
    torch.testing.assert_close(folded, x)


def test_attention_equals_softmax_of_scaled_products_in_float64():
    torch.manual_seed(0)
    attention = Attention(24, num_heads=4).double()
    tokens = torch.randn(3, 7, 24, dtype=torch.float64)
    query, key, value = (
        t.reshape(3, 7, 4, 6).transpose(1, 2) for t in attention.qkv(tokens).split(24, dim=-1)
    )
    weights = (query @ key.transpose(-1, -2) / 6**0.5).softmax(-1)
    expected = attention.projection((weights @ value).transpose(1, 2).reshape(3, 7, 24))
    torch.testing.assert_close(attention(tokens), expected)


@pytest.mark.parametrize(("size", "stride", "expected"), [(8, 1, 8), (8, 2, 4), (7, 2, 4), (1, 2, 1)])
def test_convolutions_pad_so_that_only_the_stride_shrinks_the_map(size, stride, expected):
    layer = ConvNorm(2, 4, 3, stride=stride).eval()
    assert layer(torch.zeros(1, 2, size, size)).shape == (1, 4, expected, expected)
