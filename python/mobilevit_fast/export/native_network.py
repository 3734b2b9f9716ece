"""MobileViT for whoever runs this package's operations: nothing is sorted, and maps stay channels last."""

from __future__ import annotations

import torch
from torch import Tensor

from mobilevit_fast.config import ModelConfig
from mobilevit_fast.export.mapping import PatchSplit
from mobilevit_fast.export.network import ExportNetwork
from mobilevit_fast.lower import LayerSource
from mobilevit_fast.model import blocks


class StridedPatches(PatchSplit):
    """Leaves pixels where they are: our attention finds those of equal position by strides."""

    def to_patches(self, x: Tensor, rows: int, columns: int, patch: int) -> Tensor:
        return x

    def to_pixels(self, x: Tensor, batch: int, rows: int, columns: int, patch: int) -> Tensor:
        return x

    def attention_patch(self, patch: int) -> tuple[int, int]:
        return patch, patch


class NativeNetwork(ExportNetwork):
    """As `ExportNetwork`."""

    def __init__(self, config: ModelConfig, weights: LayerSource) -> None:
        super().__init__(config, weights, StridedPatches())

    def fuse(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        joined = torch.cat((blocks.to_tokens(x), blocks.to_tokens(y)), dim=-1)
        return self.conv3x3(name, blocks.to_map(joined))
