"""The pieces that MobileViT is made of."""

from __future__ import annotations

from torch import Tensor, nn

from mobilevit_fast.model import blocks


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
        return blocks.conv_norm(x, (self.conv, self.norm), silu=self.activation)


class Attention(nn.Module):
    """Multi-head self-attention over a map's pixels of equal position in their patch."""

    def __init__(self, dim: int, num_heads: int, patch_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.patch_size = patch_size
        self.qkv = nn.Linear(dim, 3 * dim)
        self.projection = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, residual: Tensor) -> Tensor:
        """residual + attention(tokens), both [N, H, W, dim]; the patch divides H and W."""
        patch_size = (self.patch_size, self.patch_size)
        return blocks.attend(tokens, residual, (self.qkv,), self.projection, self.num_heads, patch_size)


class FeedForward(nn.Module):
    """Linear, SiLU, linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(dim, hidden)
        self.down = nn.Linear(hidden, dim)

    def forward(self, tokens: Tensor, residual: Tensor) -> Tensor:
        """residual + down(silu(up(tokens))), both [..., dim]."""
        return blocks.feed_forward(tokens, residual, self.up, self.down)
