"""Models by name and from checkpoints."""

from __future__ import annotations

import os
from typing import Any

import torch

from mobilevit_fast.config import get_config
from mobilevit_fast.model.mobilevit import MobileViT
from mobilevit_fast.weights import Checkpoint, load_checkpoint


def create_model(name: str, **overrides: Any) -> MobileViT:
    """A freshly initialised model in training mode.

    Args:
        name: one of `list_models()`.
        overrides: fields of `ModelConfig` to replace, such as `num_classes=10`.

    Raises:
        ValueError: unknown name (near ones are suggested), unknown field or impossible value.
        TypeError: a value of another type, such as `num_classes="10"`.
    """
    return MobileViT(get_config(name, **overrides))


def from_pretrained(source: str | os.PathLike[str], num_classes: int | None = None) -> MobileViT:
    """The model in a checkpoint of transformers, timm, ml-cvnets or this project, in eval mode.

    Args:
        source: an embedded name, a folder, a file or a hub id, as `load_checkpoint` takes them.
        num_classes: None keeps the checkpoint's classifier. Where the number differs from the checkpoint's, a
            new classifier with numbered labels starts from random values, which is logged as a warning.

    Raises:
        FileNotFoundError, ValueError, ImportError: as `load_checkpoint` does.
    """
    return from_checkpoint(load_checkpoint(source, num_classes=num_classes)).eval()


def from_checkpoint(checkpoint: Checkpoint) -> MobileViT:
    """A module with the checkpoint's config, weights (copied), labels and preprocessing, in training mode."""
    model = MobileViT(checkpoint.config, labels=checkpoint.labels, preprocessing=checkpoint.preprocessing)
    model.load_state_dict({name: torch.tensor(array) for name, array in checkpoint.tensors.items()})
    return model
