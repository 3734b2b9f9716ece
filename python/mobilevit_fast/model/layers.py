"""The pieces that MobileViT is made of."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class ConvNorm(nn.Module):
    """Convolution without bias ("same" padding for odd kernels), BatchNorm and, unless turned off, SiLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: bool = True,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(out_channels, eps=eps)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        return functional.silu(y) if self.activation else y


class Attention(nn.Module):
    """Multi-head self-attention over [batch, tokens, dim]."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.projection = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length, dim = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, length, 3, self.num_heads, dim // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.projection(mixed.transpose(1, 2).reshape(batch, length, dim))


class FeedForward(nn.Module):
    """Linear, SiLU, linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(dim, hidden)
        self.down = nn.Linear(hidden, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.down(functional.silu(self.up(tokens)))


def unfold(x: Tensor, patch_size: int) -> tuple[Tensor, tuple[int, int]]:
    """Map [N, d, H, W] to tokens [N * patch_size**2, patches, d] and the grid (rows, columns) of patches.

    Token p of sequence k holds the k-th pixel of the p-th patch. A map that the patch does not divide is
    first enlarged bilinearly to the next multiple.
    """
    batch, dim, height, width = x.shape
    rows, columns = -(-height // patch_size), -(-width // patch_size)
    full_size = (rows * patch_size, columns * patch_size)
    if full_size != (height, width):
        x = functional.interpolate(x, size=full_size, mode="bilinear", align_corners=False)
    x = x.reshape(batch, dim, rows, patch_size, columns, patch_size).permute(0, 3, 5, 2, 4, 1)
    return x.reshape(batch * patch_size**2, rows * columns, dim), (rows, columns)


def fold(tokens: Tensor, grid: tuple[int, int], patch_size: int, size: tuple[int, int]) -> Tensor:
    """Inverse of `unfold`: tokens back to a map [N, d, *size], reduced bilinearly if it was enlarged."""
    rows, columns = grid
    dim = tokens.shape[-1]
    x = tokens.reshape(-1, patch_size, patch_size, rows, columns, dim).permute(0, 5, 3, 1, 4, 2)
    x = x.reshape(-1, dim, rows * patch_size, columns * patch_size)
    if x.shape[-2:] != size:
        x = functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
    return x
