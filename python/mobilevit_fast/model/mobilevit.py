"""MobileViT as a torch module: computes what the transformers and timm models compute."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilevit_fast.config import STAGE_RESIDUALS, STAGE_STRIDES, TRANSFORMER_STAGES, ModelConfig
from mobilevit_fast.image import Preprocessing
from mobilevit_fast.model import blocks
from mobilevit_fast.model.layers import Attention, ConvNorm, FeedForward
from mobilevit_fast.model.trainable import CheckpointedBlocks, ModuleConfig, NamedAnswer, RecomputedBlock
from mobilevit_fast.weights import Checkpoint, save_pretrained
from mobilevit_fast.weights.labels import numbered_labels


class InvertedResidual(RecomputedBlock):
    """Expansion (1x1), depthwise 3x3, projection (1x1); with a shortcut where the shape allows one."""

    def __init__(self, config: ModelConfig, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        hidden, eps = config.expanded_channels(in_channels), config.batch_norm_eps
        self.expand = ConvNorm(in_channels, hidden, 1, eps=eps)
        self.depthwise = ConvNorm(hidden, hidden, 3, stride=stride, groups=hidden, eps=eps)
        self.project = ConvNorm(hidden, out_channels, 1, activation=False, eps=eps)
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.is_larger_than_the_next = stride > 1

    def forward(self, x: Tensor) -> Tensor:
        return self.run_part(self._compute, x)

    def _compute(self, x: Tensor) -> Tensor:
        parts = (self.expand, self.depthwise, self.project)
        layers = [(part.conv, part.norm) for part in parts]
        if all(blocks.is_plain(part, ConvNorm) for part in parts):
            if all(map(blocks.can_fold, layers)):
                return blocks.inverted_residual(x, layers, residual=self.has_shortcut)
            if blocks.can_train_inverted_residual(x, layers):
                return blocks.trained_inverted_residual(x, layers, residual=self.has_shortcut)
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.has_shortcut else y


class TransformerLayer(nn.Module):
    """Pre-norm attention and feed-forward network over [N, H, W, dim]; the patch divides H and W."""

    def __init__(self, config: ModelConfig, dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.attention = Attention(dim, config.num_heads, config.patch_size)
        self.norm2 = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.ffn = FeedForward(dim, config.ffn_dim(dim))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.attention(blocks.layer_norm(tokens, self.norm1), tokens)
        return self.ffn(blocks.layer_norm(tokens, self.norm2), tokens)


class MobileViTBlock(RecomputedBlock):
    """Local 3x3 convolution, attention across patches, and their fusion with the input."""

    def __init__(self, config: ModelConfig, channels: int, dim: int, num_layers: int) -> None:
        super().__init__()
        eps = config.batch_norm_eps
        self.patch_size = config.patch_size
        self.local = ConvNorm(channels, channels, 3, eps=eps)
        self.embed = nn.Conv2d(channels, dim, 1, bias=False)
        self.layers = nn.ModuleList(TransformerLayer(config, dim) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.project = ConvNorm(dim, channels, 1, eps=eps)
        self.fuse = ConvNorm(2 * channels, channels, 3, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.run_part(self._to_tokens, x)
        for layer in self.layers:
            tokens = self.run_part(layer, tokens)
        return self.run_part(self._merge, x, tokens)

    def _to_tokens(self, x: Tensor) -> Tensor:
        y = blocks.conv_norm(self.local(x), (self.embed, None), silu=False)
        return blocks.to_tokens(blocks.resize_to_patch(y, (self.patch_size, self.patch_size)))

    def _merge(self, x: Tensor, tokens: Tensor) -> Tensor:
        y = blocks.resize(blocks.to_map(blocks.layer_norm(tokens, self.norm)), x.shape[2:])
        return self.fuse(torch.cat((x, self.project(y)), dim=1))


class MobileViT(NamedAnswer, CheckpointedBlocks):
    """MobileViT classifier: float images [N, 3, H, W], already preprocessed, to logits [N, num_classes].

    H and W are free (at least 1 pixel); NCHW or channels_last memory format. Raises ValueError for any
    other rank or number of channels. With `labels`, int64 [N] or the classes' shares float [N, num_classes],
    the answer is `{"loss": cross entropy, "logits": logits}`, as transformers' Trainer wants it; images given
    by name, `model(pixel_values=images)`, give `{"logits": logits}`.

    Args:
        config: the variant.
        labels: names of the classes, in order; None numbers them.
        preprocessing: how images are prepared; None for RGB at the config's image size, cut from an image
            resized to nine eighths of it.

    Raises:
        ValueError: not one label for each class.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        labels: Sequence[str] | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__()
        labels = numbered_labels(config.num_classes) if labels is None else tuple(labels)
        if len(labels) != config.num_classes:
            raise ValueError(f"{config.num_classes} classes need as many labels, got {len(labels)}")
        self.config = ModuleConfig.of(config, labels)
        self.labels = labels
        self.preprocessing = preprocessing or default_preprocessing(config.image_size)
        eps = config.batch_norm_eps
        self.stem = ConvNorm(3, config.stem_channels, 3, stride=2, eps=eps)
        channels = config.stem_channels
        stages = []
        for index, out_channels in enumerate(config.stage_channels):
            stages.append(self._stage(index, channels, out_channels))
            channels = out_channels
        self.stages = nn.ModuleList(stages)
        self.head = ConvNorm(channels, config.head_channels, 1, eps=eps)
        self.classifier = nn.Linear(config.head_channels, config.num_classes)
        self.apply(initialise)

    def _stage(self, index: int, in_channels: int, out_channels: int) -> nn.Sequential:
        blocks: list[nn.Module] = []
        for position in range(STAGE_RESIDUALS[index]):
            stride = STAGE_STRIDES[index] if position == 0 else 1
            blocks.append(InvertedResidual(self.config, in_channels, out_channels, stride))
            in_channels = out_channels
        if index in TRANSFORMER_STAGES:
            row = TRANSFORMER_STAGES.index(index)
            dim, num_layers = self.config.transformer_dims[row], self.config.transformer_layers[row]
            blocks.append(MobileViTBlock(self.config, out_channels, dim, num_layers))
        return nn.Sequential(*blocks)

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """Images [N, 3, H, W] to the last map [N, head_channels, ceil(H / 32), ceil(W / 32)]."""
        if not (isinstance(pixel_values, Tensor) and pixel_values.is_floating_point()):
            found = getattr(pixel_values, "dtype", type(pixel_values).__name__)
            raise TypeError(f"pixel_values must be a tensor of floating point numbers, got {found}")
        if pixel_values.ndim != 4 or pixel_values.shape[1] != 3:
            raise ValueError(f"pixel_values must be [N, 3, H, W], got {list(pixel_values.shape)}")
        x = self.stem(pixel_values)
        for stage in self.stages:
            x = stage(x)
        return self.head(x)

    def forward_logits(self, pixel_values: Tensor) -> Tensor:
        """Images [N, 3, H, W] to logits [N, num_classes]."""
        return self.classifier(self.forward_features(pixel_values).mean(dim=(2, 3)))

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> Tensor | dict[str, Tensor]:
        logits = self.forward_logits(pixel_values)
        if labels is None:
            return logits
        return {"loss": functional.cross_entropy(logits, labels), "logits": logits}

    def checkpoint(self) -> Checkpoint:
        """Everything that defines the model, as plain data; the weights are float32 copies.

        Raises ValueError where the classifier was replaced by one of other classes, or of another kind.
        """
        classes = getattr(self.classifier, "out_features", None)
        if type(self.classifier) is not nn.Linear or classes != len(self.labels):
            raise ValueError(
                f"the classifier is {self.classifier}, for a model of {len(self.labels)} labels; "
                "from_pretrained(source, num_classes=...) replaces both"
            )
        tensors = {
            name: np.ascontiguousarray(tensor.detach().float().cpu().numpy()).copy()
            for name, tensor in self.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        return Checkpoint(
            config=self.config.plain(),
            tensors=tensors,
            preprocessing=self.preprocessing,
            labels=self.labels,
            source=self.config.name,
        )

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that `from_pretrained` and transformers' Auto classes load, with the same answers.

        Files of an earlier save are replaced. Raises ValueError where transformers has no setting for what
        the config or preprocessing asks, and FileExistsError where `folder` is a file.
        """
        save_pretrained(folder, self.checkpoint())


def default_preprocessing(image_size: int) -> Preprocessing:
    """Shortest edge to nine eighths of `image_size` (bilinear), centre crop, 0..1, RGB."""
    return Preprocessing(
        shortest_edge=round(image_size * 9 / 8), crop_size=(image_size, image_size), channel_order="RGB"
    )


def initialise(module: nn.Module) -> None:
    """Start values for training: Kaiming convolutions (fan out), truncated normal linears, plain norms."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
