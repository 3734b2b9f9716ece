"""BatchNorm over the batches of all processes, on any device: torch's own needs a GPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn


class _Sum(torch.autograd.Function):
    """A sum over processes: each has the whole of it, so that each one's gradient is the sum of all."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.contiguous().clone()
        distributed.all_reduce(total)
        return total


def _sum_over_processes(tensor: Tensor) -> Tensor:
    return _Sum.apply(tensor)


class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """Normalises by the statistics of all processes' batches together, which it also keeps.

    As one process would with the whole batch, so that the number of processes does not change what is
    learned.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and distributed.is_initialized()):
            return super().forward(input)
        shape = (1, -1, 1, 1)
        channels = input.shape[1]
        count = input.numel() // channels
        values = input.float()
        sums = torch.cat([values.sum((0, 2, 3)), values.new_full((1,), count)])
        sums = _sum_over_processes(sums)
        total = sums[-1].detach()
        mean = sums[:-1] / total
        # In two passes: the difference of large sums would lose the digits of a small variance.
        centred = values - mean.view(shape)
        variance = _sum_over_processes(centred.square().sum((0, 2, 3))) / total
        self._keep(mean.detach(), variance.detach(), total)
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return torch.addcmul(self.bias.view(shape), centred, scale.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor, total: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (total / (total - 1).clamp(min=1)), self.momentum)


def synchronise(model: nn.Module) -> None:
    """Let the norms of a model, in place, use the batches of all processes."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SynchronisedBatchNorm2d


def desynchronise(model: nn.Module) -> None:
    """The way back from `synchronise`."""
    for module in model.modules():
        if type(module) is SynchronisedBatchNorm2d:
            module.__class__ = nn.BatchNorm2d
