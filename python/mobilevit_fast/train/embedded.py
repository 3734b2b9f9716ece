"""Trains the small demonstration model that ships inside the package: MobileViT-XXS on CIFAR-10, on a CPU.

    TEACHER="python -m mobilevit_fast.train.convnet_teacher --data DIR --bfloat16"
    $TEACHER --output teacher0.pt --cutout 6
    $TEACHER --output teacher1.pt --cutout 6 --seed 1 --epochs 11
    $TEACHER --output teacher2.pt --cutout 8 --seed 2 --epochs 11

    STUDENT="python -m mobilevit_fast.train.embedded --data DIR"
    LATER="$STUDENT --small-epochs 0 --cutout 0 --bfloat16"
    $STUDENT --output a.safetensors
    $STUDENT --output b.safetensors --start a.safetensors --image-size 96 --small-epochs 0 --epochs 15 \\
        --learning-rate 1e-3 --warmup-epochs 1 --cutout-epochs 10
    $LATER --output c.safetensors --start b.safetensors --image-size 96 --epochs 14 --warmup-epochs 0.5 \\
        --teacher teacher0.pt
    $LATER --output d.safetensors --start c.safetensors --image-size 128 --epochs 10 --warmup-epochs 0.3 \\
        --learning-rate 1.5e-3 --teacher teacher0.pt
    $LATER --output mobilevit_xxs.cifar10.safetensors --start d.safetensors --image-size 128 --epochs 10 \\
        --warmup-epochs 0.3 --learning-rate 1.2e-3 --seed 3 --teacher teacher0.pt teacher1.pt teacher2.pt

Images grow from run to run, for small ones cost less; the last three learn, instead of the labels, what other
networks answer, to blended images, too. DIR holds train.parquet and test.parquet. Every epoch ends in a
checkpoint beside the output; `--resume` goes on from it.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilevit_fast.config import get_config
from mobilevit_fast.files import replacing
from mobilevit_fast.image import Preprocessing
from mobilevit_fast.model import MobileViT, from_pretrained
from mobilevit_fast.train.average import WeightAverage
from mobilevit_fast.train.cifar import ImageSet, augment, blend, read_parquet, resize, to_input
from mobilevit_fast.train.convnet_teacher import Ensemble, load_teacher, mirrored_logits
from mobilevit_fast.train.distillation import DistillationLoss
from mobilevit_fast.train.parameters import parameter_groups
from mobilevit_fast.weights import save_checkpoint


@dataclass(frozen=True)
class DemonstrationRecipe:
    """Everything that decides the result besides the data."""

    variant: str = "mobilevit_xxs"
    image_size: int = 64
    epochs: int = 44
    small_image_size: int = 32
    """Size of the first `small_epochs` epochs, which cost a third of the others."""
    small_epochs: int = 8
    batch_size: int = 128
    learning_rate: float = 2e-3
    warmup_epochs: float = 2.0
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    gradient_norm: float = 2.0
    ema_decay: float = 0.999
    padding: int = 4
    cutout: int = 8
    cutout_epochs: int = 25
    """Later epochs show whole images, as they will be seen."""
    temperature: float = 2.0
    """Of the loss against a teacher."""
    blended: float = 0.5
    """Share of the batches of which a teacher sees and judges each image mixed with another."""
    seed: int = 0

    def size_at(self, epoch: int) -> int:
        return self.small_image_size if epoch < self.small_epochs else self.image_size

    def learning_rate_at(self, epoch: float) -> float:
        """Linear warm-up, then a cosine down to zero; `epoch` counts fractions of an epoch."""
        if epoch < self.warmup_epochs:
            return self.learning_rate * epoch / self.warmup_epochs
        progress = (epoch - self.warmup_epochs) / (self.epochs - self.warmup_epochs)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


class Trainer:
    """Model, its moving average and the optimizer, moved on one epoch at a time.

    Args:
        start: weights to begin with.
        teacher: gives logits [N, classes] of float32 images [N, 3, 32, 32] and takes the labels' place.
    """

    def __init__(
        self,
        recipe: DemonstrationRecipe,
        labels: tuple[str, ...],
        start: Path | None = None,
        teacher: nn.Module | None = None,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.teacher = teacher
        self.epoch = 0
        size = recipe.image_size
        config = get_config(recipe.variant, num_classes=len(labels), image_size=size)
        preprocessing = Preprocessing(shortest_edge=size, crop_size=(size, size), channel_order="RGB")
        model = MobileViT(config, labels=labels, preprocessing=preprocessing)
        if start is not None:
            model.load_state_dict(from_pretrained(start).state_dict())
        self.model = model.to(memory_format=torch.channels_last)
        self.average = WeightAverage(self.model, recipe.ema_decay)
        groups = parameter_groups(self.model, recipe.learning_rate, recipe.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, fused=True)

    def run_epoch(self, images: Tensor, labels: Tensor) -> float:
        """One pass over uint8 images [N, S, S, 3] in a shuffled order; returns the mean loss."""
        recipe = self.recipe
        generator = torch.Generator().manual_seed(recipe.seed * 1000 + self.epoch)
        order = torch.randperm(len(images), generator=generator)
        steps = len(images) // recipe.batch_size
        cutout = recipe.cutout if self.epoch < recipe.cutout_epochs else 0
        total = 0.0
        self.model.train()
        for step in range(steps):
            for group in self.optimizer.param_groups:
                group["lr"] = recipe.learning_rate_at(self.epoch + step / steps)
            batch = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            pixels = augment(images[batch], padding=recipe.padding, cutout=cutout, generator=generator)
            if self.teacher is not None and torch.rand((), generator=generator) < recipe.blended:
                pixels = blend(pixels, generator)
            loss = self.loss(pixels, labels[batch])
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), recipe.gradient_norm)
            self.optimizer.step()
            self.average.update(self.model, self.epoch * steps + step)
            total += loss.item()
        self.epoch += 1
        return total / steps

    def loss(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Of uint8 images [N, S, S, 3], against what the teacher says of them or else int64 labels [N]."""
        logits = self.model(to_input(pixels, self.recipe.size_at(self.epoch)))
        if self.teacher is not None:
            return DistillationLoss(self.recipe.temperature)(logits, mirrored_logits(self.teacher, pixels))
        return functional.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)

    def save(self, path: Path) -> None:
        """Writes all state, whole or not at all."""
        state = {
            "recipe": dataclasses.asdict(self.recipe),
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "average": self.average.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with replacing(path) as temporary:
            torch.save(state, temporary)

    def load(self, path: Path) -> None:
        """Take up the state that `save` wrote. Raises ValueError when it belongs to another recipe."""
        state = torch.load(path, weights_only=True)
        if state["recipe"] != dataclasses.asdict(self.recipe):
            raise ValueError(
                f"{path} belongs to another recipe: {state['recipe']}; delete it or match its options"
            )
        self.epoch = state["epoch"]
        self.model.load_state_dict(state["model"])
        self.average.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])


@torch.inference_mode()
def accuracy(model: nn.Module, images: np.ndarray, labels: np.ndarray, batch_size: int = 250) -> float:
    """Top-1 of `model` on uint8 images [N, S, S, 3], fed at their own size."""
    correct = 0
    for start in range(0, len(images), batch_size):
        pixels = to_input(torch.from_numpy(images[start : start + batch_size]), images.shape[1])
        correct += int((model(pixels).argmax(1).numpy() == labels[start : start + batch_size]).sum())
    return correct / len(images)


def train(
    recipe: DemonstrationRecipe,
    training: ImageSet,
    test: ImageSet,
    *,
    checkpoint: Path,
    log: Path,
    start: Path | None = None,
    teacher: nn.Module | None = None,
    resume: bool = False,
) -> MobileViT:
    """Run the recipe to its end, from the weights in `start` where given; returns the averaged model."""
    trainer = Trainer(recipe, training.names, start, teacher)
    if resume and checkpoint.exists():
        trainer.load(checkpoint)
    images, labels = torch.from_numpy(training.images), torch.from_numpy(training.labels)
    while trainer.epoch < recipe.epochs:
        size = recipe.size_at(trainer.epoch)
        started = time.monotonic()
        loss = trainer.run_epoch(images, labels)
        top1 = accuracy(trainer.average.model, resize(test.images, size), test.labels)
        trainer.save(checkpoint)
        seconds = time.monotonic() - started
        progress = f"epoch {trainer.epoch}/{recipe.epochs} {size}px {seconds:.0f}s"
        report(log, f"{progress} loss {loss:.4f} top-1 {top1:.4f}")
    return trainer.average.model


def report(log: Path, line: str) -> None:
    """Print a line with the time of day and append it to the log."""
    line = f"{time.strftime('%H:%M:%S')} {line}"
    print(line, flush=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with train.parquet and test.parquet")
    parser.add_argument("--output", type=Path, required=True, help="the safetensors file to write")
    parser.add_argument("--start", type=Path, help="weights to begin with; random ones unless given")
    parser.add_argument(
        "--teacher", type=Path, nargs="+", help="what convnet_teacher wrote, to learn from their mean alone"
    )
    parser.add_argument("--bfloat16", action="store_true", help="let the teacher multiply in bfloat16")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint beside the output")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    for field in dataclasses.fields(DemonstrationRecipe):
        option = "--" + field.name.replace("_", "-")
        parser.add_argument(
            option, type=type(field.default), default=field.default, help=f"default {field.default}"
        )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    torch.set_num_threads(options.threads)
    settings = (field.name for field in dataclasses.fields(DemonstrationRecipe))
    recipe = DemonstrationRecipe(**{name: getattr(options, name) for name in settings})
    training, test = read_parquet(options.data / "train.parquet"), read_parquet(options.data / "test.parquet")
    output: Path = options.output
    output.parent.mkdir(parents=True, exist_ok=True)
    log = output.with_suffix(".log")
    teacher = None
    if options.teacher:
        teacher = Ensemble([load_teacher(path, bfloat16=options.bfloat16) for path in options.teacher])
    checkpoint = output.with_suffix(".checkpoint.pt")
    model = train(
        recipe,
        training,
        test,
        checkpoint=checkpoint,
        log=log,
        start=options.start,
        teacher=teacher,
        resume=options.resume,
    )

    save_checkpoint(output, model.checkpoint(), dtype="float16")
    images = resize(test.images, recipe.image_size)
    top1 = [accuracy(which, images, test.labels) for which in (model, from_pretrained(output))]
    report(log, f"final top-1 {top1[0]:.4f}, as written in float16 {top1[1]:.4f}")


if __name__ == "__main__":
    main()
