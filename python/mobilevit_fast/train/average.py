"""The moving average of a model's weights, which is what training hands over."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class WeightAverage:
    """A copy of a model that follows it slowly.

    Args:
        model: its weights are where the average starts.
        decay: share of the average that a step keeps, below 1.

    Attributes:
        model: the copy, in eval mode.

    Raises:
        ValueError: another decay.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"the average's decay must be from 0 to below 1, got {decay!r}")
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards `model`, whose step number `step`, from 0, is done."""
        # A young average follows the model closely, else it would remember the random start.
        decay = min(self.decay, (1 + step) / (10 + step))
        kept, new = self._pairs(model)
        torch._foreach_lerp_(kept, new, 1 - decay)

    @contextmanager
    def in_place_of(self, model: nn.Module) -> Iterator[None]:
        """Within the block `model` has the average's weights."""
        with torch.no_grad():
            kept, own = self._pairs(model)
            before = [tensor.clone() for tensor in own]
            torch._foreach_copy_(own, kept)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(own, before)

    def _pairs(self, model: nn.Module) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        pairs = zip(self.model.state_dict().values(), model.state_dict().values(), strict=True)
        ours, theirs = zip(*((a, b) for a, b in pairs if a.is_floating_point()), strict=True)
        return list(ours), list(theirs)
