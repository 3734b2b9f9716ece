"""MobileViT as it is exported: norms folded in, one call of `torch.ops.mobilevit_fast` for each layer.

The transformer works on sorted pixels, so that a map is sorted once on the way in and once on the way out:
by their position in the patch, [N * patch * patch, rows, columns, dim], where attention takes a patch of
1 x 1, or patch by patch, [N, rows * columns, patch * patch, dim], where a patch is a row.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilevit_fast import ops
from mobilevit_fast.config import STAGE_RESIDUALS, STAGE_STRIDES, TRANSFORMER_STAGES, ModelConfig
from mobilevit_fast.export.mapping import PatchSplit
from mobilevit_fast.lower import LayerSource, has_residual
from mobilevit_fast.model import blocks
from mobilevit_fast.weights import layer_shapes

POINTWISE = {
    "head",
    *(f"stages.{stage}.1.{part}" for stage in TRANSFORMER_STAGES for part in ("embed", "project")),
}
"""1x1 convolutions beside a transformer or the pool, where they are linears over pixels."""


class ExportNetwork(nn.Module):
    """Images [N, 3, H, W] as `Preprocessing` makes them to logits [N, num_classes].

    Args:
        config: the variant.
        weights: where layers come from.
        split: how maps are sorted into patches.
    """

    def __init__(self, config: ModelConfig, weights: LayerSource, split: PatchSplit) -> None:
        super().__init__()
        self.config, self.weights, self.split = config, weights, split
        for name in layer_shapes(config):
            self.add_layer(name, *weights.layer(name))
        for stage, dim in zip(TRANSFORMER_STAGES, config.transformer_dims, strict=True):
            norm = f"stages.{stage}.1.norm"
            for part, values in zip(("weight", "bias"), weights.scale_and_shift(norm, dim), strict=True):
                self.add(f"{norm}.{part}", values)

    # ---- parameters

    def add(self, name: str, values: np.ndarray, dtype: np.dtype | type = np.float32) -> None:
        self.register_buffer(_attribute(name), torch.from_numpy(np.array(values, dtype, order="C")))

    def add_layer(self, name: str, weight: np.ndarray, bias: np.ndarray | None) -> None:
        self.add(f"{name}.weight", weight.reshape(weight.shape[:2]) if name in POINTWISE else weight)
        self.add(f"{name}.bias", np.zeros(len(weight)) if bias is None else bias)

    def buffer(self, name: str) -> Tensor:
        return getattr(self, _attribute(name))

    def has(self, name: str) -> bool:
        return hasattr(self, _attribute(name))

    def layer(self, name: str) -> tuple[Tensor, Tensor]:
        """Weight and bias."""
        return self.buffer(f"{name}.weight"), self.buffer(f"{name}.bias")

    # ---- the network, top to bottom

    def forward(self, pixel_values: Tensor) -> Tensor:
        x = self.stem(pixel_values)
        channels = self.config.stem_channels
        for stage, out_channels in enumerate(self.config.stage_channels):
            for block in range(STAGE_RESIDUALS[stage]):
                stride = STAGE_STRIDES[stage] if block == 0 else 1
                adds = has_residual(channels, out_channels, stride)
                x = self.inverted_residual(f"stages.{stage}.{block}", x, stride, adds)
                channels = out_channels
            if stage in TRANSFORMER_STAGES:
                x = self.mobilevit_block(f"stages.{stage}.1", x, TRANSFORMER_STAGES.index(stage))
        return self.classify(x)

    def stem(self, x: Tensor) -> Tensor:
        return ops.conv3x3(x, *self.layer("stem"), stride=2, silu=True)

    def inverted_residual(self, name: str, x: Tensor, stride: int, residual: bool) -> Tensor:
        layers = (self.layer(f"{name}.{part}") for part in ("expand", "depthwise", "project"))
        return ops.inverted_residual(x, *layers, stride=stride, residual=residual)

    def mobilevit_block(self, name: str, x: Tensor, row: int) -> Tensor:
        patch = self.config.patch_size
        stream = self.linear(f"{name}.embed", blocks.to_tokens(self.conv3x3(f"{name}.local", x)))
        height, width = stream.shape[1:3]
        rows, columns = (height + patch - 1) // patch, (width + patch - 1) // patch
        stream = self.resize(stream, rows * patch, columns * patch)
        tokens = self.split.to_patches(stream, rows, columns, patch)
        for layer in range(self.config.transformer_layers[row]):
            tokens = self.transformer_layer(f"{name}.layers.{layer}", tokens)
        y = self.split.to_pixels(self.norm(f"{name}.norm", tokens), x.shape[0], rows, columns, patch)
        y = self.linear(f"{name}.project", self.resize_norm(f"{name}.norm", y, height, width), silu=True)
        return self.fuse(f"{name}.fuse", x, blocks.to_map(y))

    def transformer_layer(self, name: str, x: Tensor) -> Tensor:
        mixed = self.attend(f"{name}.attention", self.standardise(f"{name}.norm1", x))
        x = self.linear(f"{name}.attention.projection", mixed, residual=x)
        hidden = self.linear(f"{name}.ffn.up", self.standardise(f"{name}.norm2", x), silu=True)
        return self.linear(f"{name}.ffn.down", hidden, residual=x)

    def classify(self, x: Tensor) -> Tensor:
        pooled = self.linear("head", blocks.to_tokens(x), silu=True).mean(dim=(1, 2))
        return self.linear("classifier", pooled)

    # ---- single steps

    def conv3x3(self, name: str, x: Tensor) -> Tensor:
        return ops.conv3x3(x, *self.layer(name), silu=True)

    def fuse(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        return self.conv3x3(name, torch.cat((x, y), dim=1))

    def linear(self, name: str, x: Tensor, *, silu: bool = False, residual: Tensor | None = None) -> Tensor:
        return ops.linear(x, *self.layer(name), residual=residual, silu=silu)

    def attend(self, name: str, x: Tensor) -> Tensor:
        return self.attention(name, self.linear(f"{name}.qkv", x))

    def attention(self, name: str, qkv: Tensor) -> Tensor:
        patch = self.split.attention_patch(self.config.patch_size)
        return ops.attention(qkv, self.config.num_heads, patch_size=patch)

    def standardise(self, name: str, x: Tensor) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], eps=self.config.layer_norm_eps)

    def norm(self, name: str, x: Tensor) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], *self.layer(name), self.config.layer_norm_eps)

    def resize_norm(self, name: str, x: Tensor, height: int, width: int) -> Tensor:
        return self.resize(x, height, width)

    def resize(self, x: Tensor, height: int, width: int) -> Tensor:
        """[N, H, W, C] bilinearly to that size; itself where it surely has that size."""
        given = blocks.to_map(x)
        resized = blocks.resize(given, (height, width))
        return x if resized is given else blocks.to_tokens(resized)


def _attribute(name: str) -> str:
    return name.replace(".", "_")
