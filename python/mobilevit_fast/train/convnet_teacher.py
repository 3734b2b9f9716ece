"""A small convolutional network that learns CIFAR-10 within minutes on a CPU, to teach the embedded model.

    python -m mobilevit_fast.train.convnet_teacher --data DIR --output teacher.pt

It works on the images at their own 32 x 32 pixels, where plain convolutions need few epochs; a MobileViT,
made for large photographs, overfits such data before it has learned as much from the labels alone. Layout
and settings follow K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU" (2024), less its lookahead.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilevit_fast.train.cifar import ImageSet, augment, read_parquet, to_input

IMAGE_SIZE = 32
MOMENTUM = 0.85
LEARNING_RATE = 11.5
"""For batches of 1024 images and steps without momentum."""
WEIGHT_DECAY = 0.0153
BIAS_FACTOR = 64
LABEL_SMOOTHING = 0.2


class ConvolutionPair(nn.Module):
    """Two 3x3 convolutions, the first followed by a 2x2 maximum: [N, C_in, H, W] to [N, C_out, H/2, W/2]."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = _convolution(in_channels, out_channels)
        self.second = _convolution(out_channels, out_channels)
        self.first_norm, self.second_norm = _norm(out_channels), _norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.gelu(self.first_norm(functional.max_pool2d(self.first(x), 2)))
        return functional.gelu(self.second_norm(self.second(x)))


class ConvnetTeacher(nn.Module):
    """Logits [N, classes] of float32 images [N, 3, 32, 32] in 0..1.

    Args:
        classes: how many.
        widths: channels of the three pairs of convolutions.
        bfloat16: multiply in it, which takes half the time on a CPU that has it.
    """

    def __init__(
        self, classes: int, widths: tuple[int, int, int] = (64, 256, 256), *, bfloat16: bool = False
    ) -> None:
        super().__init__()
        self.bfloat16 = bfloat16
        self.stem = nn.Conv2d(3, 24, 2)
        self.stem.weight.requires_grad_(False)
        channels = (24, *widths)
        self.pairs = nn.Sequential(*(ConvolutionPair(a, b) for a, b in zip(channels, widths, strict=False)))
        self.head = nn.Linear(widths[-1], classes, bias=False)

    def forward(self, pixel_values: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            x = self.pairs(functional.gelu(self.stem(pixel_values - 0.5)))
            return self.head(x.amax(dim=(2, 3))).float() / 9

    @torch.no_grad()
    def whiten(self, pixel_values: Tensor, smallest_variance: float = 5e-4) -> None:
        """Set the stem to the principal components of 2x2 patches, each at variance one, with both signs."""
        patches = (
            (pixel_values - 0.5).unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
        )
        variances, components = torch.linalg.eigh(patches.T @ patches / len(patches))
        components = components.T / (variances + smallest_variance).sqrt()[:, None]
        self.stem.weight.copy_(torch.cat((components, -components)).view_as(self.stem.weight))
        self.stem.bias.zero_()


def train(
    data: ImageSet,
    *,
    epochs: int,
    batch_size: int = 1024,
    padding: int = 2,
    cutout: int = 0,
    seed: int = 0,
    bfloat16: bool = False,
) -> ConvnetTeacher:
    """The network after `epochs` passes over `data`, shifted by up to `padding` pixels."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    model = ConvnetTeacher(len(data.names), bfloat16=bfloat16)
    model.whiten(to_input(images[:5000], IMAGE_SIZE))
    model.to(memory_format=torch.channels_last).train()
    steps = len(images) // batch_size
    optimizer, schedule = _optimizer(model, epochs * steps, batch_size)
    for epoch in range(epochs):
        started, total = time.monotonic(), 0.0
        for batch in torch.randperm(len(images), generator=generator)[: steps * batch_size].split(batch_size):
            pixels = augment(images[batch], padding=padding, cutout=cutout, generator=generator)
            logits = model(to_input(pixels, IMAGE_SIZE))
            loss = functional.cross_entropy(
                logits, labels[batch], label_smoothing=LABEL_SMOOTHING, reduction="sum"
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() / batch_size
        seconds = time.monotonic() - started
        print(f"epoch {epoch + 1}/{epochs} {seconds:.0f}s loss {total / steps:.4f}", flush=True)
    return model.eval()


def load_teacher(path: Path, *, bfloat16: bool = False) -> ConvnetTeacher:
    """The network that `main` wrote, ready to teach."""
    state = torch.load(path, weights_only=True)
    model = ConvnetTeacher(len(state["head.weight"]), bfloat16=bfloat16)
    model.load_state_dict(state)
    return model.to(memory_format=torch.channels_last).eval().requires_grad_(False)


class Ensemble(nn.Module):
    """Mean of the logits [N, classes] of several networks, which errs less than each of them."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, pixel_values: Tensor) -> Tensor:
        return torch.stack([member(pixel_values) for member in self.members]).mean(0)


@torch.inference_mode()
def mirrored_logits(model: nn.Module, images: Tensor) -> Tensor:
    """Mean of the logits [N, classes] of uint8 images [N, 32, 32, 3] and of their mirror images."""
    pixels = to_input(images, IMAGE_SIZE)
    return (model(pixels) + model(pixels.flip(3))) / 2


def _convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Begins by passing its input on, as far as the channels go."""
    layer = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight[:in_channels])
    return layer


def _norm(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels, momentum=0.4)
    layer.weight.requires_grad_(False)
    return layer


def _optimizer(
    model: nn.Module, steps: int, batch_size: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """SGD whose rate rises over the first quarter and falls to 7% at the end."""
    scale = 1024 * (1 + 1 / (1 - MOMENTUM))
    rate, decay = LEARNING_RATE / scale, WEIGHT_DECAY * batch_size / scale
    learned = [p for p in model.parameters() if p.requires_grad]
    biases, weights = [p for p in learned if p.ndim == 1], [p for p in learned if p.ndim > 1]
    groups = [
        {"params": biases, "lr": rate * BIAS_FACTOR, "weight_decay": decay / (rate * BIAS_FACTOR)},
        {"params": weights, "lr": rate, "weight_decay": decay / rate},
    ]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)

    def factor(step: int) -> float:
        progress = step / steps
        return 0.2 + 0.8 * progress / 0.23 if progress < 0.23 else 1 - 0.93 * (progress - 0.23) / 0.77

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with train.parquet and test.parquet")
    parser.add_argument("--output", type=Path, required=True, help="the file to write")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--padding", type=int, default=2, help="pixels that images are shifted by at most")
    parser.add_argument("--cutout", type=int, default=0, help="side of the grey square painted on each image")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--bfloat16", action="store_true", help="twice as fast where the CPU computes in it")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    model = train(
        read_parquet(options.data / "train.parquet"),
        epochs=options.epochs,
        batch_size=options.batch_size,
        padding=options.padding,
        cutout=options.cutout,
        seed=options.seed,
        bfloat16=options.bfloat16,
    )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), options.output)
    test = read_parquet(options.data / "test.parquet")
    predicted = [
        mirrored_logits(model, batch).argmax(1) for batch in torch.from_numpy(test.images).split(500)
    ]
    print(f"top-1 {(torch.cat(predicted).numpy() == test.labels).mean():.4f}")


if __name__ == "__main__":
    main()
