"""transformers' Trainer with this project's batches, parameter groups, weight average and checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback

from mobilevit_fast.train.average import WeightAverage
from mobilevit_fast.train.batches import Batches
from mobilevit_fast.train.checkpoints import finish_checkpoint
from mobilevit_fast.train.distillation import DistillationMixin
from mobilevit_fast.train.divergence import check_answers, check_loss, check_weights
from mobilevit_fast.train.images import collate


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes:
        step, steps: optimizer steps done and altogether.
        epoch, epochs: the same in passes over the images.
        loss, accuracy: of the last training batch; accuracy is the share of right first answers.
        validation: top-1 on the validation images when it was last measured, if it was.
        is_measured: whether that was just now.
    """

    step: int
    steps: int
    epoch: float
    epochs: float
    loss: float
    accuracy: float
    validation: float | None
    is_measured: bool


Report = Callable[[Progress], None]


@dataclass
class Plan:
    """What `FinetuneMixin` needs besides the Trainer's own arguments.

    Attributes:
        batches: of the training images.
        make_groups: the optimizer's parameter groups, made when the Trainer makes its optimizer.
        frozen_norms: norms that stay in eval mode.
        average: of the weights, or None.
        settings: what a checkpoint must have been made with to go on from it.
        extra: modules to keep in checkpoints besides the model and its average.
        report: is told of each step.
    """

    batches: Batches
    make_groups: Callable[[], list[dict[str, Any]]]
    frozen_norms: Sequence[nn.Module] = ()
    average: WeightAverage | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, nn.Module] = field(default_factory=dict)
    report: Report | None = None

    def kept(self) -> dict[str, nn.Module]:
        """All modules that a checkpoint keeps besides the model."""
        average = {} if self.average is None else {"average": self.average.model}
        return {**average, **self.extra}


class FinetuneMixin:
    """Before Trainer or one of its subclasses: trains as a `Plan` says."""

    def __init__(self, *args: Any, plan: Plan, **kwargs: Any) -> None:
        self.plan = plan
        self.last_loss = self.last_accuracy = 0.0
        super().__init__(*args, data_collator=collate, compute_metrics=self._accuracy, **kwargs)
        self.remove_callback(PrinterCallback)
        self.add_callback(_Steps(self))

    def get_train_dataloader(self) -> DataLoader:
        return DataLoader(
            self.train_dataset,
            batch_sampler=self.plan.batches,
            collate_fn=collate,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.device.type == "cuda",
        )

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        if self.optimizer is None:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args)
            self.optimizer = kind(self.plan.make_groups(), **options)
        return self.optimizer

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        # The Trainer puts the whole model into training mode before each step.
        for norm in self.plan.frozen_norms:
            norm.eval()
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        if model.training:
            labels = inputs["labels"] if inputs["labels"].ndim == 1 else inputs["labels"].argmax(1)
            self.last_loss = loss.item()
            check_loss(self.last_loss, self.state.global_step, self.args.learning_rate)
            self.last_accuracy = (outputs["logits"].argmax(1) == labels).float().mean().item()
        return (loss, outputs) if return_outputs else loss

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        if self.plan.average is None:
            return super().evaluation_loop(*args, **kwargs)
        with self.plan.average.in_place_of(self.model):
            return super().evaluation_loop(*args, **kwargs)

    def check_weights(self) -> None:
        """Raises FloatingPointError where the model, or what is kept with it, is not finite."""
        modules = (self.model, *self.plan.kept().values())
        check_weights(modules, self.state.global_step, self.args.learning_rate)

    def _accuracy(self, prediction: Any) -> dict[str, float]:
        logits, labels = prediction
        check_answers(logits, self.state.global_step, self.args.learning_rate)
        return {"accuracy": float(np.mean(np.argmax(logits, axis=1) == labels))}


class FinetuneTrainer(FinetuneMixin, Trainer):
    """Learns from labels."""


class DistillingTrainer(FinetuneMixin, DistillationMixin, Trainer):
    """Learns from labels and from a teacher."""


class _Steps(TrainerCallback):
    """What happens between the steps."""

    def __init__(self, trainer: FinetuneMixin) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.plan.batches.epoch = math.floor(round(state.epoch or 0, 6))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        plan = self.trainer.plan
        if plan.average is not None:
            plan.average.update(self.trainer.model, state.global_step - 1)
        if plan.report is not None:
            plan.report(self._progress(state, is_measured=False))
        return self._before_saving(control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        return self._before_saving(control)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.trainer.plan.report is not None and self.trainer.is_in_train:
            self.trainer.plan.report(self._progress(state, is_measured=True))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.should_save:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            finish_checkpoint(folder, self.trainer.plan.settings, self.trainer.plan.kept())

    def _before_saving(self, control: Any) -> Any:
        if control.should_save:
            # No training could go on from weights that are not finite.
            self.trainer.check_weights()
            # A mean over steps before and after an interruption would be lost with it.
            control.should_log = True
        return control

    def _progress(self, state: Any, *, is_measured: bool) -> Progress:
        measured = [entry["eval_accuracy"] for entry in state.log_history if "eval_accuracy" in entry]
        trainer = self.trainer
        return Progress(
            step=state.global_step,
            steps=state.max_steps,
            epoch=state.epoch or 0.0,
            epochs=trainer.args.num_train_epochs,
            loss=trainer.last_loss,
            accuracy=trainer.last_accuracy,
            validation=measured[-1] if measured else None,
            is_measured=is_measured,
        )
