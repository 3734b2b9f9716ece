"""The two trainings that fine-tuning may consist of: in float, and then with roundings in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments

from mobilevit_fast.image import preprocess
from mobilevit_fast.model import MobileViT
from mobilevit_fast.quantization import Mixed, StaticInt8, WeightOnly, prepare_qat
from mobilevit_fast.train.average import WeightAverage
from mobilevit_fast.train.batches import Batches, multi_scale_sizes
from mobilevit_fast.train.checkpoints import find_checkpoint, is_last, load_extra, read_log
from mobilevit_fast.train.disk import explaining_full_disks
from mobilevit_fast.train.distillation import DistillationLoss, FeatureLoss
from mobilevit_fast.train.images import TrainingImages, ValidationImages
from mobilevit_fast.train.parameters import Trained, freeze, parameter_groups
from mobilevit_fast.train.preparation import Images
from mobilevit_fast.train.recipe import Recipe
from mobilevit_fast.train.synchronised import desynchronise, synchronise
from mobilevit_fast.train.teacher import Teacher
from mobilevit_fast.train.trainer import DistillingTrainer, FinetuneTrainer, Plan, Report
from mobilevit_fast.train.trainer_arguments import check_arguments, make_arguments

RoundingRecipe = StaticInt8 | WeightOnly | Mixed

_CALIBRATION = 64
_POINTS = 500
"""Points of the loss curve, at most."""

_COPIES = 4
"""Of the weights in a checkpoint: themselves, their average, and the optimizer's two moments."""

_FLOAT, _ROUNDED = "float", "rounded"
"""Folders of the two trainings' checkpoints."""


@dataclass
class Phases:
    """Trains a model as a recipe says.

    Attributes:
        recipe, images: what to do, and on what; labels are the model's class numbers.
        teacher: to learn from as well, or None.
        folder: where checkpoints go.
        save_steps: steps from one checkpoint to the next; None for one an epoch.
        resume: go on from the last whole checkpoint.
        arguments: further fields of TrainingArguments.
        description: of data, model and teacher: a checkpoint of others is refused.
        report: is told of each step.
        processes: that train together.

    Raises:
        ValueError: an argument of the Trainer that does not exist, that the recipe decides, or whose value
            does not serve.
    """

    recipe: Recipe
    images: Images
    teacher: Teacher | None
    folder: Path
    save_steps: int | None
    resume: bool
    arguments: Mapping[str, Any]
    description: Mapping[str, Any]
    report: Report | None
    processes: int = field(init=False)

    def __post_init__(self) -> None:
        check_arguments(self.arguments)
        # What transformers refuses, it refuses before anything is overwritten.
        self.processes = self._arguments(self.recipe, _FLOAT).world_size

    def was_trained(self) -> bool:
        """Whether an earlier run with the same settings took the float training to its end.

        Raises:
            ValueError: no whole checkpoint tells, or it belongs to a training with other settings.
        """
        found = find_checkpoint(self.folder / _FLOAT, self._settings(self.recipe))
        if found is None:
            raise ValueError(
                f"{str(self.folder.parent)!r} holds a model, but no whole checkpoint of its training to "
                "go on with; force overwrites the model, or name another folder"
            )
        return is_last(found)

    def train_float(self, model: MobileViT) -> MobileViT:
        """The model, or the average of its weights, after the recipe's epochs; `model` is changed."""
        average = WeightAverage(model, self.recipe.average) if self.recipe.average else None
        self._run(self._trainer(model, _FLOAT, self.recipe, self._settings(self.recipe), average))
        result = model if average is None else average.model
        desynchronise(result)
        return result.cpu()

    def history(self) -> list[dict[str, Any]]:
        """The Trainer's log of the float training."""
        return read_log(self.folder / _FLOAT)

    def train_rounded(self, model: MobileViT, recipe: RoundingRecipe) -> nn.Module:
        """What `prepare_qat` makes of the trained model, trained further; `convert` takes it."""
        data = self.images.training.head(_CALIBRATION)
        pixels = torch.from_numpy(preprocess(list(data.images), model.preprocessing))
        student = prepare_qat(model, recipe, calibration=pixels)
        gentle = replace(
            self.recipe,
            epochs=self.recipe.rounding_epochs,
            learning_rate=self.recipe.learning_rate * self.recipe.rounding_rate,
            trained=Trained(layer_decay=self.recipe.trained.layer_decay),
        )
        settings = {**self._settings(gentle), "roundings": _described(recipe)}
        self._run(self._trainer(student, _ROUNDED, gentle, settings))
        return student.cpu()

    def _arguments(self, recipe: Recipe, name: str) -> TrainingArguments:
        return make_arguments(recipe, self.folder / name, self.save_steps, self.arguments)

    def _settings(self, recipe: Recipe) -> dict[str, Any]:
        """What decides the result of a training."""
        return {
            **self.description,
            **recipe.to_data(),
            **self.arguments,
            "images": len(self.images.training.images),
            "processes": self.processes,
        }

    def _trainer(
        self,
        model: nn.Module,
        name: str,
        recipe: Recipe,
        settings: Mapping[str, Any],
        average: WeightAverage | None = None,
    ) -> FinetuneTrainer | DistillingTrainer:
        images, classes = self.images, len(model.labels)
        frozen = freeze(model, recipe.trained)
        arguments = self._arguments(recipe, name)
        size = min(model.preprocessing.crop_size)
        batches = Batches(
            len(images.training.images),
            recipe.batch_size,
            multi_scale_sizes(size) if recipe.multi_scale else (size,),
            seed=recipe.seed,
            rank=arguments.process_index,
            processes=arguments.world_size,
        )
        steps = max(len(batches) // arguments.gradient_accumulation_steps, 1)
        arguments.logging_steps = max(steps * recipe.epochs // _POINTS, 1)
        if "warmup_steps" not in self.arguments:
            arguments.warmup_steps = int(min(recipe.warmup_epochs, recipe.epochs / 2) * steps)
        if arguments.world_size > 1:
            synchronise(model)
        features = self._features(model)

        def make_groups() -> list[dict[str, Any]]:
            groups = parameter_groups(
                model, arguments.learning_rate, arguments.weight_decay, recipe.trained.layer_decay
            )
            return groups if features is None else [*groups, {"params": list(features.parameters())}]

        plan = Plan(
            batches=batches,
            make_groups=make_groups,
            frozen_norms=frozen,
            average=average,
            settings=settings,
            extra={} if features is None else {"features": features},
            report=self.report,
        )
        shared = {
            "model": model,
            "args": arguments,
            "train_dataset": TrainingImages(
                images.training,
                classes,
                model.preprocessing,
                recipe.augmentation,
                mixed_epochs=recipe.epochs - recipe.unmixed_epochs,
                label_smoothing=recipe.label_smoothing,
                seed=recipe.seed,
            ),
            "eval_dataset": ValidationImages(images.validation, model.preprocessing),
            "plan": plan,
        }
        if self.teacher is None:
            return FinetuneTrainer(**shared)
        return DistillingTrainer(
            **shared,
            teacher=self.teacher,
            distillation=DistillationLoss(recipe.temperature, recipe.soft),
            features=features,
            feature_weight=recipe.feature_weight,
        )

    def _features(self, model: nn.Module) -> FeatureLoss | None:
        if self.teacher is None or not self.recipe.feature_weight:
            return None
        return FeatureLoss(model.config.stage_channels, self.teacher.stage_channels)

    def _run(self, trainer: FinetuneTrainer | DistillingTrainer) -> None:
        folder, plan = Path(trainer.args.output_dir), trainer.plan
        found = find_checkpoint(folder, plan.settings) if self.resume else None
        if found is not None:
            load_extra(found, plan.kept())
        weights = sum(tensor.nbytes for tensor in trainer.model.state_dict().values())
        with explaining_full_disks(folder, weights * _COPIES):
            trainer.train(resume_from_checkpoint=None if found is None else str(found))


def _described(recipe: RoundingRecipe) -> dict[str, Any]:
    """The recipe as JSON can hold it; an observer by its type's name."""
    values = {row.name: getattr(recipe, row.name) for row in fields(recipe)}
    plain = (str, int, float, tuple, type(None))
    return {"recipe": type(recipe).__name__} | {
        name: value if isinstance(value, plain) else type(value).__name__ for name, value in values.items()
    }
