"""Which parameters train, and at what rate."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

_TRANSFORMER = re.compile(r"stages\.[234]\.1\.(layers|norm|embed|project)\.")
"""What of a MobileViT block works on tokens: its layers, and the 1x1 convolutions to and from them."""


@dataclass(frozen=True)
class Trained:
    """What of a model trains; by default all of it at one rate.

    Attributes:
        head_only: the classifier alone.
        last_blocks: the classifier, the last 1x1 convolution and so many blocks before it.
        transformer_only: the classifier and the transformers inside the MobileViT blocks.
        layer_decay: factor of the learning rate from each block to the one before it.

    Raises:
        ValueError: more than one of the first three, or a value outside its range.
    """

    head_only: bool = False
    last_blocks: int | None = None
    transformer_only: bool = False
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        if sum((self.head_only, self.last_blocks is not None, self.transformer_only)) > 1:
            raise ValueError("head_only, last_blocks and transformer_only exclude each other")
        if self.last_blocks is not None and self.last_blocks < 1:
            raise ValueError(f"last_blocks must be a whole number from 1, got {self.last_blocks!r}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay must be above 0 and at most 1, got {self.layer_decay!r}")

    def includes(self, name: str, blocks: list[str]) -> bool:
        """Whether the parameter trains, `blocks` being those of its model."""
        block = block_of(name)
        if self.head_only:
            return block == "classifier"
        if self.last_blocks is not None:
            # The classifier and the convolution before it come on top.
            return block in blocks[-(self.last_blocks + 2) :]
        if self.transformer_only:
            return block == "classifier" or _TRANSFORMER.match(name) is not None
        return True


def block_of(name: str) -> str:
    """The block that a parameter or module belongs to: stem, stages.S.B, head or classifier."""
    parts = name.split(".")
    return ".".join(parts[:3]) if parts[0] == "stages" else parts[0]


def blocks_of(model: nn.Module) -> list[str]:
    """All blocks with parameters, first to last."""
    return list(dict.fromkeys(block_of(name) for name, _ in model.named_parameters()))


def freeze(model: nn.Module, trained: Trained) -> list[nn.Module]:
    """Take gradients from what does not train; its norms, which are to keep their statistics.

    Raises:
        ValueError: more blocks are asked for than there are.
    """
    blocks = blocks_of(model)
    if trained.last_blocks is not None and trained.last_blocks + 2 > len(blocks):
        raise ValueError(
            f"last_blocks must be at most {len(blocks) - 2} for this model, got {trained.last_blocks}"
        )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trained.includes(name, blocks))
    return [
        module
        for module in model.modules()
        if isinstance(module, nn.BatchNorm2d)
        and not any(parameter.requires_grad for parameter in module.parameters())
    ]


def parameter_groups(
    model: nn.Module, learning_rate: float, weight_decay: float, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """The trained parameters as an optimizer takes them: by block where the rate decays, norms and biases
    without weight decay.
    """
    return list(_groups(model, learning_rate, weight_decay, layer_decay))


def _groups(
    model: nn.Module, learning_rate: float, weight_decay: float, layer_decay: float
) -> Iterator[dict[str, Any]]:
    blocks = blocks_of(model)
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            depth = len(blocks) - 1 - blocks.index(block_of(name))
            decay = weight_decay if parameter.ndim > 1 else 0.0
            found.setdefault((learning_rate * layer_decay**depth, decay), []).append(parameter)
    for (rate, decay), parameters in found.items():
        yield {"params": parameters, "lr": rate, "weight_decay": decay}
