"""The classes of timm's MobileViT on the engine and on this package's operations.

timm builds `mobilevit_*` from a general network's parts; only the ones that MobileViT v1 is made of are
replaced. Each class keeps the name of the one that it extends.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from timm import layers
from timm.models import byobnet, mobilevit
from timm.models.vision_transformer import Attention, Block
from torch import Tensor, nn

from mobilevit_fast.config import ModelConfig
from mobilevit_fast.lower import has_residual
from mobilevit_fast.model import blocks
from mobilevit_fast.model.engine_module import EngineModule
from mobilevit_fast.model.structure import (
    PLAIN_TYPES,
    UnsupportedError,
    read_state,
    require_equal,
    require_geometry,
    require_silu,
    require_types,
)
from mobilevit_fast.weights.names import TIMM

_HEAD = "head"


class ConvNormAct(layers.ConvNormAct):
    def forward(self, x: Tensor) -> Tensor:
        layer = self.conv, self.bn
        if _can_fold(self):
            return blocks.folded_convolution(x, layer, silu=_has_silu(self))
        if blocks.can_train(x, layer, layers.BatchNormAct2d) and _has_plain_parts(self):
            return blocks.trained_convolution(x, layer, silu=_has_silu(self))
        return super().forward(x)


class BottleneckBlock(byobnet.BottleneckBlock):
    def forward(self, x: Tensor) -> Tensor:
        containers = (self.conv1_1x1, self.conv2_kxk, self.conv3_1x1)
        pairs = [(container.conv, container.bn) for container in containers]
        if (
            all(blocks.is_plain(container, ConvNormAct) for container in containers)
            and all(_has_plain_parts(container) for container in containers)
            and [_has_silu(container) for container in containers] == [True, True, False]
            and self._is_inverted_residual()
        ):
            residual = self.shortcut is not None
            if all(_can_fold(container) for container in containers):
                if blocks.can_fuse_inverted_residual(pairs):
                    return blocks.inverted_residual(x, pairs, residual=residual)
            elif blocks.can_train_inverted_residual(x, pairs, layers.BatchNormAct2d):
                return blocks.trained_inverted_residual(x, pairs, residual=residual)
        return super().forward(x)

    def _is_inverted_residual(self) -> bool:
        extras = (self.shortcut, self.conv2b_kxk, self.attn, self.attn_last, self.drop_path, self.act)
        return all(_is_nothing(module) for module in extras)


@mobilevit.register_notrace_module  # as timm's own
class MobileVitBlock(mobilevit.MobileVitBlock):
    def forward(self, x: Tensor) -> Tensor:
        if not (
            self.conv_fusion is not None
            and blocks.is_plain(self.transformer, nn.Sequential)
            and all(_is_plain_transformer_layer(layer) for layer in self.transformer)
        ):
            return super().forward(x)
        y = self.conv_1x1(self.conv_kxk(x))
        size = y.shape[2:]
        tokens = blocks.to_tokens(blocks.resize_to_patch(y, self.patch_size))
        for layer in self.transformer:
            tokens = _transformer_layer(layer, tokens, self.patch_size)
        y = blocks.resize(blocks.to_map(self.norm(tokens)), size)
        return self.conv_fusion(torch.cat((x, self.conv_proj(y)), dim=1))


def _has_silu(container: ConvNormAct) -> bool:
    return not isinstance(container.bn.act, nn.Identity)


def _can_fold(container: ConvNormAct) -> bool:
    return blocks.can_fold((container.conv, container.bn), layers.BatchNormAct2d) and _has_plain_parts(
        container
    )


def _has_plain_parts(container: ConvNormAct) -> bool:
    """Whether nothing but SiLU comes after the norm."""
    return (
        blocks.is_plain(container.bn.drop, nn.Identity)
        and blocks.is_plain(container.bn.act, nn.Identity, nn.SiLU)
        and _is_nothing(getattr(container, "aa", None))
    )


def _is_nothing(module: nn.Module | None) -> bool:
    return module is None or blocks.is_plain(module, nn.Identity)


def _is_plain_transformer_layer(layer: nn.Module) -> bool:
    if not (
        blocks.is_plain(layer, Block)
        and blocks.is_plain(layer.attn, Attention)
        and blocks.is_plain(layer.mlp, layers.Mlp)
        and blocks.is_plain(layer.mlp.act, nn.SiLU)
    ):
        return False
    dropouts = (layer.attn.attn_drop, layer.attn.proj_drop, layer.mlp.drop1, layer.mlp.drop2)
    return not any(map(blocks.dropout_probability, dropouts)) and all(map(_is_nothing, _extras(layer)))


def _extras(layer: Block) -> tuple[nn.Module | None, ...]:
    """What a layer of timm may have and MobileViT's have not: scales, norms, gates, dropped paths."""
    return (
        *(layer.ls1, layer.drop_path1, layer.ls2, layer.drop_path2, layer.mlp.norm),
        *(getattr(layer.attn, name, None) for name in ("q_norm", "k_norm", "norm", "gate")),
    )


def _transformer_layer(layer: nn.Module, tokens: Tensor, patch_size: tuple[int, int]) -> Tensor:
    attention = layer.attn
    tokens = blocks.attend(
        layer.norm1(tokens), tokens, (attention.qkv,), attention.proj, attention.num_heads, patch_size
    )
    return blocks.feed_forward(layer.norm2(tokens), tokens, layer.mlp.fc1, layer.mlp.fc2)


class ByobNet(EngineModule, byobnet.ByobNet):
    def forward_features(self, x: Tensor) -> Tensor:
        results = self.run_engine(("features",), x)
        return super().forward_features(x) if results is None else results[0]

    forward_features.__doc__ = byobnet.ByobNet.forward_features.__doc__

    def forward(self, x: Tensor) -> Tensor:
        results = self.run_engine(("logits",), x) if self._has_plain_head() else None
        return super().forward(x) if results is None else results[0]

    forward.__doc__ = byobnet.ByobNet.forward.__doc__

    def _has_plain_head(self) -> bool:
        head = self.head
        return (
            type(head) is layers.ClassifierHead
            and type(head.fc) is nn.Linear
            and head.fc.bias is not None
            and head.global_pool.pool_type == "avg"
        )

    def describe(self) -> tuple[ModelConfig, Mapping[str, np.ndarray]]:
        require_types(self, _TYPES, ignore=_HEAD)
        block = next((module for module in self.modules() if isinstance(module, MobileVitBlock)), None)
        if block is None:
            raise UnsupportedError("it has no MobileViT v1 block")
        if len(set(block.patch_size)) > 1:
            raise UnsupportedError(f"its patches are not square: {block.patch_size}")
        for name, module in self.named_modules():
            # Dropped paths are whole in eval mode.
            nothing = (type(None), nn.Identity, layers.DropPath)
            if isinstance(module, Block) and not {type(extra) for extra in _extras(module)} <= set(nothing):
                raise UnsupportedError(f"{name} has scales, norms or gates that MobileViT has not")
        plain = self._has_plain_head()
        state = self.state_dict()
        config, tensors = read_state(
            {name: tensor for name, tensor in state.items() if plain or not name.startswith(f"{_HEAD}.")},
            num_heads=block.transformer[0].attn.num_heads,
            patch_size=block.patch_size[0],
            layer_norm_eps=block.norm.eps,
            batch_norm_eps=self.stem.bn.eps,
        )
        require_geometry(self, TIMM, config, prefixed=False)
        for name, module in self.named_modules():
            if not f"{name}.".startswith(f"{_HEAD}."):
                _require_settings(name, module, config)
        return config, tensors


def _require_settings(name: str, module: nn.Module, config: ModelConfig) -> None:
    """Raises UnsupportedError where a module's own settings are not those of `config`."""
    if isinstance(module, layers.ConvNormAct):
        require_silu(name, module.bn.act, expected=not name.endswith(".conv3_1x1"))
    elif isinstance(module, layers.Mlp):
        require_silu(name, module.act)
    elif isinstance(module, byobnet.BottleneckBlock):
        require_silu(name, module.act, expected=False)
        ends = (module.conv1_1x1.conv.in_channels, module.conv3_1x1.conv.out_channels)
        expected = has_residual(*ends, module.conv2_kxk.conv.stride[0])
        require_equal(name, "a shortcut", module.shortcut is not None, expected)
    elif isinstance(module, mobilevit.MobileVitBlock):
        require_equal(name, "patches of", tuple(module.patch_size), (config.patch_size, config.patch_size))
    elif isinstance(module, Attention):
        require_equal(name, "heads", module.num_heads, config.num_heads)


REPLACEMENTS: Mapping[type[nn.Module], type[nn.Module]] = {
    layers.ConvNormAct: ConvNormAct,
    byobnet.BottleneckBlock: BottleneckBlock,
    mobilevit.MobileVitBlock: MobileVitBlock,
    byobnet.ByobNet: ByobNet,
}
"""Class of timm -> the class that takes its place."""

_TYPES = {
    *(*PLAIN_TYPES, *REPLACEMENTS, *REPLACEMENTS.values()),
    *(layers.BatchNormAct2d, layers.DropPath, layers.Mlp, Attention, Block),
}
