"""What training loops ask of a model besides its forward pass: a config to write into, named answers, and
blocks that compute their maps again in the backward pass instead of keeping them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mobilevit_fast import _C
from mobilevit_fast.config import ModelConfig


class ModuleConfig(ModelConfig):
    """A module's variant under the name `config`, where transformers' Trainer and its reporters look.

    The fields are frozen, and it equals the plain `ModelConfig`; attributes of other names may be set, as
    Trainer does.
    """

    model_type = "mobilevit"
    problem_type: str | None = None
    id2label: dict[int, str]
    label2id: dict[str, int]

    @classmethod
    def of(cls, config: ModelConfig, labels: Sequence[str]) -> ModuleConfig:
        """The config of a module with classes of these names."""
        made = cls(**_values(config))
        made.id2label = dict(enumerate(labels))
        made.label2id = {label: index for index, label in enumerate(labels)}
        return made

    @property
    def num_labels(self) -> int:
        """The classes, by the name that transformers has for their number."""
        return self.num_classes

    def plain(self) -> ModelConfig:
        """The variant alone."""
        return ModelConfig(**_values(self))

    def to_dict(self) -> dict[str, Any]:
        """As `config.json` holds it."""
        return {"model_type": self.model_type, **asdict(self), "id2label": self.id2label}

    def to_json_string(self) -> str:
        """The text of a `config.json`."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelConfig) and _values(self) == _values(other)

    __hash__ = ModelConfig.__hash__


def _values(config: ModelConfig) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in fields(ModelConfig)}


class NamedAnswer(nn.Module):
    """Mixin of a classifier: named images get a named answer.

    `model(images)` gives what `forward` gives, as torch's and timm's models do. `model(pixel_values=images)`
    gives `{"logits": logits}`, as transformers' do: its Trainer calls them so where it computes the loss
    itself or has no labels, and cannot use a bare tensor.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        answer = super().__call__(*args, **kwargs)
        named = len(args) == 0 and isinstance(answer, Tensor)  # torch.compile cannot negate a tuple
        return {"logits": answer} if named else answer


class RecomputedBlock(nn.Module):
    """A block whose parts can keep only their inputs for the backward pass, and compute the rest again there.

    Gradients and running statistics are those of training without it.

    Attributes:
        recompute: whether they do.
        is_larger_than_the_next: whether the maps of the blocks behind it have fewer pixels.
    """

    recompute = False
    is_larger_than_the_next = False

    def run_part(self, part: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """part(*inputs), of a part of this block."""
        if not (self.recompute and self.training and torch.is_grad_enabled()):
            return part(*inputs)

        def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
            return nullcontext(), _computing_again(self)

        return checkpoint(part, *inputs, use_reentrant=False, context_fn=contexts)


class CheckpointedBlocks(nn.Module):
    """Mixin of a model made of `RecomputedBlock`s; its methods have the names that Trainer calls."""

    @property
    def is_gradient_checkpointing(self) -> bool:
        return any(block.recompute for block in self._blocks())

    def gradient_checkpointing_enable(
        self,
        gradient_checkpointing_kwargs: dict[str, Any] | None = None,
        *,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """Keep less and compute more.

        Args:
            gradient_checkpointing_kwargs: those of torch.utils.checkpoint; they make no difference here, as
                blocks are always computed again without reentering autograd.
            every_n_layers: which blocks do so: all, every other, ...
            offload: must be False.

        Raises:
            ValueError: anything else.
        """
        if type(every_n_layers) is not int or every_n_layers < 1:
            raise ValueError(f"every_n_layers must be a whole number from 1, got {every_n_layers!r}")
        if offload:
            raise ValueError("offload=True is not supported: a block keeps its input only, where it is")
        for index, block in enumerate(self._blocks()):
            block.recompute = index % every_n_layers == 0

    def activation_checkpointing_enable(
        self, activation_checkpointing_kwargs: dict[str, Any] | None = None, **options: Any
    ) -> None:
        """As `gradient_checkpointing_enable`: the name that newer versions of transformers use."""
        self.gradient_checkpointing_enable(activation_checkpointing_kwargs, **options)

    def gradient_checkpointing_disable(self) -> None:
        """Keep what every block computes until its gradient again."""
        for block in self._blocks():
            block.recompute = False

    activation_checkpointing_disable = gradient_checkpointing_disable

    def _blocks(self) -> list[RecomputedBlock]:
        return [module for module in self.modules() if isinstance(module, RecomputedBlock)]


@contextmanager
def _computing_again(block: RecomputedBlock) -> Iterator[None]:
    """While a block is computed for the second time, its norms must not count the batch again."""
    if block.is_larger_than_the_next:
        # What the blocks behind it have freed lies in pieces, into which the maps of this one do not fit.
        _C.release_free_memory()
    norms = [norm for norm in block.modules() if isinstance(norm, nn.BatchNorm2d)]
    kept = [dict(norm.named_buffers()) for norm in norms]
    for norm, buffers in zip(norms, kept, strict=True):
        for name, buffer in buffers.items():
            setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)
