"""Losses by which a student learns from a teacher, and how transformers' Trainer uses them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class DistillationLoss(nn.Module):
    """Soft targets from a teacher's logits, and hard ones from labels.

    loss = soft * temperature^2 * KL(teacher || student, both at temperature) + (1 - soft) * cross entropy

    Args:
        temperature: above 0; more of it shows more of what the teacher thinks of the other classes.
        soft: share of the soft targets, 0 to 1; without labels they are all there is.
    """

    def __init__(self, temperature: float = 2.0, soft: float = 0.9) -> None:
        super().__init__()
        if not temperature > 0 or not 0 <= soft <= 1:
            raise ValueError(f"temperature must be above 0 and soft 0 to 1, got {temperature!r} and {soft!r}")
        self.temperature, self.soft = temperature, soft

    def forward(self, logits: Tensor, teacher_logits: Tensor, labels: Tensor | None = None) -> Tensor:
        """Scalar loss of logits [N, classes] and labels int64 [N]; no gradient reaches the teacher."""
        if logits.shape != teacher_logits.shape:
            raise ValueError(
                f"student and teacher must have the same classes, got logits {list(logits.shape)} "
                f"and {list(teacher_logits.shape)}"
            )
        ours, theirs = (x / self.temperature for x in (logits, teacher_logits.detach()))
        divergence = functional.kl_div(
            ours.log_softmax(1), theirs.log_softmax(1), log_target=True, reduction="batchmean"
        )
        loss = self.temperature**2 * divergence
        if labels is None:
            return loss
        return self.soft * loss + (1 - self.soft) * functional.cross_entropy(logits, labels)


class FeatureLoss(nn.Module):
    """Mean over maps of the squared difference between student's and teacher's, over the teacher's power.

    Where the numbers of channels differ, a learned 1x1 convolution takes the student's map to the teacher's
    channels; where the sizes differ, the student's map is resized.

    Args:
        student_channels, teacher_channels: of the maps, one entry each.
    """

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int]) -> None:
        super().__init__()
        self.projections = nn.ModuleList(
            nn.Identity() if ours == theirs else nn.Conv2d(ours, theirs, 1, bias=False)
            for ours, theirs in zip(student_channels, teacher_channels, strict=True)
        )

    def forward(self, maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
        """Scalar loss of maps [N, C, H, W]; no gradient reaches the teacher."""
        losses = []
        for projection, ours, theirs in zip(self.projections, maps, teacher_maps, strict=True):
            ours, theirs = projection(ours), theirs.detach()
            if ours.shape[2:] != theirs.shape[2:]:
                ours = functional.interpolate(
                    ours, size=theirs.shape[2:], mode="bilinear", align_corners=False
                )
            power = theirs.square().mean().clamp(min=torch.finfo(theirs.dtype).tiny)
            losses.append((ours - theirs).square().mean() / power)
        return torch.stack(losses).mean()


def forward_stages(model: nn.Module, pixel_values: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits, and the maps [N, C, H, W] that the five stages of a MobileViT give.

    Args:
        model: this project's float or quantised network, transformers' or timm's.

    Raises:
        TypeError: a module without such stages.
    """
    if hasattr(model, "forward_stages"):
        return model.forward_stages(pixel_values)
    # Among several processes the call has to go through the wrapper that joins their gradients.
    wrapped = isinstance(model, nn.parallel.DistributedDataParallel)
    stages = _stages(model.module if wrapped else model)
    maps: list[Tensor] = []
    handles = [stage.register_forward_hook(lambda module, x, y: maps.append(y)) for stage in stages]
    try:
        answer = model(pixel_values)
    finally:
        for handle in handles:
            handle.remove()
    return getattr(answer, "logits", answer), maps


def _stages(model: nn.Module) -> list[nn.Module]:
    if hasattr(model, "stages"):
        return list(model.stages)
    if hasattr(model, "mobilevit"):
        return list(model.mobilevit.encoder.layer)
    raise TypeError(f"a {type(model).__name__} has no stages to take maps from; give a MobileViT classifier")


class DistillationMixin:
    """Makes transformers' Trainer train a student on a teacher: `class T(DistillationMixin, Trainer): pass`.

    Args:
        teacher: a classifier of the same classes; it is put into eval mode and not trained.
        distillation: the loss of the logits; the default one if None.
        features: the loss of the stages' maps; none if None. Its convolutions train along.
        feature_weight: factor of that loss.
        args, kwargs: the Trainer's own.
    """

    def __init__(
        self,
        *args: Any,
        teacher: nn.Module,
        distillation: DistillationLoss | None = None,
        features: FeatureLoss | None = None,
        feature_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        device = self.args.device
        self.teacher = teacher.eval().requires_grad_(False).to(device)
        self.distillation = distillation or DistillationLoss()
        self.features = None if features is None else features.to(device)
        self.feature_weight = feature_weight

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        optimizer = super().create_optimizer(*args, **kwargs)
        learned = [] if self.features is None else list(self.features.parameters())
        known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if learned and id(learned[0]) not in known:
            optimizer.add_param_group({"params": learned})
        return optimizer

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        pixel_values, labels = inputs["pixel_values"], inputs.get("labels")
        logits, maps = forward_stages(model, pixel_values)
        with torch.no_grad():
            teacher_logits, teacher_maps = forward_stages(self.teacher, pixel_values)
        loss = self.distillation(logits, teacher_logits, labels)
        if self.features is not None:
            loss = loss + self.feature_weight * self.features(maps, teacher_maps)
        return (loss, {"loss": loss, "logits": logits}) if return_outputs else loss
