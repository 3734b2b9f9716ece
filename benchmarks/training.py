"""Time and memory of a training step, beside transformers and timm, whichever is installed.

    python benchmarks/training.py --models mobilevit_xxs mobilevit_s --batch 32 --size 256 --threads 2

A step is a forward pass, the loss and a backward pass over everything. Models take turns in one process;
memory (on Linux) is what a step adds to a process of its own. Peers run in both memory formats, and the
better counts. With --bf16 forward passes are under autocast to bfloat16.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilevit_fast import create_model, get_config
from mobilevit_fast.benchmark.interleave import Pace, interleave
from mobilevit_fast.cli.text import table

CLASSES = 10


def ours(variant: str) -> nn.Module:
    return create_model(variant, num_classes=CLASSES)


def checkpointed(variant: str) -> nn.Module:
    model = ours(variant)
    model.gradient_checkpointing_enable()
    return model


def transformers(variant: str) -> nn.Module:
    from transformers import MobileViTConfig, MobileViTForImageClassification

    config = get_config(variant)
    return MobileViTForImageClassification(
        MobileViTConfig(
            hidden_sizes=list(config.transformer_dims),
            neck_hidden_sizes=[config.stem_channels, *config.stage_channels, config.head_channels],
            expand_ratio=config.expand_ratio,
            num_labels=CLASSES,
        )
    )


def timm(variant: str) -> nn.Module:
    from timm import create_model as create_timm_model

    return create_timm_model(variant, num_classes=CLASSES)


OWN: dict[str, Callable[[str], nn.Module]] = {"ours": ours, "ours, checkpointed": checkpointed}
PEERS: dict[str, Callable[[str], nn.Module]] = {"transformers": transformers, "timm": timm}


class Step:
    """One training step of a model on a fixed random batch."""

    def __init__(
        self, name: str, variant: str, batch: int, size: int, channels_last: bool, bf16: bool
    ) -> None:
        layout = torch.channels_last if channels_last else torch.contiguous_format
        generator = torch.Generator().manual_seed(0)
        self.model = (OWN | PEERS)[name](variant).train().to(memory_format=layout)
        images = torch.randn(batch, 3, size, size, generator=generator)
        self.images = images.contiguous(memory_format=layout)
        self.labels = torch.randint(CLASSES, (batch,), generator=generator)
        self.bf16 = bf16

    def __call__(self) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            answer = self.model(self.images)
            logits = answer if isinstance(answer, Tensor) else answer.logits
            loss = functional.cross_entropy(logits, self.labels)
        loss.backward()
        self.model.zero_grad()


def added_memory(threads: int, *arguments: object) -> float:
    """MiB that a first step takes at its peak, beyond what this process, a fresh one, holds before it."""
    torch.set_num_threads(threads)
    step = Step(*arguments)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    step()
    return resident("VmHWM") - before


def resident(field: str) -> float:
    """A memory field of this process's status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def compare(variant: str, options: argparse.Namespace) -> list[list[str]]:
    """Rows of a table: name, ms a step and how many times ours, MiB and how many times ours."""
    formats = {"": False, ", channels last": True}
    keys = {
        name if name in OWN else f"{name}{ending}": (
            name,
            variant,
            options.batch,
            options.size,
            channels_last,
            options.bf16,
        )
        for name in options.contenders
        for ending, channels_last in formats.items()
        if name in PEERS or channels_last
    }
    steps = {key: Step(*arguments) for key, arguments in keys.items()}
    seconds = interleave(steps, Pace(rounds=options.rounds, seconds=0.0, least_calls=1))
    del steps
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        memory = {key: pool.apply(added_memory, (options.threads, *keys[key])) for key in keys}
    own = next(iter(keys))
    return [
        [
            f"{variant} {key}",
            f"{1000 * seconds[key]:.0f}",
            f"{seconds[key] / seconds[own]:.2f}",
            f"{memory[key]:.0f}",
            f"{memory[key] / memory[own]:.2f}",
        ]
        for key in keys
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["mobilevit_xxs", "mobilevit_s"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    options = parser.parse_args()
    options.contenders = [*OWN, *(name for name in PEERS if importlib.util.find_spec(name) is not None)]
    torch.set_num_threads(options.threads)
    rows = [row for variant in options.models for row in compare(variant, options)]
    print(table(["model", "ms a step", "times ours", "MiB", "times ours"], rows))


if __name__ == "__main__":
    main()
