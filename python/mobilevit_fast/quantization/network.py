"""MobileViT as the integer engine computes it, in torch: every rounding in its place, and differentiable."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilevit_fast.config import STAGE_RESIDUALS, STAGE_STRIDES, TRANSFORMER_STAGES, ModelConfig
from mobilevit_fast.folding import Folding
from mobilevit_fast.image import Preprocessing
from mobilevit_fast.model import blocks
from mobilevit_fast.model.trainable import ModuleConfig, NamedAnswer
from mobilevit_fast.quantization.layer import Layer
from mobilevit_fast.quantization.point import Kind, Point
from mobilevit_fast.quantization.scaled import Scaled, round_through
from mobilevit_fast.weights import Checkpoint, LayerFormat, layer_shapes
from mobilevit_fast.weights.byte_tensors import byte_tensors
from mobilevit_fast.weights.shapes import Shape

Shapes = Mapping[str, Shape]
"""Name of a layer -> shape of its weight."""

_LARGEST_PROBABILITY = 255


class InvertedResidual(nn.Module):
    """Expansion, depthwise 3x3 and projection; the sum with the input is rounded once."""

    def __init__(self, name: str, shapes: Shapes, stride: int, has_shortcut: bool) -> None:
        super().__init__()
        filters = shapes[f"{name}.depthwise"]
        self.expand = Layer(shapes[f"{name}.expand"], silu=True)
        self.depthwise = Layer(filters, stride=stride, groups=filters[0], silu=True)
        self.project = Layer(shapes[f"{name}.project"], output=not has_shortcut)
        self.output = Point() if has_shortcut else None

    def forward(self, x: Scaled) -> Scaled:
        y = self.expand.activate(self.expand(x))
        y = self.depthwise.activate(self.depthwise(y))
        sums = self.project(y)
        if self.output is None:
            return self.project.activate(sums)
        return self.output(sums, x, force=self.project.is_integer)


class Attention(nn.Module):
    """Self-attention among the pixels of equal position in their patch; standardised maps to real ones."""

    def __init__(self, name: str, shapes: Shapes, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.patch_size = config.num_heads, config.patch_size
        self.qkv = Layer(shapes[f"{name}.qkv"])
        self.projection = Layer(shapes[f"{name}.projection"])
        self.q, self.k, self.v = (Point(Kind.SYMMETRIC) for _ in range(3))
        self.output = Point()

    def forward(self, x: Scaled) -> Tensor:
        sums = self.qkv(x)
        units = (None,) * 3 if sums.unit is None else sums.unit.chunk(3)
        force = self.qkv.is_integer
        query, key, value = (
            point(Scaled(numbers, unit), force=force)
            for point, numbers, unit in zip(
                (self.q, self.k, self.v), sums.numbers.chunk(3, dim=1), units, strict=True
            )
        )
        mixed = self._mix(query, key, value, rounded=force and self.projection.is_integer)
        return self.projection(self.output(mixed)).values

    def _mix(self, query: Scaled, key: Scaled, value: Scaled, *, rounded: bool) -> Scaled:
        q, k, v = (self._to_tokens(x.numbers) for x in (query, key, value))
        unit = 1.0 if query.unit is None else query.unit * key.unit
        scores = q @ k.transpose(-2, -1) * (unit / math.sqrt(q.shape[-1]))
        weights = torch.exp(scores - scores.amax(dim=-1, keepdim=True).detach())
        if rounded:
            weights = round_through(weights * _LARGEST_PROBABILITY)
        mixed = weights @ v / weights.sum(dim=-1, keepdim=True)
        return Scaled(self._to_map(mixed, value.numbers.shape), value.unit)

    def _to_tokens(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, heads, patch, patch, tokens, C / heads]."""
        patch = self.patch_size
        parts = x.unflatten(3, (-1, patch)).unflatten(2, (-1, patch)).unflatten(1, (self.heads, -1))
        return parts.permute(0, 1, 4, 6, 3, 5, 2).flatten(4, 5)

    def _to_map(self, tokens: Tensor, shape: Shape) -> Tensor:
        """The way back."""
        parts = tokens.unflatten(4, (-1, shape[3] // self.patch_size))
        x = parts.permute(0, 4, 2, 5, 3, 1, 6).reshape(shape[0], *shape[2:], shape[1])
        return blocks.to_map(x)


class FeedForward(nn.Module):
    """Linear, SiLU, linear, over standardised maps, to real ones."""

    def __init__(self, name: str, shapes: Shapes) -> None:
        super().__init__()
        self.up = Layer(shapes[f"{name}.up"], silu=True)
        self.down = Layer(shapes[f"{name}.down"])

    def forward(self, x: Scaled) -> Tensor:
        return self.down(self.up.activate(self.up(x))).values


class TransformerLayer(nn.Module):
    """Attention and feed-forward network; the map that they add to stays real."""

    def __init__(self, name: str, shapes: Shapes, config: ModelConfig) -> None:
        super().__init__()
        self.epsilon = config.layer_norm_eps
        self.norm1 = Point()
        self.attention = Attention(f"{name}.attention", shapes, config)
        self.norm2 = Point()
        self.ffn = FeedForward(f"{name}.ffn", shapes)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(Scaled(_standardise(x, self.epsilon))))
        return x + self.ffn(self.norm2(Scaled(_standardise(x, self.epsilon))))


class LayerNorm(nn.Module):
    """The norm after the transformer layers, with scale and shift."""

    def __init__(self, dim: int, epsilon: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))
        self.epsilon = epsilon
        self.output = Point()

    def forward(self, x: Tensor) -> Scaled:
        return self.output(Scaled(_standardise(x, self.epsilon, self.weight, self.bias)))


class MobileViTBlock(nn.Module):
    """Local convolution, transformer across patches, and their fusion with the input."""

    def __init__(self, name: str, shapes: Shapes, config: ModelConfig, row: int) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        self.local = Layer(shapes[f"{name}.local"], silu=True)
        self.embed = Layer(shapes[f"{name}.embed"])
        self.layers = nn.ModuleList(
            TransformerLayer(f"{name}.layers.{index}", shapes, config)
            for index in range(config.transformer_layers[row])
        )
        self.norm = LayerNorm(config.transformer_dims[row], config.layer_norm_eps)
        self.project = Layer(shapes[f"{name}.project"], silu=True)
        self.fuse = Layer(shapes[f"{name}.fuse"], silu=True)

    def forward(self, x: Scaled) -> Scaled:
        stream = self.embed(self.local.activate(self.local(x))).values
        size = stream.shape[2:]
        stream = blocks.resize_to_patch(stream, (self.patch_size, self.patch_size))
        for layer in self.layers:
            stream = layer(stream)
        y = self.norm(stream)
        if y.numbers.shape[2:] != size:
            y = self._resize(y, size)
        y = self.project.activate(self.project(y))
        return self.fuse.activate(self.fuse(x, y))

    def _resize(self, x: Scaled, size: Shape) -> Scaled:
        if x.unit is None:
            return x._replace(numbers=blocks.resize(x.numbers, size))
        # Bytes: which of two neighbours a tie goes to depends on where they count from.
        zero_point = x.point.zero_point
        return x._replace(numbers=round_through(blocks.resize(x.numbers + zero_point, size)) - zero_point)


class QuantizedMobileViT(NamedAnswer):
    """The network with norms folded in, each layer in its own format: images [N, 3, H, W] to logits.

    A plain torch module: its parameters are the real weights, and its eval mode computes what the integer
    engine computes. With `labels` [N] the answer is `{"loss": cross entropy, "logits": logits}`, as trainers
    expect it.

    Attributes:
        layers: name -> layer, in the order of computation.
        points: name of an activation -> its point.
        config, labels, preprocessing: as in the float model.
    """

    def __init__(self, config: ModelConfig, labels: tuple[str, ...], preprocessing: Preprocessing) -> None:
        super().__init__()
        self.config = ModuleConfig.of(config, labels)
        self.labels, self.preprocessing = labels, preprocessing
        shapes = layer_shapes(config)
        self.image = Point()
        self.stem = Layer(shapes["stem"], stride=2, silu=True)
        self.stages = nn.ModuleList(_stages(shapes, config))
        self.head = Layer(shapes["head"], silu=True)
        self.pooled = Point()
        self.classifier = Layer(shapes["classifier"])
        modules = dict(self.named_modules())
        self.layers = {name: modules[name] for name in shapes}
        self.points = {
            name.removesuffix(".output"): module
            for name, module in modules.items()
            if isinstance(module, Point)
        }

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> Tensor | dict[str, Tensor]:
        logits = self.forward_stages(pixel_values)[0]
        if labels is None:
            return logits
        return {"loss": functional.cross_entropy(logits, labels), "logits": logits}

    def forward_stages(self, pixel_values: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits, and the real maps [N, C, H, W] that the five stages give."""
        x = self.image(Scaled(pixel_values.contiguous(memory_format=torch.channels_last)))
        x = self.stem.activate(self.stem(x))
        maps = []
        for stage in self.stages:
            for block in stage:
                x = block(x)
            maps.append(x.values)
        features = self.head.activate(self.head(x))
        pooled = features._replace(numbers=features.numbers.mean(dim=(2, 3), keepdim=True)).values
        return self.classifier(self.pooled(Scaled(pooled))).values.flatten(1), maps

    def set_formats(self, formats: dict[str, LayerFormat]) -> None:
        """Give each named layer its format, and put on grids what then is bytes.

        Raises ValueError where layers that compute together would compute differently.
        """
        merged = {name: formats.get(name, layer.format) for name, layer in self.layers.items()}
        names = byte_tensors(self.config, {name: given.compute for name, given in merged.items()})
        for name, layer in self.layers.items():
            layer.format = merged[name]
        for name, point in self.points.items():
            point.is_bytes = name in names

    def second_ratio(self, name: str) -> Tensor | None:
        """As in `layer.Inputs`, of the layer `name`; None if it has one input or computes on real numbers."""
        stage, _, kind = name.removeprefix("stages.").partition(".1.")
        if kind != "fuse" or not self.layers[name].is_integer:
            return None
        block = self.stages[int(stage)][0]
        first = block.project.output if block.output is None else block.output
        return self.layers[f"stages.{stage}.1.project"].output.step() / first.step()


Network = TypeVar("Network", bound=QuantizedMobileViT)


def _stages(shapes: Shapes, config: ModelConfig) -> Iterator[nn.ModuleList]:
    channels = config.stem_channels
    for stage, out_channels in enumerate(config.stage_channels):
        blocks: list[nn.Module] = []
        for block in range(STAGE_RESIDUALS[stage]):
            stride = STAGE_STRIDES[stage] if block == 0 else 1
            has_shortcut = stride == 1 and channels == out_channels
            blocks.append(InvertedResidual(f"stages.{stage}.{block}", shapes, stride, has_shortcut))
            channels = out_channels
        if stage in TRANSFORMER_STAGES:
            row = TRANSFORMER_STAGES.index(stage)
            blocks.append(MobileViTBlock(f"stages.{stage}.1", shapes, config, row))
        yield nn.ModuleList(blocks)


def fold_network(checkpoint: Checkpoint, network_type: type[Network] = QuantizedMobileViT) -> Network:
    """The network of a float checkpoint, in eval mode, nothing rounded yet."""
    network = network_type(checkpoint.config, checkpoint.labels, checkpoint.preprocessing)
    folding = Folding(checkpoint.config, checkpoint.tensors)
    with torch.no_grad():
        for name, layer in network.layers.items():
            weight, bias = folding.layer(name)
            layer.weight.copy_(torch.from_numpy(weight))
            if bias is not None:
                layer.bias.copy_(torch.from_numpy(bias))
        for name, module in network.named_modules():
            if isinstance(module, LayerNorm):
                gamma, beta = folding.scale_and_shift(name, len(module.weight))
                module.weight.copy_(torch.from_numpy(gamma))
                module.bias.copy_(torch.from_numpy(beta))
    return network.eval()


def _standardise(
    x: Tensor, epsilon: float, weight: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """Every pixel of a map less its mean, over its deviation; then scale and shift."""
    rows = blocks.to_tokens(x)
    return blocks.to_map(functional.layer_norm(rows, rows.shape[-1:], weight, bias, epsilon))
