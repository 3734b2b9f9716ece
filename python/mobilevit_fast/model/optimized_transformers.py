"""The classes of transformers' MobileViT on the engine and on this package's operations.

Each keeps the name of the class that it extends: `save_pretrained` writes that name down for transformers to
load.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.modeling_outputs import (
    BaseModelOutputWithPoolingAndNoAttention,
    ImageClassifierOutputWithNoAttention,
    ModelOutput,
)
from transformers.models.mobilevit import modeling_mobilevit as base

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
from mobilevit_fast.weights.names import TRANSFORMERS

Output = TypeVar("Output", bound=ModelOutput)

_SILU = type(ACT2FN["silu"])


class MobileViTConvLayer(base.MobileViTConvLayer):
    def forward(self, features: Tensor) -> Tensor:
        if not _has_plain_activation(self):
            return super().forward(features)
        return blocks.conv_norm(features, _layer(self), silu=self.activation is not None)


class MobileViTInvertedResidual(base.MobileViTInvertedResidual):
    def forward(self, features: Tensor) -> Tensor:
        containers = (self.expand_1x1, self.conv_3x3, self.reduce_1x1)
        layers = [_layer(container) for container in containers]
        if (
            all(blocks.is_plain(container, MobileViTConvLayer) for container in containers)
            and all(_has_plain_activation(container) for container in containers)
            and [container.activation is not None for container in containers] == [True, True, False]
        ):
            if all(_can_fold(container) for container in containers):
                if blocks.can_fuse_inverted_residual(layers):
                    return blocks.inverted_residual(features, layers, residual=self.use_residual)
            elif blocks.can_train_inverted_residual(features, layers):
                return blocks.trained_inverted_residual(features, layers, residual=self.use_residual)
        return super().forward(features)


class MobileViTLayer(base.MobileViTLayer):
    def forward(self, features: Tensor) -> Tensor:
        if not (blocks.is_plain(self.transformer, base.MobileViTTransformer) and self._has_plain_layers()):
            return super().forward(features)
        if self.downsampling_layer:
            features = self.downsampling_layer(features)
        patch_size = (self.patch_height, self.patch_width)
        y = self.conv_1x1(self.conv_kxk(features))
        size = y.shape[2:]
        tokens = blocks.to_tokens(blocks.resize_to_patch(y, patch_size))
        for layer in self.transformer.layer:
            tokens = _transformer_layer(layer, tokens, patch_size)
        y = blocks.resize(blocks.to_map(self.layernorm(tokens)), size)
        return self.fusion(torch.cat((features, self.conv_projection(y)), dim=1))

    def _has_plain_layers(self) -> bool:
        return all(_is_plain_transformer_layer(layer) for layer in self.transformer.layer)


def _layer(container: base.MobileViTConvLayer) -> blocks.ConvNorm:
    return container.convolution, container.normalization


def _can_fold(container: base.MobileViTConvLayer) -> bool:
    return blocks.can_fold(_layer(container)) and _has_plain_activation(container)


def _has_plain_activation(container: base.MobileViTConvLayer) -> bool:
    return container.activation is None or blocks.is_plain(container.activation, _SILU)


def _is_plain_transformer_layer(layer: nn.Module) -> bool:
    return (
        blocks.is_plain(layer, base.MobileViTTransformerLayer)
        and blocks.is_plain(layer.attention, base.MobileViTAttention)
        and blocks.is_plain(layer.attention.attention, base.MobileViTSelfAttention)
        and blocks.is_plain(layer.attention.output, base.MobileViTSelfOutput)
        and blocks.is_plain(layer.intermediate, base.MobileViTIntermediate)
        and blocks.is_plain(layer.intermediate.intermediate_act_fn, _SILU)
        and blocks.is_plain(layer.output, base.MobileViTOutput)
        and not blocks.dropout_probability(layer.attention.attention.dropout)
    )


def _transformer_layer(layer: nn.Module, tokens: Tensor, patch_size: tuple[int, int]) -> Tensor:
    attention = layer.attention.attention
    tokens = blocks.attend(
        layer.layernorm_before(tokens),
        tokens,
        (attention.query, attention.key, attention.value),
        layer.attention.output.dense,
        attention.num_attention_heads,
        patch_size,
        blocks.dropout_probability(layer.attention.output.dropout),
    )
    return blocks.feed_forward(
        layer.layernorm_after(tokens),
        tokens,
        layer.intermediate.dense,
        layer.output.dense,
        blocks.dropout_probability(layer.output.dropout),
    )


class MobileViTModel(EngineModule, base.MobileViTModel):
    def forward(
        self,
        pixel_values: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> tuple | BaseModelOutputWithPoolingAndNoAttention:
        results = None
        if self.expand_output and not kwargs and not _wants_hidden_states(self, output_hidden_states):
            results = self.run_engine(("features", "pooled"), pixel_values)
        if results is None:
            return super().forward(pixel_values, output_hidden_states, return_dict, **kwargs)
        if not (self.config.return_dict if return_dict is None else return_dict):
            return tuple(results)
        features, pooled = results
        return _output(
            BaseModelOutputWithPoolingAndNoAttention, last_hidden_state=features, pooler_output=pooled
        )

    forward.__doc__ = base.MobileViTModel.forward.__doc__

    def describe(self) -> tuple[ModelConfig, Mapping[str, np.ndarray]]:
        if not self.expand_output:
            raise UnsupportedError("it was made with expand_output=False")
        return _describe(self, self, prefixed=False)


class MobileViTForImageClassification(EngineModule, base.MobileViTForImageClassification):
    def forward(
        self,
        pixel_values: Tensor | None = None,
        output_hidden_states: bool | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> tuple | ImageClassifierOutputWithNoAttention:
        logits = None
        # With labels the backbone runs on its engine and transformers computes the loss.
        if labels is None and not kwargs and not _wants_hidden_states(self, output_hidden_states):
            logits = self._engine_logits(pixel_values)
        if logits is None:
            return super().forward(pixel_values, output_hidden_states, labels, return_dict, **kwargs)
        if not (self.config.return_dict if return_dict is None else return_dict):
            return (logits,)
        return _output(ImageClassifierOutputWithNoAttention, logits=logits)

    forward.__doc__ = base.MobileViTForImageClassification.forward.__doc__

    def _engine_logits(self, pixel_values: Tensor | None) -> Tensor | None:
        classifier = self.classifier
        if type(classifier) is not nn.Linear or classifier.bias is None:
            return None
        results = self.run_engine(("logits",), pixel_values)
        return None if results is None else results[0]

    def describe(self) -> tuple[ModelConfig, Mapping[str, np.ndarray]]:
        return _describe(self, self.mobilevit, prefixed=True)


def _output(kind: type[Output], **tensors: Tensor) -> Output:
    """What `kind(**tensors)` makes. The constructor first finds out whether it was given a tensor or a dict
    of all fields: 80 us, with code that an engine has pushed out of the caches.
    """
    output = kind.__new__(kind)
    for name, tensor in tensors.items():
        output[name] = tensor
    return output


def _wants_hidden_states(model: nn.Module, asked: bool | None) -> bool:
    return bool(model.config.output_hidden_states if asked is None else asked)


REPLACEMENTS: Mapping[type[nn.Module], type[nn.Module]] = {
    base.MobileViTConvLayer: MobileViTConvLayer,
    base.MobileViTInvertedResidual: MobileViTInvertedResidual,
    base.MobileViTLayer: MobileViTLayer,
    base.MobileViTModel: MobileViTModel,
    base.MobileViTForImageClassification: MobileViTForImageClassification,
}
"""Class of transformers -> the class that takes its place."""

_TYPES = {
    *(*PLAIN_TYPES, _SILU, *REPLACEMENTS, *REPLACEMENTS.values()),
    *(base.MobileViTEncoder, base.MobileViTMobileNetLayer, base.MobileViTTransformer),
    *(base.MobileViTTransformerLayer, base.MobileViTAttention, base.MobileViTSelfAttention),
    *(base.MobileViTSelfOutput, base.MobileViTIntermediate, base.MobileViTOutput),
}


def _describe(
    root: nn.Module, backbone: base.MobileViTModel, *, prefixed: bool
) -> tuple[ModelConfig, Mapping[str, np.ndarray]]:
    require_types(root, _TYPES)
    block = next(module for module in backbone.modules() if isinstance(module, base.MobileViTLayer))
    config, tensors = read_state(
        root.state_dict(),
        num_heads=block.transformer.layer[0].attention.attention.num_attention_heads,
        patch_size=block.patch_height,
        layer_norm_eps=block.layernorm.eps,
        batch_norm_eps=backbone.conv_stem.normalization.eps,
    )
    require_geometry(root, TRANSFORMERS, config, prefixed=prefixed)
    for name, module in root.named_modules():
        _require_settings(name, module, config)
    return config, tensors


def _require_settings(name: str, module: nn.Module, config: ModelConfig) -> None:
    """Raises UnsupportedError where a module's own settings are not those of `config`."""
    if isinstance(module, base.MobileViTConvLayer):
        is_plain = name.endswith((".reduce_1x1", ".conv_1x1"))
        require_silu(name, module.activation, expected=not is_plain, types=(nn.SiLU, _SILU))
    elif isinstance(module, base.MobileViTIntermediate):
        require_silu(name, module.intermediate_act_fn, types=(nn.SiLU, _SILU))
    elif isinstance(module, base.MobileViTInvertedResidual):
        ends = (module.expand_1x1.convolution.in_channels, module.reduce_1x1.convolution.out_channels)
        expected = has_residual(*ends, module.conv_3x3.convolution.stride[0])
        require_equal(name, "use_residual", module.use_residual, expected)
    elif isinstance(module, base.MobileViTLayer):
        patch = (module.patch_height, module.patch_width)
        require_equal(name, "patches of", patch, (config.patch_size, config.patch_size))
    elif isinstance(module, base.MobileViTSelfAttention):
        require_equal(name, "heads", module.num_attention_heads, config.num_heads)
