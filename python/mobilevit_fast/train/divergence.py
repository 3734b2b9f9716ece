"""A training whose numbers ran away is stopped: what is not finite never becomes finite again."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain

import numpy as np
from torch import nn


def check_loss(loss: float, step: int, learning_rate: float) -> None:
    """Raises FloatingPointError where the loss of the batch after `step` steps is not finite."""
    if math.isfinite(loss):
        return
    if step == 0:
        raise FloatingPointError(
            f"the loss is {loss} before anything was learned: the weights to start from are not finite, or "
            "too large for the precision; start from another checkpoint, or without mixed precision"
        )
    raise _diverged(f"the loss is {loss} after step {step}", learning_rate)


def check_weights(modules: Iterable[nn.Module], step: int, learning_rate: float) -> None:
    """Raises FloatingPointError where a weight or a statistic is not finite."""
    for module in modules:
        for name, tensor in chain(module.named_parameters(), module.named_buffers()):
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise _diverged(f"{name} is not finite after step {step}", learning_rate)


def check_answers(logits: np.ndarray, step: int, learning_rate: float) -> None:
    """Raises FloatingPointError where logits [N, classes] of the validation images are not finite."""
    bad = int((~np.isfinite(logits).all(axis=1)).sum())
    if bad:
        what = f"the logits of {bad} of {len(logits)} validation images are not finite after step {step}"
        raise _diverged(what, learning_rate)


def _diverged(what: str, learning_rate: float) -> FloatingPointError:
    return FloatingPointError(
        f"the training diverged: {what}; start anew with a learning rate below {learning_rate:g}. "
        "Whole checkpoints from before stay"
    )
