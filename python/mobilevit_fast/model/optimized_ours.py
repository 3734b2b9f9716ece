"""This project's MobileViT with the engine behind its eval forward pass."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor, nn

from mobilevit_fast.config import ModelConfig
from mobilevit_fast.lower import has_residual
from mobilevit_fast.model import layers, mobilevit
from mobilevit_fast.model.engine_module import EngineModule
from mobilevit_fast.model.structure import (
    PLAIN_TYPES,
    read_state,
    require_equal,
    require_geometry,
    require_types,
)
from mobilevit_fast.weights.names import OURS

_HEAD = "classifier"


class MobileViT(EngineModule, mobilevit.MobileViT):
    def forward_features(self, pixel_values: Tensor) -> Tensor:
        results = self.run_engine(("features",), pixel_values)
        return super().forward_features(pixel_values) if results is None else results[0]

    forward_features.__doc__ = mobilevit.MobileViT.forward_features.__doc__

    def forward_logits(self, pixel_values: Tensor) -> Tensor:
        results = self.run_engine(("logits",), pixel_values) if self._has_plain_head() else None
        return super().forward_logits(pixel_values) if results is None else results[0]

    def _has_plain_head(self) -> bool:
        return type(self.classifier) is nn.Linear and self.classifier.bias is not None

    def describe(self) -> tuple[ModelConfig, Mapping[str, np.ndarray]]:
        require_types(self, _TYPES, ignore=_HEAD)
        plain = self._has_plain_head()
        state = self.state_dict()
        config, tensors = read_state(
            {name: tensor for name, tensor in state.items() if plain or not name.startswith(f"{_HEAD}.")},
            num_heads=self.config.num_heads,
            patch_size=self.config.patch_size,
            layer_norm_eps=self.config.layer_norm_eps,
            batch_norm_eps=self.config.batch_norm_eps,
        )
        require_geometry(self, OURS, config, prefixed=False)
        for name, module in self.named_modules():
            if not f"{name}.".startswith(f"{_HEAD}."):
                _require_settings(name, module, config)
        return config, tensors


def _require_settings(name: str, module: nn.Module, config: ModelConfig) -> None:
    """Raises UnsupportedError where a module's own settings are not those of `config`."""
    if isinstance(module, layers.ConvNorm) and not name.endswith(".project"):
        require_equal(name, "activation", module.activation, True)
    elif isinstance(module, mobilevit.MobileViTBlock):
        require_equal(name, "a projection with activation", module.project.activation, True)
    elif isinstance(module, mobilevit.InvertedResidual):
        require_equal(name, "a projection with activation", module.project.activation, False)
        ends = (module.expand.conv.in_channels, module.project.conv.out_channels)
        expected = has_residual(*ends, module.depthwise.conv.stride[0])
        require_equal(name, "has_shortcut", module.has_shortcut, expected)
    elif isinstance(module, layers.Attention):
        require_equal(name, "patches of", module.patch_size, config.patch_size)
        require_equal(name, "heads", module.num_heads, config.num_heads)


REPLACEMENTS: Mapping[type[nn.Module], type[nn.Module]] = {mobilevit.MobileViT: MobileViT}
"""Class of this project -> the class that takes its place."""

_TYPES = {
    *(*PLAIN_TYPES, *REPLACEMENTS.values()),
    *(layers.ConvNorm, layers.Attention, layers.FeedForward),
    *(mobilevit.InvertedResidual, mobilevit.TransformerLayer, mobilevit.MobileViTBlock),
}
